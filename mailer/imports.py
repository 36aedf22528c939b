"""Users into the directory from a file: streamed, validated, all or nothing.

The file is read and checked into a temporary table first, which blocks nobody; only then one statement merges it into
`users`, so the time in which SQLite lets nobody else write is short.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from mailer import wishes
from mailer.database import Database
from mailer.documents import UserRow, normalise
from mailer.errors import InvalidRow
from mailer.readers import read_documents

CHUNK = 500  # rows
COLUMNS = UserRow._fields
Staged = tuple[Any, ...]  # the columns of `UserRow`, the document as JSON text, and the row in the file

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_TYPES = {"active": "boolean", "created_at": "bigint"}

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
_KNOWN = "SELECT count(*) FROM staged_users JOIN users ON users.id = staged_users.id"
_REPEATED = """
SELECT id, min(source_row), max(source_row) FROM staged_users GROUP BY id HAVING count(*) > 1 ORDER BY 2 LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class ImportResult:
    """How many users the file brought, by what became of them."""

    created: int
    updated: int
    unchanged: int

    @property
    def total(self) -> int:
        """How many users the file holds."""
        return self.created + self.updated + self.unchanged


def import_users(db: Database, path: Path, *, progress: Callable[[int], None] | None = None) -> ImportResult:
    """Upsert the users of the file `path` by `_id`: all of them or, when one is refused (`InvalidRow`), none.

    The file is a JSON array, NDJSON or CSV (see `mailer.readers`). Who has unsubscribed stays unsubscribed, who is
    marked so by Rocket.Chat (`mailer.unsubscribed`) or comes to an address with a wish (`mailer.wishes`) becomes so,
    and who is not in the file stays as they are.
    `progress` is told now and then how many bytes of the file have been read.
    """
    with path.open("rb") as file:
        return upsert_documents(db, _watched(read_documents(file, path.name), file, progress))


def upsert_documents(
    db: Database,
    documents: Iterable[tuple[int, object]],
    *,
    then: Callable[[Connection, ImportResult], None] | None = None,
) -> ImportResult:
    """The same for `(row, document)` pairs from anywhere; the rows are for the errors.

    `then` is called at the end of the transaction that merges, while the table `staged_users` still has their ids;
    what it raises takes the whole import back.
    """
    with db.engine.connect() as connection:
        with connection.begin():  # not a write to the database proper: SQLite locks nothing for it
            _stage(connection, map(_staged, _normalised(documents)))
            _refuse_repeated(connection)
            if connection.dialect.name == "postgresql":
                return _merge(connection, db.clock(connection), then)
        with db.write_on(connection):
            result = _merge(connection, db.clock(connection), then)
            connection.exec_driver_sql("DROP TABLE staged_users")
        return result


def _watched(
    documents: Iterator[tuple[int, object]], file: BufferedReader, progress: Callable[[int], None] | None
) -> Iterator[tuple[int, object]]:
    if progress is None or not file.seekable():
        yield from documents
        return
    while chunk := list(islice(documents, CHUNK)):
        progress(file.raw.tell())
        yield from chunk


def _normalised(documents: Iterable[tuple[int, object]]) -> Iterator[tuple[int, UserRow]]:
    return ((row, normalise(document, row)) for row, document in documents)


def _staged(numbered: tuple[int, UserRow]) -> Staged:
    row, user = numbered
    return (*user[:-1], _encode(user.document), row)


def _stage(connection: Connection, rows: Iterator[Staged]) -> None:
    postgresql = connection.dialect.name == "postgresql"
    json_type = "jsonb" if postgresql else "json"
    id_type = 'text COLLATE "C"' if postgresql else "text"
    types = {"id": id_type, "document": json_type, **_TYPES}
    columns = ", ".join(f"{column} {types.get(column, 'text')}" for column in COLUMNS)
    connection.exec_driver_sql("DROP TABLE IF EXISTS staged_users")
    on_commit = " ON COMMIT DROP" if postgresql else ""
    connection.exec_driver_sql(f"CREATE TEMPORARY TABLE staged_users ({columns}, source_row bigint){on_commit}")
    if postgresql:
        _copy(connection, rows)
    else:
        _insert(connection, rows)


def _insert(connection: Connection, rows: Iterator[Staged]) -> None:
    places = ", ".join("?" * (len(COLUMNS) + 1))
    while chunk := list(islice(rows, CHUNK)):
        connection.exec_driver_sql(f"INSERT INTO staged_users VALUES ({places})", chunk)  # noqa: S608 - only places


def _copy(connection: Connection, rows: Iterator[Staged]) -> None:
    driver: Any = connection.connection.driver_connection  # psycopg's: SQLAlchemy has no COPY
    with driver.cursor() as cursor, cursor.copy("COPY staged_users FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _refuse_repeated(connection: Connection) -> None:
    """The index finds out whether an `_id` is repeated, and then serves the merge."""
    connection.exec_driver_sql("CREATE INDEX staged_users_id ON staged_users (id, source_row)")
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("ANALYZE staged_users")
    repeated = connection.exec_driver_sql(_REPEATED).one_or_none()
    if repeated:
        user_id, first, again = repeated
        raise InvalidRow(again, "_id", f"{user_id} stands in row {first} already")


def _merge(connection: Connection, now: int, then: Callable[[Connection, ImportResult], None] | None) -> ImportResult:
    wishes.before_merge(connection)
    total: int = connection.execute(text("SELECT count(*) FROM staged_users")).scalar_one()
    known: int = connection.execute(text(_KNOWN)).scalar_one()
    differs = "IS DISTINCT FROM" if connection.dialect.name == "postgresql" else "IS NOT"
    opted_out = _OPTED_OUT[connection.dialect.name]
    marks = {"opted_out": opted_out.format(table="users"), "opted_out_staged": opted_out.format(table="staged_users")}
    written = connection.execute(text(_UPSERT.format(differs=differs, **marks)), {"now": now}).rowcount
    result = ImportResult(created=total - known, updated=written - (total - known), unchanged=total - written)
    if then:
        then(connection, result)
    wishes.after_merge(connection, now)
    return result
