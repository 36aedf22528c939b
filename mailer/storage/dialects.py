"""What SQLite and PostgreSQL do in different ways: upserts, lists of values, and transactions that wait for each other.

What runs for every request, claim or checkpoint is a `Statement`, whose text is made once. Building a statement and
reading its result by SQLAlchemy takes about 150,000 instructions, and the driver itself a tenth of that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    CursorResult,
    Insert,
    Select,
    Text,
    Update,
    any_,
    bindparam,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute

from mailer.storage.models.base import Base

NewRow = postgresql.Insert | sqlite.Insert  # both have `excluded` and `on_conflict_do_…`
OnConflict = Callable[[NewRow], Insert]  # completes an insert: what to do if the row exists

_DIALECTS: Mapping[str, Any] = {"sqlite": sqlite, "postgresql": postgresql}
_PLACES = {"sqlite": "qmark", "postgresql": "format"}  # how the drivers mark the places for values
_NAMED_PLACES = {"sqlite": "named", "postgresql": "pyformat"}


def new_row(kind: str, table: type[Base]) -> NewRow:
    """An insert into `table` for the dialect of that name, to be completed by what to do if the row exists."""
    made: NewRow = _DIALECTS[kind].insert(table)
    return made


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
        on_driver(connection, self._texts[connection.dialect.name], rows)


class Statement:
    """A statement whose text is made once for each database, and which the driver gets as it is.

    `build` makes it, for the name of a dialect. Values are given by the names of its parameters, and rows are what the
    driver makes of them. Nothing is converted: a JSON column takes text, SQLite's booleans are 1 and 0.
    """

    def __init__(self, build: Callable[[str], Select[*tuple[Any, ...]] | Insert | Update]) -> None:
        self._build = build
        self._made: dict[str, tuple[str, Mapping[str, Any]]] = {}

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> list[Any]:
        """Execute it and return all rows, as tuples."""
        found: list[Any] = self._execute(connection, values).fetchall()
        return found

    def row(self, connection: Connection, values: Mapping[str, Any]) -> Any:
        """Execute it and return the first row, as a tuple; None if there is none."""
        return next(iter(self.rows(connection, values)), None)

    def changed(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """Execute it and return how many rows it has written."""
        return int(self._execute(connection, values).rowcount)

    def _execute(self, connection: Connection, values: Mapping[str, Any]) -> Any:
        text, constants = self._made.get(connection.dialect.name) or self._make(connection.dialect.name)
        return on_driver(connection, text, {**constants, **values})

    def _make(self, name: str) -> tuple[str, Mapping[str, Any]]:
        dialect = _DIALECTS[name].dialect(paramstyle=_NAMED_PLACES[name])
        compiled = self._build(name).compile(dialect=dialect)
        given = [name for name, bind in compiled.binds.items() if bind.required]
        whole = compiled.construct_expanded_state(dict.fromkeys(given))  # with a place for each value of IN
        constants = {
            name: str(value) if isinstance(value, str) else value
            for name, value in whole.parameters.items()
            if name not in given
        }
        made = self._made[name] = (whole.statement, constants)
        return made


def on_driver(connection: Connection, text: str, values: Mapping[str, Any] | Sequence[Any]) -> Any:
    """Have the driver execute `text`, and return its cursor. A list of tuples are the values of as many executions.

    What fails is raised, and the connection given up, as if SQLAlchemy had executed it.
    """
    driver: Any = connection.connection.driver_connection
    try:
        return driver.cursor().executemany(text, values) if isinstance(values, list) else driver.execute(text, values)
    except BaseException as error:  # noqa: BLE001 - raised again there, always
        connection._handle_dbapi_exception(error, text, None, None, None)


def driver_rows(
    connection: Connection, query: Select[*tuple[Any, ...]], values: Mapping[str, Any]
) -> list[tuple[Any, ...]]:
    """The rows of a query that is not the same for all, as the driver has them: for many rows of texts and numbers."""
    with closing(connection.execute(query, values)) as result:
        return [*result.cursor.fetchall()]


def one_of(kind: str, column: InstrumentedAttribute[str], name: str) -> ColumnElement[bool]:
    """A condition: `column` is one of the texts in the parameter `name`, which is a JSON array of any length."""
    if kind == "postgresql":
        values = func.jsonb_array_elements_text(bindparam(name, type_=postgresql.JSONB)).column_valued()
        return column == any_(func.array(select(values).scalar_subquery(), type_=postgresql.ARRAY(Text)))
    return column.in_(select(func.json_each(bindparam(name)).table_valued("value").c.value))


def from_json(value: Any) -> Any:
    """The value of a JSON column in a row of a `Statement`. PostgreSQL's driver has read it already."""
    return json.loads(value) if isinstance(value, str) else value


def text_array(values: Sequence[str]) -> str:
    """An array of texts as PostgreSQL writes it; the driver would take four times as long for it."""
    joined = '","'.join(values)
    if "\\" in joined or joined.count('"') != 2 * (len(values) - 1):
        joined = '","'.join(value.replace("\\", r"\\").replace('"', r"\"") for value in values)
    return f'{{"{joined}"}}' if values else "{}"


def in_turn(connection: Connection, about: str | int, *, shared: bool = False) -> None:
    """Let transactions about the same thing follow each other: the second waits here until the first has ended.

    Transactions that are `shared` wait only for those that are not. On PostgreSQL this takes an advisory lock, whose
    number is `about` or a hash of it. On SQLite it does nothing: only one transaction writes at a time anyway.
    """
    if not is_postgresql(connection):
        return
    _LOCKS[isinstance(about, int), shared].rows(connection, {"about": about})


def _locking(_kind: str, *, number: bool, shared: bool) -> Select[*tuple[Any, ...]]:
    lock = func.pg_advisory_xact_lock_shared if shared else func.pg_advisory_xact_lock
    about = bindparam("about", type_=BigInteger) if number else func.hashtextextended(bindparam("about", type_=Text), 0)
    return select(lock(about))


_LOCKS = {
    (number, shared): Statement(partial(_locking, number=number, shared=shared))
    for number in (True, False)
    for shared in (True, False)
}
