"""An end to statements that take too long: by SQLite's progress handler, and by PostgreSQL's own limit."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg.errors import QueryCanceled
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from mailer.errors import QueryTimeout

STEPS = 10_000  # of SQLite's machine between two looks at the clock, well under a millisecond


@contextmanager
def time_limit(connection: Connection, seconds: float) -> Iterator[None]:
    """End a statement of the transaction after `seconds`, with `QueryTimeout`; on SQLite all of them together."""
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
