"""What SQLite and PostgreSQL do in different ways: upserts, and transactions that wait for one another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, CursorResult, Insert, func, literal, select
from sqlalchemy.dialects import postgresql, sqlite

from mailer.storage.models.base import Base

NewRow = postgresql.Insert | sqlite.Insert  # both have `excluded` and `on_conflict_do_…`
OnConflict = Callable[[NewRow], Insert]  # completes an insert: what to do if the row exists

_DIALECTS: Mapping[str, Any] = {"sqlite": sqlite, "postgresql": postgresql}
_PLACES = {"sqlite": "qmark", "postgresql": "format"}  # how the drivers mark the places for values


def is_postgresql(connection: Connection) -> bool:
    """Whether the database is PostgreSQL. Otherwise it is SQLite."""
    return connection.dialect.name == "postgresql"


class Upsert:
    """One `INSERT … ON CONFLICT` into `table`, built once for both databases. `build` completes the insert."""

    def __init__(self, table: type[Base], build: OnConflict) -> None:
        self._statements = {name: build(dialect.insert(table)) for name, dialect in _DIALECTS.items()}

    def run(
        self, connection: Connection, values: Mapping[str, Any] | Sequence[Mapping[str, Any]]
    ) -> CursorResult[*tuple[Any, ...]]:
        """Execute it for one row, given as a mapping of columns to values, or for several."""
        return connection.execute(self._statements[connection.dialect.name], values)


class RowUpsert:
    """An upsert like `Upsert`, of rows that are tuples with the values of `columns` in this order.

    The driver gets them as they are, which is fastest. Nothing is converted, so JSON columns cannot go this way.
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
    """Let transactions about the same thing follow each other: the second waits here until the first has ended.

    Transactions that are `shared` wait only for those that are not. On PostgreSQL this takes an advisory lock, whose
    number is `about` or a hash of it. On SQLite it does nothing: only one transaction writes at a time anyway.
    """
    if not is_postgresql(connection):
        return
    number = literal(about, BigInteger) if isinstance(about, int) else func.hashtextextended(about, 0)
    lock = func.pg_advisory_xact_lock_shared if shared else func.pg_advisory_xact_lock
    connection.execute(select(lock(number)))
