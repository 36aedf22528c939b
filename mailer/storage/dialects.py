"""What SQLite and PostgreSQL are told in different words: inserts that meet a row, and transactions in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, CursorResult, Insert, func, literal, select
from sqlalchemy.dialects import postgresql, sqlite

from mailer.storage.base import Base

NewRow = postgresql.Insert | sqlite.Insert  # both have `excluded` and `on_conflict_do_…`
OnConflict = Callable[[NewRow], Insert]  # what shall be inserted, and what becomes of a row that is there

_DIALECTS: Mapping[str, Any] = {"sqlite": sqlite, "postgresql": postgresql}
_PLACES = {"sqlite": "qmark", "postgresql": "format"}  # how the drivers mark the places for values


def is_postgresql(connection: Connection) -> bool:
    """Whether the database is PostgreSQL; else it is SQLite."""
    return connection.dialect.name == "postgresql"


class Upsert:
    """One `INSERT … ON CONFLICT` into `table`, built once for both databases; `build` gets the insert to complete."""

    def __init__(self, table: type[Base], build: OnConflict) -> None:
        self._statements = {name: build(dialect.insert(table)) for name, dialect in _DIALECTS.items()}

    def run(
        self, connection: Connection, values: Mapping[str, Any] | Sequence[Mapping[str, Any]]
    ) -> CursorResult[*tuple[Any, ...]]:
        """Execute it with the values of its parameters, or of several rows."""
        return connection.execute(self._statements[connection.dialect.name], values)


class RowUpsert:
    """The same for rows that hold the values of `columns` in this order and go to the driver as they are.

    That is the fastest way; nothing is converted, so JSON columns do not go this way.
    """

    def __init__(self, table: type[Base], columns: Sequence[str], build: OnConflict) -> None:
        self._texts = {
            name: str(
                build(dialect.insert(table)).compile(
                    dialect=dialect.dialect(paramstyle=_PLACES[name]), column_keys=list(columns)
                )
            )
            for name, dialect in _DIALECTS.items()
        }

    def run(self, connection: Connection, rows: list[tuple[Any, ...]]) -> None:
        """Write the rows."""
        connection.exec_driver_sql(self._texts[connection.dialect.name], rows)


def in_turn(connection: Connection, about: str | int, *, shared: bool = False) -> None:
    """Of two transactions about the same, have the second wait here until the first has ended.

    Those that are `shared` wait only for one that is not. An advisory lock on PostgreSQL, whose number is `about` or is
    made from its text; on SQLite one transaction writes at a time, and the second has waited to begin.
    """
    if not is_postgresql(connection):
        return
    number = literal(about, BigInteger) if isinstance(about, int) else func.hashtextextended(about, 0)
    lock = func.pg_advisory_xact_lock_shared if shared else func.pg_advisory_xact_lock
    connection.execute(select(lock(number)))
