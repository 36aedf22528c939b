"""The PostgreSQL database that everything is moved to, filled by COPY inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from sqlalchemy import Connection, Table, func, select, text
from sqlalchemy.exc import DBAPIError

from mailer.storage.moves.sums import Sum, text_of


def lock(connection: Connection, tables: Sequence[Table]) -> None:
    """Keep everybody else from the tables until the transaction ends."""
    names = ", ".join(_quoted(table.name) for table in tables)
    connection.exec_driver_sql(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")


def is_empty(connection: Connection, table: Table) -> bool:
    """Whether the table has no row."""
    return connection.execute(select(1).select_from(table).limit(1)).first() is None


def fill(connection: Connection, table: Table, rows: Iterable[tuple[Any, ...]]) -> None:
    """Copy the rows, whose values are in the order of the table's columns, into the empty table.

    The table is truncated first, which costs nothing and lets the rows come in as frozen ones: vacuum need not write
    them once more. Raises `DBAPIError`.
    """
    name, columns = _quoted(table.name), ", ".join(_quoted(column.name) for column in table.columns)
    driver: Any = connection.connection.driver_connection
    copying = f"COPY {name} ({columns}) FROM STDIN (FREEZE)"
    try:
        with driver.cursor() as cursor, cursor.copy(copying) as copy:
            for row in rows:
                copy.write_row(row)
    except psycopg.Error as error:
        raise DBAPIError.instance("COPY", None, error, psycopg.Error, hide_parameters=True) from error


def empty(connection: Connection, tables: Sequence[Table]) -> None:
    """Truncate the tables."""
    connection.exec_driver_sql(f"TRUNCATE {', '.join(_quoted(table.name) for table in tables)}")


def set_sequences(connection: Connection, table: Table) -> None:
    """Have each column that counts by itself go on after its highest value."""
    sequence_of = text("SELECT pg_get_serial_sequence(:table, :column)")
    for column in table.columns:
        names = {"table": _quoted(table.name), "column": column.name}
        sequence = connection.scalar(sequence_of, names)
        if sequence is not None:
            highest = func.coalesce(func.max(column), 0)
            connection.execute(select(func.setval(sequence, highest + 1, False)).select_from(table))


def sum_of(connection: Connection, table: Table) -> Sum:
    """Count the rows and add up their checksums, by the database itself, in the way of `sums`."""
    values = ", ".join(text_of(column) for column in table.columns)
    digest = f"md5(concat_ws(chr(31), {values}))"
    number = f"('x' || left({digest}, 12))::bit(48)::bigint"
    query = f"SELECT count(*), coalesce(sum({number}), 0) FROM {_quoted(table.name)}"  # noqa: S608 - only names
    count, total = connection.exec_driver_sql(query).one()
    return Sum(count, int(total))


def _quoted(name: str) -> str:
    return f'"{name}"'
