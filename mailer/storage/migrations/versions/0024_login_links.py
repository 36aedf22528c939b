"""Links with which somebody signs in once, and which session a token was made for. Older code leaves both alone."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

DOCUMENT = sa.JSON().with_variant(JSONB(), "postgresql")
ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

revision, down_revision, serves_from = "0024", "0023", "0017"


def upgrade() -> None:
    op.create_table(
        "login_links",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("permissions", DOCUMENT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_index("ix_login_links_expires_at", "login_links", ["expires_at"])
    op.add_column("page_sessions", sa.Column("own_token", sa.Text(), nullable=True))
