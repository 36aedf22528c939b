"""Transactions on SQLite that cost little: BEGIN and COMMIT go to the driver, on connections that stay in hand.

SQLAlchemy needs 200,000 instructions to take a connection from its pool, to begin, to commit and to give it back.
SQLite itself needs 15,000. What is executed in between may be SQLAlchemy's or a statement for the driver. PostgreSQL's
connections come from the pool each time, since they have to be looked at before they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from sqlalchemy import Connection, Engine, QueuePool

from mailer.storage.dialects import on_driver
from mailer.storage.transactions import verify_standing


class KeptConnections:
    """Connections that are not given back to the pool of `engine` between two transactions.

    That is for as long as the pool has room for all. When there are more, somebody may wait for one, so they go back.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._idle: list[Connection] = []

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection that is in no transaction. One that met an error goes back to the pool, which rolls back."""
        try:
            connection = self._idle.pop()  # the one that was used last has the most pages in its cache
        except IndexError:
            connection = self._engine.connect()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        if cast(QueuePool, self._engine.pool).overflow() > 0 or not self._is_as_new(connection):
            connection.close()
        else:
            self._idle.append(connection)

    def _is_as_new(self, connection: Connection) -> bool:
        same_options = connection.get_execution_options() == self._engine.get_execution_options()
        return same_options and not (connection.closed or connection.invalidated or connection.in_transaction())

    def close(self) -> None:
        """Give all that nobody uses back to the pool."""
        while self._idle:
            self._idle.pop().close()


@contextmanager
def transaction(connection: Connection, begin: Callable[[Connection], object]) -> Iterator[None]:
    """A transaction that `begin` begins. It commits at the end of the block, or is rolled back after an error."""
    begin(connection)
    try:
        yield
        _commit(connection)
    except BaseException:
        _roll_back(connection)
        raise


def begin_reading(connection: Connection) -> None:
    """Begin a transaction that sees the database as it is at its first statement."""
    on_driver(connection, "BEGIN", ())


def _commit(connection: Connection) -> None:
    if connection.in_transaction():  # SQLAlchemy has executed something, and watches over its commits by itself
        connection.commit()
        return
    verify_standing(connection)
    try:
        connection.dialect.do_commit(connection.connection)
    except BaseException as error:  # noqa: BLE001 - raised again there, always
        connection._handle_dbapi_exception(error, "COMMIT", None, None, None)


def _roll_back(connection: Connection) -> None:
    connection.rollback()
    driver: Any = connection.connection.driver_connection
    driver.rollback()
