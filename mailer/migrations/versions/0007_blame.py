"""Campaigns that rest or fail by themselves, refusals by whom they are about, and how far the clock has come."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
DOCUMENT = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    for name in ("rests", "errors"):
        op.add_column("campaigns", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
    op.add_column("campaigns", sa.Column("failures_known", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute("UPDATE campaigns SET failures_known = true WHERE reason LIKE 'resumed by a person; was paused:%'")
    op.add_column("batches", sa.Column("takeovers", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("refused_addresses", sa.Column("rule", sa.Text(), nullable=False, server_default=""))
    op.create_table(
        "same_refusals",
        sa.Column("campaign_id", ID, nullable=False),
        sa.Column("answers", DOCUMENT, nullable=False),
        sa.Column("known", DOCUMENT, nullable=False),
        sa.PrimaryKeyConstraint("campaign_id"),
    )
    op.create_table(
        "clock_mark",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
