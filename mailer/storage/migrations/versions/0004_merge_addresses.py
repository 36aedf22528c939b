"""Whether a campaign sends one message to an address that users share."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("campaigns", sa.Column("merge_addresses", sa.Boolean(), nullable=False, server_default=sa.false()))
