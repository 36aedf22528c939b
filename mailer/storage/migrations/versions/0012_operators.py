"""An audit log, a row that holds all sending, and tokens that belong to no user."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0012"
down_revision = "0011"

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
DOCUMENT = sa.JSON().with_variant(JSONB(), "postgresql")
SQLITE_APPEND_ONLY = """
CREATE TRIGGER audit_log_append_only BEFORE UPDATE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END
"""
POSTGRESQL_APPEND_ONLY = """
CREATE FUNCTION audit_log_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$;
CREATE TRIGGER audit_log_append_only BEFORE UPDATE ON audit_log
FOR EACH STATEMENT EXECUTE PROCEDURE audit_log_append_only()
"""


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("who", ID, nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("about", ID, nullable=True),
        sa.Column("details", DOCUMENT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_audit_log_at", "audit_log", ["at"])
    op.create_index("ix_audit_log_about", "audit_log", ["about", "id"])
    op.create_table(
        "sending_hold",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("held_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(POSTGRESQL_APPEND_ONLY)
        op.drop_constraint("auth_tokens_user_id_fkey", "auth_tokens")
        op.add_column("auth_tokens", _service())
    else:
        op.execute(SQLITE_APPEND_ONLY)
        _free_tokens_on_sqlite()


def _service() -> sa.Column[bool]:
    # the default is for a process of the version before, which may still make tokens of users
    return sa.Column("service", sa.Boolean(), nullable=False, server_default=sa.false())


def _free_tokens_on_sqlite() -> None:
    """SQLite drops no constraint: the table is made anew without the one that a token's owner is a user."""
    op.create_table(
        "auth_tokens_new",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("permissions", DOCUMENT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        _service(),
        sa.PrimaryKeyConstraint("digest"),
    )
    columns = "digest, user_id, permissions, created_at, expires_at"
    op.execute(f"INSERT INTO auth_tokens_new ({columns}) SELECT {columns} FROM auth_tokens")  # noqa: S608
    op.drop_table("auth_tokens")
    op.rename_table("auth_tokens_new", "auth_tokens")
