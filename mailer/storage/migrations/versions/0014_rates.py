"""Rates over all processes: what was handed out of each, and batches for the domains that have one of their own.

Batches that are planned already are for all domains. Their deliveries need no batch: the user id tells it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.create_table(
        "slot_counts",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("next_at_us", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("first_day", sa.Integer(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.add_column("batches", sa.Column("domain", sa.Text(), nullable=False, server_default=""))
    op.create_index("ix_batches_domain_due", "batches", ["campaign_id", "state", "domain", "due_at"])
    op.drop_index("ix_batches_campaign_due", "batches")
    op.add_column("deliveries", sa.Column("batch", sa.Integer(), nullable=True))
