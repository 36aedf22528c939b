"""Wishes of addresses and of users yet to come; addresses that an operator has blocked."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

# who had unsubscribed and was made inactive leaves the wish to the address, unless somebody is written to there
LEFT_BEHIND = """
INSERT INTO wishes (kind, value, unsubscribed_at, kept_at, kept_by, source)
SELECT 'address', lower(v.email), min(v.unsubscribed_at), min(v.unsubscribed_at), min(v.id), 'left behind'
FROM users v WHERE v.unsubscribed_at IS NOT NULL AND v.email IS NOT NULL AND NOT v.active
AND NOT EXISTS (SELECT 1 FROM users u WHERE lower(u.email) = lower(v.email) AND u.active AND u.unsubscribed_at IS NULL)
GROUP BY lower(v.email)
"""


def upgrade() -> None:
    op.create_table(
        "wishes",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", ID, nullable=False),
        sa.Column("unsubscribed_at", sa.BigInteger(), nullable=False),
        sa.Column("kept_at", sa.BigInteger(), nullable=False),
        sa.Column("kept_by", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "value"),
        sqlite_with_rowid=False,
    )
    unsubscribed = sa.text("unsubscribed_at IS NOT NULL")
    op.create_index(
        "ix_users_unsubscribed",
        "users",
        [sa.text("lower(email)")],
        sqlite_where=unsubscribed,
        postgresql_where=unsubscribed,
    )
    op.execute(LEFT_BEHIND)
    op.add_column("refused_addresses", sa.Column("blocked_at", sa.BigInteger(), nullable=True))
    op.add_column("refused_addresses", sa.Column("blocked_by", sa.Text(), nullable=True))
    op.add_column("refused_addresses", sa.Column("block_reason", sa.Text(), nullable=True))
