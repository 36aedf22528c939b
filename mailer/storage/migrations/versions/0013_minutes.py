"""Outcomes by campaign and minute, from the upgrade on; an index that counts the suppressed addresses."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
STATUSES = ("sent", "failed", "deferred", "uncertain", "skipped")


def upgrade() -> None:
    op.create_table(
        "campaign_minutes",
        sa.Column("campaign_id", ID, nullable=False),
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        *(sa.Column(status, sa.Integer(), nullable=False) for status in STATUSES),
        sa.PrimaryKeyConstraint("campaign_id", "minute", "part"),
        sqlite_with_rowid=False,
    )
    suppressed = sa.text("suppressed_at IS NOT NULL")
    op.create_index(
        "ix_refused_addresses_suppressed",
        "refused_addresses",
        ["suppressed_at"],
        sqlite_where=suppressed,
        postgresql_where=suppressed,
    )
