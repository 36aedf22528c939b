"""Temporary tables: filled with the rows of a file while others can write, and merged in one transaction.

Reading and checking a file takes long, and on SQLite only one transaction writes at a time. A temporary table is not
part of the database proper, so filling it keeps nobody from writing; only the merge does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from mailer.storage.database import Database
from mailer.storage.dialects import is_postgresql

CHUNK = 500  # rows inserted at a time
ID = "id"  # the type of a text that is compared by its bytes, like the ids in the database
_POSTGRESQL_TYPES = {ID: 'text COLLATE "C"', "json": "jsonb"}
_SQLITE_TYPES = {ID: "text"}

Staged = TypeVar("Staged")
Merged = TypeVar("Merged")


@dataclass(frozen=True, slots=True)
class StagingTable:
    """A temporary table that only its connection sees.

    `columns` maps names to types: `ID`, `text`, `json`, `boolean` or `bigint`. The table exists from `create` or
    `create_as` until `drop`, or on PostgreSQL until the transaction ends.
    """

    name: str
    columns: Mapping[str, str]

    def create(self, connection: Connection) -> None:
        """Create the table without rows, in place of one that an earlier error left behind."""
        types = _POSTGRESQL_TYPES if is_postgresql(connection) else _SQLITE_TYPES
        columns = ", ".join(f"{name} {types.get(kind, kind)}" for name, kind in self.columns.items())
        _create(connection, self.name, f"({columns})", "")

    def fill(self, connection: Connection, rows: Iterable[tuple[Any, ...]]) -> None:
        """Add rows, whose values are in the order of `columns`. Raises `DBAPIError`."""
        if is_postgresql(connection):
            self._copy(connection, rows)
        else:
            self._insert(connection, rows)

    def _insert(self, connection: Connection, rows: Iterable[tuple[Any, ...]]) -> None:
        places = ", ".join("?" * len(self.columns))
        rest = iter(rows)
        while chunk := list(islice(rest, CHUNK)):
            connection.exec_driver_sql(f"INSERT INTO {self.name} VALUES ({places})", chunk)  # noqa: S608 - only places

    def _copy(self, connection: Connection, rows: Iterable[tuple[Any, ...]]) -> None:
        """Use psycopg, since SQLAlchemy has no COPY, and raise its errors as SQLAlchemy's."""
        driver: Any = connection.connection.driver_connection
        try:
            with driver.cursor() as cursor, cursor.copy(f"COPY {self.name} FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        except psycopg.Error as error:
            raise DBAPIError.instance("COPY", None, error, psycopg.Error, hide_parameters=True) from error


def create_as(connection: Connection, name: str, query: str) -> None:
    """Create the temporary table `name` from the rows of `query`, a SELECT without parameters."""
    _create(connection, name, "", f" AS {query}")


def index(connection: Connection, name: str, *columns: str) -> None:
    """Create an index on `columns` of the temporary table `name`."""
    connection.exec_driver_sql(f"CREATE INDEX {name}_{columns[0]} ON {name} ({', '.join(columns)})")


def analyse(connection: Connection, name: str) -> None:
    """Let PostgreSQL's planner know what is in the temporary table. On SQLite this does nothing."""
    if is_postgresql(connection):
        connection.exec_driver_sql(f"ANALYZE {name}")


def drop(connection: Connection, name: str) -> None:
    """Drop the temporary table, before its connection is used for something else."""
    connection.exec_driver_sql(f"DROP TABLE {name}")


def stage_and_merge(
    db: Database, stage: Callable[[Connection], Staged], merge: Callable[[Connection, Staged], Merged]
) -> Merged:
    """Call `stage`, then `merge` with its result, on one connection, and return what `merge` returns.

    Only `merge` writes to the database; `stage` fills temporary tables. On PostgreSQL both are one transaction. On
    SQLite `stage` has one of its own, which locks nothing, and its tables exist until `merge` drops them. When either
    raises, all that was written to the database is rolled back.
    """
    with db.connection() as connection:
        with db.read_on(connection):
            staged = stage(connection)
            if is_postgresql(connection):
                return merge(connection, staged)
        with db.write_on(connection):
            return merge(connection, staged)


def _create(connection: Connection, name: str, columns: str, query: str) -> None:
    on_commit = " ON COMMIT DROP" if is_postgresql(connection) else ""
    connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")  # what an error has left behind on SQLite
    connection.exec_driver_sql(f"CREATE TEMPORARY TABLE {name} {columns}{on_commit}{query}")
