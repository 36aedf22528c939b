"""Whose turn it is to be delivered. Campaigns that are planned already get the priority that their size gives them."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

# a small campaign has up to 1000 recipients, as a planner had it when this was written
PLANNED = """
UPDATE campaigns SET priority = CASE
    WHEN dry_run THEN 'urgent'
    WHEN (SELECT coalesce(sum(planned), 0) FROM batches WHERE campaign_id = campaigns.id) > 1000 THEN 'bulk'
    ELSE 'normal' END
WHERE started_at IS NOT NULL
"""


def upgrade() -> None:
    op.create_table(
        "turns",
        sa.Column("caller_id", ID, nullable=False),
        sa.Column("priority", sa.Text(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("caller_id", "priority"),
    )
    op.create_index("ix_turns_used", "turns", ["priority", "used"])
    op.add_column("campaigns", sa.Column("priority", sa.Text(), nullable=True))
    op.add_column("campaigns", sa.Column("turn_at", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE campaigns SET turn_at = created_at")
    op.execute(PLANNED)
    op.create_index("ix_batches_campaign_due", "batches", ["campaign_id", "state", "due_at"])
