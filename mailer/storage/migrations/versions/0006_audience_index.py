"""Roles as a column, and an index of all that planning needs to know of who may be written to."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

FILL = {
    "sqlite": """
UPDATE users SET roles = (
    SELECT CASE WHEN count(value) = 0 THEN '' WHEN max(instr(value, char(10))) = 0
    THEN char(10) || group_concat(value, char(10)) || char(10) END FROM json_each(document, '$.roles'))
""",
    "postgresql": """
UPDATE users SET roles = (
    SELECT CASE WHEN count(*) = 0 THEN '' WHEN max(strpos(role, chr(10))) = 0
    THEN chr(10) || string_agg(role, chr(10) ORDER BY place) || chr(10) END
    FROM jsonb_array_elements_text(coalesce(nullif(document -> 'roles', 'null'), '[]'))
    WITH ORDINALITY AS listed (role, place))
""",
}


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    op.add_column("users", sa.Column("roles", ID, nullable=True))
    op.execute(FILL[dialect])
    op.execute("UPDATE users SET roles = NULL WHERE length(roles) > 255")  # only the document can tell
    columns = ["id", "created_at", "roles", "email", *(["unsubscribed_at", "active"] if dialect == "sqlite" else [])]
    active = "active = 1" if dialect == "sqlite" else "active"
    subscribed = f"{active} AND email IS NOT NULL AND unsubscribed_at IS NULL"
    _create_index(f"ix_users_audience_{dialect}", columns, subscribed)
    _create_index("ix_users_unlisted", ["id"], "roles IS NULL")


def _create_index(name: str, columns: list[str], where: str) -> None:
    op.create_index(name, "users", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
