"""When and by what each person unsubscribed, and subscribed again. Older code writes none of it, and leaves it alone.

What older code marks has no row here. Whoever reads the history says of it that nobody knows by what it came about.
"""

import sqlalchemy as sa
from alembic import op

revision, down_revision, serves_from = "0026", "0025", "0017"

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
SQLITE_APPEND_ONLY = """
CREATE TRIGGER unsubscribe_history_append_only BEFORE UPDATE ON unsubscribe_history
BEGIN SELECT RAISE(ABORT, 'the history of unsubscriptions is append-only'); END
"""
POSTGRESQL_APPEND_ONLY = """
CREATE FUNCTION unsubscribe_history_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the history of unsubscriptions is append-only'; END $$;
CREATE TRIGGER unsubscribe_history_append_only BEFORE UPDATE ON unsubscribe_history
FOR EACH STATEMENT EXECUTE PROCEDURE unsubscribe_history_append_only()
"""


def upgrade() -> None:
    op.create_table(
        "unsubscribe_history",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("means", sa.Text(), nullable=False),
        *(sa.Column(name, ID, nullable=True) for name in ("user_id", "address", "campaign_id", "who")),
        sa.Column("source", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_unsubscribe_history_user", "unsubscribe_history", ["user_id", "id"])
    op.create_index("ix_unsubscribe_history_address", "unsubscribe_history", ["address", "id"])
    op.create_index("ix_unsubscribe_history_at", "unsubscribe_history", ["at"])
    known = sa.text("campaign_id IS NOT NULL")
    op.create_index(
        "ix_unsubscribe_history_campaign",
        "unsubscribe_history",
        ["campaign_id", "user_id"],
        sqlite_where=known,
        postgresql_where=known,
    )
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    op.execute(POSTGRESQL_APPEND_ONLY if on_postgresql else SQLITE_APPEND_ONLY)
