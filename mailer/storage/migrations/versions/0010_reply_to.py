"""Where answers to a campaign go. Campaigns accepted before have none: answers go to their sender."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("campaigns", sa.Column("reply_to_name", sa.Text(), nullable=True))
    op.add_column("campaigns", sa.Column("reply_to", sa.Text(), nullable=True))
