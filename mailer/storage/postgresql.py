"""How the service connects to PostgreSQL, and how its transactions begin there.

Nothing is set that outlives a transaction: behind a pooler such as pgbouncer the next one may run in another session,
and this session may be somebody else's next.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

import psycopg
from psycopg.errors import ReadOnlySqlTransaction
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import PoolProxiedConnection

LATELY_SECONDS = 1.0  # since a transaction began on a connection, which is then not asked whether it still stands

_BEGIN = "BEGIN; SET LOCAL jit = off"  # compiling takes longer than the query itself, even with a million users
# from PostgreSQL 14 on, a statement ends when the process that waits for it has died
_BEGIN_14 = f"{_BEGIN}; SET LOCAL client_connection_check_interval = '5s'"

# A host that is gone without a word is noticed within a minute, and not when TCP gives up after a quarter of an hour.
# The numbers are seconds, but for the last, which is ms. What a URL names itself is left as it is.
_NOTICE_SILENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 50_000,
}


def engine_at(url: URL, *, prepare: bool, **options: Any) -> Engine:
    """An engine for the PostgreSQL database at `url`, with SQLAlchemy's `options`.

    With `prepare` the driver has the server keep statements that it executes often, for the whole session.
    """
    connecting = _options(url) | ({} if prepare else {"prepare_threshold": None})
    engine = create_engine(_with_driver(url), pool_pre_ping=True, connect_args=connecting, **options)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "handle_error", _takes_no_writes)
    engine.dialect.do_begin = _begin  # type: ignore[method-assign] # not by an event, whose errors would stay psycopg's
    engine.dialect.do_ping = partial(_ping, engine.dialect.do_ping)  # type: ignore[method-assign]
    return engine


def encoding_of(connection: Connection) -> str:
    """In which encoding the database stores texts. The server has told it when the connection was made."""
    driver: Any = connection.connection.driver_connection
    return driver.info.parameter_status("server_encoding") or "unknown"


def connect(url: str) -> psycopg.Connection[Any]:
    """A connection of its own to the database at `url`, each of whose statements is a transaction. Raises psycopg's."""
    parsed = _with_driver(make_url(url))
    _, arguments = parsed.get_dialect()().create_connect_args(parsed)
    return psycopg.connect(**{**_options(parsed), **arguments}, autocommit=True)


def _with_driver(url: URL) -> URL:
    return url.set(drivername="postgresql+psycopg")


def _options(url: URL) -> dict[str, Any]:
    noticing = {name: value for name, value in _NOTICE_SILENCE.items() if name not in url.query}
    return noticing | {"client_encoding": "utf8"}  # whatever PGCLIENTENCODING says


def _prepare(connection: psycopg.Connection[Any], _record: Any) -> None:
    connection.autocommit = True  # `_begin` begins transactions; the driver must not begin any by itself


def _begin(dbapi_connection: PoolProxiedConnection) -> None:
    """Begin a transaction with what is set in each, in one trip to the server, as the driver's own BEGIN would take."""
    connection: Any = dbapi_connection.driver_connection
    connection.execute(_BEGIN_14 if connection.info.server_version >= 140000 else _BEGIN, prepare=False)
    connection.last_begun = time.monotonic()


def _ping(ping: Callable[[DBAPIConnection], bool], dbapi_connection: DBAPIConnection) -> bool:
    """Ask the server whether it is still there, unless the connection has worked a moment ago and is quiet.

    Asking takes two fifths of what a transaction takes by itself. A server that has ended the connection has said so,
    and there is something to read. One that has gone without a word is what asking is for.
    """
    connection: Any = dbapi_connection
    lately = time.monotonic() - getattr(connection, "last_begun", -inf) < LATELY_SECONDS
    return (lately and not connection.closed and _is_quiet(connection.fileno())) or ping(dbapi_connection)


def _is_quiet(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return not poll.poll(0)


def _takes_no_writes(context: ExceptionContext) -> None:
    """Report a standby, which takes no writes, as a database that is away. PostgreSQL calls it an internal error."""
    error = context.original_exception
    if isinstance(error, ReadOnlySqlTransaction):
        raise OperationalError(context.statement, None, error, hide_parameters=True) from error
