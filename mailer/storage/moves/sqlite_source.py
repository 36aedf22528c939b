"""The SQLite database that is moved: opened so that no other process can have it open meanwhile.

While a process uses a database in write-ahead mode, each of its connections holds a shared lock on the file, also
between transactions. So a connection that gets the exclusive lock knows that no process of the service runs, and for as
long as it keeps the lock, none can begin. That holds for a process that only reads, for one that has died (its locks
have died with it) and for one that stands still. Leases are no such sign: they outlive their process.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Table

from mailer.errors import InvalidState

PATIENCE = 2.0  # seconds; for a command that is just ending
AT_ONCE = 2000  # rows

Value = str | int | float | bytes | None
IN_USE = "A process has the database open. Stop every process of the service, and run this again."


class Source:
    """Reads tables of the locked database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def names(self) -> set[str]:
        """The names of the tables that there are."""
        return {name for (name,) in self._connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}

    def rows(self, table: Table) -> Iterator[tuple[Value, ...]]:
        """The rows in the order of the primary key, as they are stored: JSON is text, and truth is 0 or 1."""
        names = ", ".join(f'"{column.name}"' for column in table.columns)
        order = ", ".join(f'"{column.name}"' for column in table.primary_key)
        cursor = self._connection.execute(f'SELECT {names} FROM "{table.name}" ORDER BY {order}')  # noqa: S608 - names
        while some := cursor.fetchmany(AT_ONCE):
            yield from some


@contextmanager
def locked(path: Path) -> Iterator[Source]:
    """Open the file for this process alone. Raises `InvalidState` if another has it open."""
    with closing(sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE").close()
        try:
            connection.execute("BEGIN EXCLUSIVE").close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise InvalidState(IN_USE) from error
            raise
        yield Source(connection)
