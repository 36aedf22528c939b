"""Whether a transaction still stands: asked of the driver, since a failure inside may have ended it unnoticed.

SQLite takes the whole transaction back when the disk is full, memory runs out or a read fails. The driver then works
on without one: the next savepoint begins another, and a commit of nothing succeeds. PostgreSQL keeps a failed
transaction open and answers its COMMIT with a ROLLBACK, which psycopg does not raise. Either would turn into success
what is not in the database.
"""

from __future__ import annotations

from typing import Any

from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError


class TransactionOver(Exception):
    """The database has taken the transaction back, with all that was written in it."""


def verify_standing(connection: Connection, *_savepoint: str) -> None:
    """Raise `OperationalError` when the transaction that `connection` is in has ended or failed."""
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "postgresql":
        status = driver.info.transaction_status
        stands = status in (TransactionStatus.IDLE, TransactionStatus.INTRANS)  # idle: nothing was executed yet
    else:
        stands = driver.in_transaction
    if not stands:
        raise OperationalError("COMMIT", None, TransactionOver("the transaction was rolled back"))


def watch(engine: Engine) -> None:
    """Have it verified before every savepoint and every commit."""
    event.listen(engine, "savepoint", verify_standing)
    event.listen(engine, "commit", verify_standing)
