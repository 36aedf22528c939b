"""What people write in the pages, and an index of who is left out of every audience, to count them at once.

Older code has no drafts, and leaves the table alone.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
LEFT_OUT = "{} OR email IS NULL OR unsubscribed_at IS NOT NULL"
COLUMNS = ["id", "created_at", "roles", "email", "unsubscribed_at", "active"]

revision, down_revision, serves_from = "0020", "0019", "0017"


def upgrade() -> None:
    op.create_table(
        "drafts",
        sa.Column("id", ID, nullable=False),
        sa.Column("caller_id", ID, nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("said", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("saved_at", sa.BigInteger(), nullable=False),
        sa.Column("sent_as", ID, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_drafts_caller", "drafts", ["caller_id", "saved_at", "id"])
    op.create_index("ix_drafts_saved_at", "drafts", ["saved_at"])
    on_sqlite, on_postgresql = (sa.text(LEFT_OUT.format(inactive)) for inactive in ("active = 0", "NOT active"))
    op.create_index("ix_users_left_out", "users", COLUMNS, sqlite_where=on_sqlite, postgresql_where=on_postgresql)
