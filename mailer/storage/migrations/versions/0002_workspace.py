"""Which workspace a user was last synced from."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("users", sa.Column("workspace", sa.Text(), nullable=True))
