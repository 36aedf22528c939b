"""The number of a batch's last checkpoint, by which a flight record is known. Older code leaves it as it is.

Whatever that code takes or sends, its fence is in no record, so nobody looks for a number there.
"""

import sqlalchemy as sa
from alembic import op

revision, down_revision, serves_from = "0018", "0017", "0017"


def upgrade() -> None:
    op.add_column("batches", sa.Column("checkpoint", sa.BigInteger(), nullable=False, server_default="0"))
