"""Indexes of the few deliveries that came back or were complained of, by time: the last day's are counted often."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, serves_from = "0032", "0030", "0017"


def upgrade() -> None:
    for name in ("bounced_at", "complained_at"):
        there = sa.text(f"{name} IS NOT NULL")
        op.create_index(f"ix_deliveries_{name}", "deliveries", [name], sqlite_where=there, postgresql_where=there)
