"""Copy every table from SQLite to PostgreSQL in one transaction, or find that this was done already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy import Connection, Table

from mailer.errors import InvalidState
from mailer.storage.database import Database
from mailer.storage.models import Base
from mailer.storage.moves import postgresql_target as target
from mailer.storage.moves.sqlite_source import Source, locked
from mailer.storage.moves.sums import Sum, Summing

Told = Callable[[str, int], None]  # of a table that is there: its name, and how many rows it has


def tables_to_copy() -> list[Table]:
    """Every table of the service but those that its migrations fill; those first that others refer to."""
    return [table for table in Base.metadata.sorted_tables if not table.info.get("of_the_schema")]


def copy_all(source: Path, to: Database, tell: Told, *, tables: Sequence[Table] | None = None) -> bool:
    """Copy all rows of `tables`, by default of every table; return False if `to` has exactly these rows already.

    `source` is SQLite's file, which this process must not have open. Both databases have been migrated. The target
    takes all rows or none, so a copy that was interrupted can be begun again. Raises `InvalidState` if a process has
    the source open, if the target has other rows, or if rows arrive otherwise than they left.
    """
    tables = tables_to_copy() if tables is None else tables
    with locked(source) as rows, to.write() as connection:
        target.lock(connection, tables)
        filled = [table.name for table in tables if not target.is_empty(connection, table)]
        if filled:
            _require_same(rows, connection, tables, filled)
            return False
        target.empty(connection, tables)
        for table in tables:
            tell(table.name, _copy(rows, connection, table))
    _analyse(to)
    return True


def _copy(source: Source, connection: Connection, table: Table) -> int:
    left = Summing(table)
    target.fill(connection, table, left.passing(source.rows(table)))
    target.set_sequences(connection, table)
    arrived = target.sum_of(connection, table)
    if arrived != left.sum():
        raise InvalidState(f"{table.name}: what arrived is not what left: {arrived} instead of {left.sum()}")
    return arrived.rows


def _require_same(source: Source, connection: Connection, tables: Sequence[Table], filled: Sequence[str]) -> None:
    for table in tables:
        if target.sum_of(connection, table) != _sum(source, table):
            raise InvalidState(
                f"The target has other rows already, in {', '.join(filled)}. Give it an empty database; "
                "one that was used since it was filled is never written over."
            )


def _sum(source: Source, table: Table) -> Sum:
    summing = Summing(table)
    for _ in summing.passing(source.rows(table)):
        pass
    return summing.sum()


def _analyse(db: Database) -> None:
    """Tell PostgreSQL's planner of the new rows, since autovacuum comes only after a while."""
    with db.write() as connection:
        connection.exec_driver_sql("ANALYZE")
