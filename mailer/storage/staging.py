"""Temporary tables: filled with the rows of a file while nobody waits, and merged in one transaction.

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

CHUNK = 500  # rows
ID = "id"  # a text that compares bytewise, as the ids of the database do
_POSTGRESQL_TYPES = {ID: 'text COLLATE "C"', "json": "jsonb"}
_SQLITE_TYPES = {ID: "text"}

Staged = TypeVar("Staged")
Merged = TypeVar("Merged")


@dataclass(frozen=True, slots=True)
class StagingTable:
    """A temporary table that one connection sees; `columns` have the type `ID`, `text`, `json`, `boolean` or `bigint`.

    It begins with `create` or `create_as` and ends with `drop` or, on PostgreSQL, with the transaction.
    """

    name: str
    columns: Mapping[str, str]

    def create(self, connection: Connection) -> None:
        """Make it anew, without rows."""
        types = _POSTGRESQL_TYPES if is_postgresql(connection) else _SQLITE_TYPES
        columns = ", ".join(f"{name} {types.get(kind, kind)}" for name, kind in self.columns.items())
        _create(connection, self.name, f"({columns})", "")

    def fill(self, connection: Connection, rows: Iterable[tuple[Any, ...]]) -> None:
        """Add rows, whose values are in the order of the columns."""
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
        """By psycopg, since SQLAlchemy has no COPY; its errors are then told as SQLAlchemy tells them."""
        driver: Any = connection.connection.driver_connection
        try:
            with driver.cursor() as cursor, cursor.copy(f"COPY {self.name} FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        except psycopg.Error as error:
            raise DBAPIError.instance("COPY", None, error, psycopg.Error, hide_parameters=True) from error


def create_as(connection: Connection, name: str, query: str) -> None:
    """Make the temporary table `name` of what `query`, a SELECT without parameters, finds."""
    _create(connection, name, "", f" AS {query}")


def index(connection: Connection, name: str, *columns: str) -> None:
    """Have the rows of the temporary table `name` found by `columns`."""
    connection.exec_driver_sql(f"CREATE INDEX {name}_{columns[0]} ON {name} ({', '.join(columns)})")


def analyse(connection: Connection, name: str) -> None:
    """Tell PostgreSQL's planner what is in the temporary table, of which it would know nothing; SQLite has to guess."""
    if is_postgresql(connection):
        connection.exec_driver_sql(f"ANALYZE {name}")


def drop(connection: Connection, name: str) -> None:
    """End the temporary table before its connection is used for something else."""
    connection.exec_driver_sql(f"DROP TABLE {name}")


def stage_and_merge(
    db: Database, stage: Callable[[Connection], Staged], merge: Callable[[Connection, Staged], Merged]
) -> Merged:
    """Return what `merge` does with what `stage` returned, on one connection; only `merge` writes to the database.

    On PostgreSQL both are one transaction. On SQLite `stage` has one of its own, which locks nothing, and its temporary
    tables are there until `merge` drops them. What either raises takes back all that was written.
    """
    with db.engine.connect() as connection:
        with connection.begin():
            staged = stage(connection)
            if is_postgresql(connection):
                return merge(connection, staged)
        with db.write_on(connection):
            return merge(connection, staged)


def _create(connection: Connection, name: str, columns: str, query: str) -> None:
    on_commit = " ON COMMIT DROP" if is_postgresql(connection) else ""
    connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")  # what an error has left behind on SQLite
    connection.exec_driver_sql(f"CREATE TEMPORARY TABLE {name} {columns}{on_commit}{query}")
