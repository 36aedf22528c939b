"""What only the driver knows of a transaction: whether it still exists, and when a statement takes too long.

A failure inside a transaction may end it unnoticed. SQLite rolls the whole transaction back when the disk is full,
memory runs out or a read fails. The driver then works on without one: the next savepoint begins another, and a commit
of nothing succeeds. PostgreSQL keeps a failed transaction open and answers its COMMIT with a ROLLBACK, for which
psycopg raises no error. Either way, writes that are not in the database would be taken for a success.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg.errors import QueryCanceled
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError

from mailer.errors import QueryTimeout
from mailer.storage.dialects import is_postgresql

STEPS = 10_000  # instructions of SQLite between two looks at the clock: well under a millisecond


class TransactionOver(Exception):
    """The database has rolled the transaction back, with all that was written in it."""


def verify_standing(connection: Connection, *_savepoint: str) -> None:
    """Raise `OperationalError` when the transaction that `connection` is in has ended or failed."""
    driver: Any = connection.connection.driver_connection
    if is_postgresql(connection):
        stands = driver.info.transaction_status == TransactionStatus.INTRANS
    else:
        stands = driver.in_transaction
    if not stands:
        raise OperationalError("COMMIT", None, TransactionOver("the transaction was rolled back"))


def watch(engine: Engine) -> None:
    """Have `verify_standing` called before every savepoint and every commit of the engine's connections.

    On SQLite that is so at SQLAlchemy's beginning of a transaction, too. There `Database` has begun it already.
    """
    if engine.dialect.name == "sqlite":
        event.listen(engine, "begin", verify_standing)
    event.listen(engine, "savepoint", verify_standing)
    event.listen(engine, "commit", verify_standing)


@contextmanager
def time_limit(connection: Connection, seconds: float) -> Iterator[None]:
    """Raise `QueryTimeout` when a statement in the block takes more than `seconds`.

    On SQLite the limit is for all statements of the block together.
    """
    ends = time.monotonic() + seconds
    sqlite = connection.dialect.name == "sqlite"
    driver: Any = connection.connection.driver_connection
    if sqlite:
        driver.set_progress_handler(lambda: time.monotonic() > ends, STEPS)
    else:
        limit = text("SELECT set_config('statement_timeout', :limit, true)")  # true: for this transaction only
        connection.execute(limit, {"limit": str(max(1, int(seconds * 1000)))})
    try:
        yield
    except DBAPIError as error:
        if _interrupted(error.orig):
            raise QueryTimeout(seconds) from error
        raise
    finally:
        if sqlite:
            driver.set_progress_handler(None, 0)


def _interrupted(error: BaseException | None) -> bool:
    return isinstance(error, QueryCanceled) or (
        isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT
    )
