"""Whether a campaign's style sheets are inlined. A process of older code sends them as they are."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, serves_from = "0031", "0030", "0017"


def upgrade() -> None:
    op.add_column("campaigns", sa.Column("inline_css", sa.Boolean(), nullable=True))
