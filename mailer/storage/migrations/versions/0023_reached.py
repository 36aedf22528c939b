"""Campaigns for those who have not had another, and what came of a campaign by domain and by answer.

A campaign knows, too, how many were left out of its audience from the start, and why.

Older code refuses a selector with `$reached` or `$notReached`, so it sends such a campaign to nobody. It counts nothing
by domain and answer.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision, down_revision, serves_from = "0023", "0022", "0017"

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
DOCUMENT = sa.JSON().with_variant(JSONB(), "postgresql")
STATUSES = ("sent", "failed", "deferred", "uncertain", "skipped")


def upgrade() -> None:
    op.add_column("campaigns", sa.Column("not_reached", ID, nullable=True))
    op.add_column("campaigns", sa.Column("left_out", DOCUMENT, nullable=True))
    op.create_index("ix_campaigns_state", "campaigns", ["state", "id"])
    known = sa.text("not_reached IS NOT NULL")
    op.create_index(
        "ix_campaigns_not_reached", "campaigns", ["not_reached"], sqlite_where=known, postgresql_where=known
    )
    op.create_table(
        "campaign_domains",
        sa.Column("campaign_id", ID, nullable=False),
        sa.Column("domain", ID, nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in STATUSES),
        sa.PrimaryKeyConstraint("campaign_id", "domain", "part"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "campaign_answers",
        sa.Column("campaign_id", ID, nullable=False),
        sa.Column("status", ID, nullable=False),
        sa.Column("about", ID, nullable=False),
        sa.Column("answer", ID, nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("campaign_id", "status", "about", "answer"),
        sqlite_with_rowid=False,
    )
