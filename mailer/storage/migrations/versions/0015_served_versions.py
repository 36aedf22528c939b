"""The oldest version that the schema still serves, and how PostgreSQL keeps the tables that change all the time."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

# a batch is updated at every checkpoint: with room on its page the new row needs no new entries in the indexes
STORAGE = {
    "batches": "fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05",
    "deliveries": "autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05",
}


def upgrade() -> None:
    op.create_table(
        "served_versions",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("oldest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    if op.get_bind().dialect.name == "postgresql":
        for name, settings in STORAGE.items():
            op.execute(f"ALTER TABLE {name} SET ({settings})")
