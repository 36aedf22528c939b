"""What a campaign says as a fingerprint, to know a repeated POST again. Campaigns accepted before have none."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("campaigns", sa.Column("fingerprint", sa.Text(), nullable=True))
    op.create_index("ix_campaigns_fingerprint", "campaigns", ["fingerprint", "created_at"])
