"""Who has signed in to the pages. Older code has no pages, and leaves the table alone."""

import sqlalchemy as sa
from alembic import op

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

revision, down_revision, serves_from = "0019", "0018", "0017"


def upgrade() -> None:
    op.create_table(
        "page_sessions",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_index("ix_page_sessions_user_id", "page_sessions", ["user_id"])
    op.create_index("ix_page_sessions_expires_at", "page_sessions", ["expires_at"])
