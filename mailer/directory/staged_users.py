"""A temporary table of users, filled while nobody waits, and its merge into the directory in one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from mailer.directory.changes import Mode
from mailer.directory.documents import UserRow
from mailer.directory.user_matching import MergedUser, encode, rejoined
from mailer.errors import InvalidRow

CHUNK = 500  # rows
COLUMNS = UserRow._fields
_STAGED = (*COLUMNS, "known", "same", "depends", "keyed", "source_row")
_TYPES = {
    **dict.fromkeys(("active", "same", "depends", "keyed"), "boolean"),
    **dict.fromkeys(("created_at", "source_row"), "bigint"),
}

_UPSERT = f"""
INSERT INTO users ({", ".join(COLUMNS)}, unsubscribed_at)
SELECT {", ".join(COLUMNS)}, CASE WHEN {{opted_out_staged}} THEN :now END FROM staged_users WHERE true ORDER BY id
ON CONFLICT (id) DO UPDATE SET {", ".join(f"{column} = excluded.{column}" for column in COLUMNS[1:])},
unsubscribed_at = CASE WHEN users.unsubscribed_at IS NULL AND coalesce({{opted_out}}, false) = false
THEN excluded.unsubscribed_at ELSE users.unsubscribed_at END
WHERE {" OR ".join(f"users.{column} {{differs}} excluded.{column}" for column in COLUMNS[1:])}
"""  # noqa: S608 - made of the names of columns
# Rocket.Chat's own mark in a user document; it counts when it is new, so who subscribed again here stays subscribed
_OPTED_OUT = {
    "sqlite": "json_extract({table}.document, '$.mailer.unsubscribed') = 1",
    "postgresql": "({table}.document #> '{{mailer,unsubscribed}}') = 'true'",
}
_KNOWN = {  # on PostgreSQL they are held until the end, so that nobody changes what was looked at
    "sqlite": "SELECT count(*) FROM staged_users JOIN users ON users.id = staged_users.id",
    "postgresql": "SELECT count(*) FROM (SELECT 1 FROM users JOIN staged_users ON users.id = staged_users.id"
    " ORDER BY users.id FOR UPDATE OF users) AS known",
}
_CHANGED = """
SELECT s.id, CAST(s.document AS text), CAST({known} AS text), CAST(u.document AS text)
FROM staged_users s JOIN users u ON u.id = s.id WHERE s.depends AND u.document {differs} {known}
"""
_MADE_FROM = "CASE WHEN s.same THEN s.document ELSE s.known END"
_RENEW = f"UPDATE staged_users SET {', '.join(f'{column} = :{column}' for column in COLUMNS[1:])} WHERE id = :id"  # noqa: S608
_REPEATED = """
SELECT id, min(source_row), max(source_row) FROM staged_users GROUP BY id HAVING count(*) > 1 ORDER BY 2 LIMIT 1
"""
_SUPERSEDED = """
DELETE FROM staged_users WHERE NOT keyed AND EXISTS (SELECT 1 FROM staged_users AS later
WHERE later.id = staged_users.id AND NOT later.keyed AND later.source_row > staged_users.source_row)
"""
_UNREACHABLE = """
SELECT id, CAST(document AS text) FROM staged_users WHERE email IS NULL ORDER BY source_row LIMIT :limit
"""


class Problem(NamedTuple):
    """Something about a user that keeps mail from them or was left out, without any value: it may be an address."""

    user_id: str
    field: str
    reason: str


class Merge(NamedTuple):
    """How many users were staged, were known, and were written; how many of them have no address to write to."""

    total: int
    known: int
    written: int
    unreachable: int


def stage(connection: Connection, users: Iterator[MergedUser]) -> int:
    """Fill the table; returns how many rows were superseded by a later one about the same user, who has no id there.

    Raises `InvalidRow` for an `_id` that is repeated.
    """
    _create(connection)
    rows = ((*one[0], *one[1:]) for one in users)
    if connection.dialect.name == "postgresql":
        _copy(connection, rows)
    else:
        _insert(connection, rows)
    return _settle_repeated(connection)


def merge(connection: Connection, now: int, mode: Mode) -> Merge:
    """Merge the table into the directory. Who has changed since they were staged is joined anew."""
    dialect = connection.dialect.name
    known: int = connection.exec_driver_sql(_KNOWN[dialect]).scalar_one()
    differs = "IS DISTINCT FROM" if dialect == "postgresql" else "IS NOT"
    if known:
        _renew(connection, differs, mode)
    total, unreachable = connection.exec_driver_sql("SELECT count(*), count(*) - count(email) FROM staged_users").one()
    opted_out = _OPTED_OUT[dialect]
    marks = {"opted_out": opted_out.format(table="users"), "opted_out_staged": opted_out.format(table="staged_users")}
    written = connection.execute(text(_UPSERT.format(differs=differs, **marks)), {"now": now}).rowcount
    return Merge(total, known, written, unreachable)


def unreachable(connection: Connection, limit: int) -> tuple[Problem, ...]:
    """The first `limit` of the staged users who have no address that can be written to, and why."""
    found = connection.execute(text(_UNREACHABLE), {"limit": limit})
    return tuple(_problem(user_id, json.loads(document)) for user_id, document in found)


def _problem(user_id: str, document: dict[str, Any]) -> Problem:
    if document.get("emails"):
        return Problem(user_id, "emails.0.address", "is no valid address")
    return Problem(user_id, "emails", "has no address")


def _create(connection: Connection) -> None:
    postgresql = connection.dialect.name == "postgresql"
    json_type = "jsonb" if postgresql else "json"
    types = {"id": 'text COLLATE "C"' if postgresql else "text", "document": json_type, "known": json_type, **_TYPES}
    columns = ", ".join(f"{column} {types.get(column, 'text')}" for column in _STAGED)
    connection.exec_driver_sql("DROP TABLE IF EXISTS staged_users")
    on_commit = " ON COMMIT DROP" if postgresql else ""
    connection.exec_driver_sql(f"CREATE TEMPORARY TABLE staged_users ({columns}){on_commit}")


def _insert(connection: Connection, rows: Iterator[tuple[Any, ...]]) -> None:
    places = ", ".join("?" * len(_STAGED))
    while chunk := list(islice(rows, CHUNK)):
        connection.exec_driver_sql(f"INSERT INTO staged_users VALUES ({places})", chunk)  # noqa: S608 - only places


def _copy(connection: Connection, rows: Iterator[tuple[Any, ...]]) -> None:
    driver: Any = connection.connection.driver_connection  # psycopg's: SQLAlchemy has no COPY
    with driver.cursor() as cursor, cursor.copy("COPY staged_users FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _settle_repeated(connection: Connection) -> int:
    """The index finds out whether an `_id` is repeated, and then serves the merge."""
    connection.exec_driver_sql("CREATE INDEX staged_users_id ON staged_users (id, source_row)")
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("ANALYZE staged_users")
    superseded = connection.exec_driver_sql(_SUPERSEDED).rowcount
    repeated = connection.exec_driver_sql(_REPEATED).one_or_none()
    if repeated:
        user_id, first, again = repeated
        raise InvalidRow(again, "_id", f"{user_id} stands in row {first} already")
    return superseded


def _renew(connection: Connection, differs: str, mode: Mode) -> None:
    for _, document, known, now in connection.exec_driver_sql(_CHANGED.format(differs=differs, known=_MADE_FROM)).all():
        user = rejoined(document, known, now, mode)
        connection.execute(text(_RENEW), {**user._asdict(), "document": encode(user.document)})
