"""Indexes of the few deliveries that came back or were complained of: by time, and by campaign with that time.

The last day's are counted often, and so are a campaign's. Without the time in the index, SQLite counts these by the
primary key and reads all deliveries of the campaign.
"""

import sqlalchemy as sa
from alembic import op

revision, down_revision, serves_from = "0032", "0031", "0017"


def upgrade() -> None:
    for name in ("bounced", "complained"):
        there = sa.text(f"{name}_at IS NOT NULL")
        op.drop_index(f"ix_deliveries_{name}", "deliveries")
        for end, columns in (("", ["campaign_id", "user_id", f"{name}_at"]), ("_at", [f"{name}_at"])):
            full = f"ix_deliveries_{name}{end}"
            op.create_index(full, "deliveries", columns, sqlite_where=there, postgresql_where=there)
