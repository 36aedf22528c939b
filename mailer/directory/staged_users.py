"""The temporary table `staged_users`: filled while nobody waits, then merged into the directory in one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from mailer.directory.changes import Mode
from mailer.directory.documents import UserRow
from mailer.directory.user_matching import MergedUser, encode, rejoined
from mailer.errors import InvalidRow
from mailer.storage import staging
from mailer.storage.staging import ID, StagingTable

COLUMNS = UserRow._fields
_TYPES = {"id": ID, "document": "json", "active": "boolean", "created_at": "bigint"}
TABLE = StagingTable(
    "staged_users",
    {column: _TYPES.get(column, "text") for column in COLUMNS}
    | {"known": "json", "same": "boolean", "depends": "boolean", "keyed": "boolean", "source_row": "bigint"}
    | {"hashes": "json"},
)

_UPSERT = f"""
INSERT INTO users ({", ".join(COLUMNS)}, unsubscribed_at)
SELECT {", ".join(COLUMNS)}, CASE WHEN {{staged_mark}} THEN :now END FROM staged_users WHERE true ORDER BY id
ON CONFLICT (id) DO UPDATE SET {", ".join(f"{column} = excluded.{column}" for column in COLUMNS[1:])},
unsubscribed_at = CASE WHEN users.unsubscribed_at IS NULL AND coalesce({{mark}}, false) = false
THEN excluded.unsubscribed_at ELSE users.unsubscribed_at END
WHERE {" OR ".join(f"users.{column} {{differs}} excluded.{column}" for column in COLUMNS[1:])}
"""  # noqa: S608 - made of the names of columns
# Rocket.Chat's own mark in a user document; it counts when it is new, so who subscribed again here stays subscribed
_MARKED_UNSUBSCRIBED = {
    "sqlite": "json_extract({table}.document, '$.mailer.unsubscribed') = 1",
    "postgresql": "({table}.document #> '{{mailer,unsubscribed}}') = 'true'",
}
_KNOWN = {  # on PostgreSQL the rows are locked, so that nobody changes them before the merge
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
_ADOPT = """
UPDATE users SET workspace = :workspace
WHERE id IN (SELECT id FROM staged_users) AND coalesce(workspace, '') <> :workspace
"""
_DEACTIVATE = """
UPDATE users SET active = false, document = {document}
WHERE workspace = :workspace AND active AND NOT EXISTS (SELECT 1 FROM staged_users WHERE staged_users.id = users.id)
"""
_INACTIVE = {
    "sqlite": "json_set(document, '$.active', json('false'))",
    "postgresql": "jsonb_set(document, '{active}', 'false')",
}


class Problem(NamedTuple):
    """What is wrong with a user: why they get no mail, or what was left out. It names no value: that may be private."""

    user_id: str
    field: str
    reason: str


class MergeCounts(NamedTuple):
    """How many users were staged, were known, and were written; how many of them have no address to write to."""

    total: int
    known: int
    written: int
    unreachable: int


def stage(connection: Connection, users: Iterator[MergedUser]) -> int:
    """Create and fill the table. Returns how many rows were dropped for a later row about the same user without an id.

    Raises `InvalidRow` for an `_id` that is repeated.
    """
    TABLE.create(connection)
    TABLE.fill(connection, ((*one[0], *one[1:]) for one in users))
    return _settle_repeated(connection)


def merge(connection: Connection, now: int, mode: Mode) -> MergeCounts:
    """Merge the table into the directory. Users who have changed since they were staged are combined again."""
    dialect = connection.dialect.name
    known: int = connection.exec_driver_sql(_KNOWN[dialect]).scalar_one()
    differs = "IS DISTINCT FROM" if dialect == "postgresql" else "IS NOT"
    if known:
        _renew(connection, differs, mode)
    total, unreachable = connection.exec_driver_sql("SELECT count(*), count(*) - count(email) FROM staged_users").one()
    mark = _MARKED_UNSUBSCRIBED[dialect]
    marks = {"mark": mark.format(table="users"), "staged_mark": mark.format(table="staged_users")}
    written = connection.execute(text(_UPSERT.format(differs=differs, **marks)), {"now": now}).rowcount
    return MergeCounts(total, known, written, unreachable)


def unreachable(connection: Connection, limit: int) -> tuple[Problem, ...]:
    """The first `limit` of the staged users who have no address that can be written to, and why."""
    found = connection.execute(text(_UNREACHABLE), {"limit": limit})
    return tuple(_problem(user_id, json.loads(document)) for user_id, document in found)


def keep_in_step(connection: Connection, workspace: str) -> int:
    """Call the staged users those of `workspace`, and deactivate its users who are not staged; return how many."""
    mine = {"workspace": workspace}
    connection.execute(text(_ADOPT), mine)
    statement = _DEACTIVATE.format(document=_INACTIVE[connection.dialect.name])
    return connection.execute(text(statement), mine).rowcount


def _problem(user_id: str, document: dict[str, Any]) -> Problem:
    if document.get("emails"):
        return Problem(user_id, "emails.0.address", "is no valid address")
    return Problem(user_id, "emails", "has no address")


def _settle_repeated(connection: Connection) -> int:
    """Drop rows that a later one supersedes, and refuse a repeated `_id`. The index then serves the merge too."""
    staging.index(connection, TABLE.name, "id", "source_row")
    staging.analyse(connection, TABLE.name)
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
