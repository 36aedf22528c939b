"""Texts that were replaced while their campaign was paused, which of them each recipient got, and who had mail lately.

A process of older code goes on with the text with which it began a campaign, and records no version.
"""

import sqlalchemy as sa
from alembic import op

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

revision, down_revision, serves_from = "0029", "0028", "0017"


def upgrade() -> None:
    op.add_column("campaigns", sa.Column("version", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("deliveries", sa.Column("version", sa.Integer(), nullable=True))
    op.create_table(
        "campaign_texts",
        sa.Column("campaign_id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("made_by", ID, nullable=False),
        sa.PrimaryKeyConstraint("campaign_id", "version"),
    )
    op.create_table(
        "recent_mails",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("campaign_id", ID, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "campaign_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_recent_mails_at", "recent_mails", ["at"])
