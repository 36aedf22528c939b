"""A backup: one file of SQLite with every row of a moment, and with the sums by which it is known to be whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mailer.errors import InvalidState
from mailer.storage.moves.sums import Sum, sum_of_rows

FACTS, SUMS = "backup_facts", "backup_sums"  # its own tables, which no database of the service has
AT_ONCE = 2000  # rows
NOT_ONE = "not a backup that `mailer backup` has made"


@dataclass(frozen=True, slots=True)
class Facts:
    """When a backup was made, in ms since 1970, and of which version of the schema."""

    made_at: int
    schema: str


def describe(path: Path, facts: Facts) -> dict[str, int]:
    """Make a backup of a file of SQLite: note the facts and the sum of each table. Return each table's rows."""
    with _opened(path) as connection:
        connection.execute("PRAGMA journal_mode = DELETE").close()  # all of it is in the one file
        sums = {table: _sum(connection, table) for table in _tables(connection)}
        connection.execute(f"CREATE TABLE {FACTS} (made_at INTEGER NOT NULL, schema TEXT NOT NULL)")
        connection.execute(f"CREATE TABLE {SUMS} (name TEXT NOT NULL, rows INTEGER NOT NULL, checksum TEXT NOT NULL)")
        connection.execute(f"INSERT INTO {FACTS} VALUES (?, ?)", (facts.made_at, facts.schema))  # noqa: S608 - a name
        rows = [(table, found.rows, str(found.checksum)) for table, found in sums.items()]
        connection.executemany(f"INSERT INTO {SUMS} VALUES (?, ?, ?)", rows)  # noqa: S608 - a name
    return {table: found.rows for table, found in sums.items()}


def check(path: Path) -> Facts:
    """Return the facts of a backup whose every table is as it was made. Raises `InvalidState` for any other file."""
    try:
        with _opened(path, "?mode=ro") as connection:
            facts = Facts(*connection.execute(f"SELECT made_at, schema FROM {FACTS}").fetchone())  # noqa: S608 - a name
            noted = connection.execute(f"SELECT name, rows, checksum FROM {SUMS}").fetchall()  # noqa: S608 - a name
            damaged = [name for name, rows, sum_ in noted if _sum(connection, name) != Sum(rows, int(sum_))]
            missing = set(_tables(connection)) ^ {name for name, _, _ in noted}
    except (sqlite3.DatabaseError, TypeError, ValueError) as error:
        raise InvalidState(f"{path}: {NOT_ONE}, or damaged") from error
    if damaged or missing:
        raise InvalidState(f"{path}: damaged: {', '.join(sorted({*damaged, *missing}))}")
    return facts


def strip(path: Path) -> None:
    """Make a database of a backup again: take the tables out that no database has."""
    with _opened(path) as connection:
        connection.execute(f"DROP TABLE {FACTS}")
        connection.execute(f"DROP TABLE {SUMS}")


@contextmanager
def _opened(path: Path, mode: str = "?mode=rw") -> Iterator[sqlite3.Connection]:
    address = path.absolute().as_uri() + mode
    with closing(sqlite3.connect(address, uri=True)) as connection, connection:
        yield connection


def _tables(connection: sqlite3.Connection) -> Sequence[str]:
    wanted = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    return [name for (name,) in connection.execute(wanted) if name not in (FACTS, SUMS)]


def _sum(connection: sqlite3.Connection, table: str) -> Sum:
    return sum_of_rows(_rows(connection, table))


def _rows(connection: sqlite3.Connection, table: str) -> Iterator[tuple[str | int | float | bytes | None, ...]]:
    cursor = connection.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - a name that the file itself has
    while some := cursor.fetchmany(AT_ONCE):
        yield from some
