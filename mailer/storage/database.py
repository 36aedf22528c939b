"""The database: engine, transactions, its clock, and migrations at start."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, Row, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from mailer.errors import ConfigError
from mailer.storage.dialects import in_turn, on_driver
from mailer.storage.group_commit import SharedWrites, T, Work
from mailer.storage.journal.writer import Journal
from mailer.storage.migrations import served_versions
from mailer.storage.postgresql import encoding_of, engine_at
from mailer.storage.sqlite.transactions import KeptConnections, begin_reading, transaction
from mailer.storage.sqlite.writes import SQLiteWrites
from mailer.storage.transactions import time_limit, watch

LOCK_TIMEOUT = 30.0  # seconds
MIGRATIONS = Path(__file__).parent / "migrations" / "versions"
MIGRATION_LOCK = 0x6D61696C  # what `in_turn` is asked about

_NOW = {
    "sqlite": "SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    "postgresql": "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)",
}

_ENGINE: dict[str, Any] = {
    "pool_size": 16,
    "pool_use_lifo": True,  # the connection used last has the most pages in its cache
    "hide_parameters": True,  # an error is logged, and the values of a statement may be addresses
}

_UTF8 = "make one for every language: CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0"

Clock = Callable[[Connection], int]
OnConnect = Callable[[sqlite3.Connection], None]
AnyRow = Row[*tuple[Any, ...]]  # columns chosen at run time


def database_time(connection: Connection) -> int:
    """Milliseconds since 1970 by the database's clock: the one clock that all processes share."""
    return int(on_driver(connection, _NOW[connection.dialect.name], ()).fetchone()[0])


def is_database_trouble(error: BaseException) -> bool:
    """Whether the database is away, locked, full or takes no writes; else the statement or its values are at fault."""
    if isinstance(error, (sqlite3.Error, psycopg.Error, PoolTimeout)):
        return True
    if not isinstance(error, DBAPIError):
        return False
    if isinstance(error, (DataError, IntegrityError, NotSupportedError, ProgrammingError)):
        return error.connection_invalidated
    return getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR  # SQLite's word for such a fault


class Database:
    """Transactions on one database, SQLite or PostgreSQL.

    `on_connect` is given each new connection to SQLite, to add the functions in Python that statements call there. A
    writer waits up to `lock_timeout` seconds for SQLite's lock. Without `prepare` no statement is kept on the server of
    PostgreSQL. `clock` tells the time that is recorded, in ms since 1970. Raises `ConfigError` for a `url` of another
    kind.
    """

    def __init__(
        self,
        url: str,
        *,
        on_connect: OnConnect,
        clock: Clock = database_time,
        lock_timeout: float = LOCK_TIMEOUT,
        prepare: bool = True,
    ) -> None:
        self.url = url
        self.clock = clock
        self.engine, self.writes = _engine(url, lock_timeout, on_connect, prepare=prepare)
        watch(self.engine)
        self._kept = KeptConnections(self.engine) if self.writes else None
        self._shared = SharedWrites(self.write)
        self.journal: Journal | None = None  # what a restored backup is told; None: nobody writes one

    @contextmanager
    def read(self, *, limit: float | None = None) -> Iterator[Connection]:
        """A connection for reading: one consistent view on SQLite, one per statement on PostgreSQL.

        With a `limit`, a statement that takes more seconds is stopped: `QueryTimeout`.
        """
        with (
            self.connection() as connection,
            self.read_on(connection),
            nullcontext() if limit is None else time_limit(connection, limit),
        ):
            yield connection

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """A transaction that commits at the end. On SQLite it takes the write lock first, so no lock can fail it later.

        Without `durable`, what it wrote on SQLite outlives the process but perhaps not the machine's power.
        """
        with self._turn(durable), self.connection() as connection, self._writing(connection):
            yield connection

    def write_shared(self, work: Work[T]) -> T:
        """Return what `work` does in a transaction that commits; on SQLite it may share the commit with others' work.

        For what many threads do at once. What `work` raises undoes it and nobody else's.
        """
        if self.writes is not None:
            return self._shared.run(work)
        with self.write() as connection:
            return work(connection)

    def connection(self) -> AbstractContextManager[Connection]:
        """A connection in no transaction yet, for several on one: `read_on`, `write_on`."""
        return self.engine.connect() if self._kept is None else self._kept.connection()

    def read_on(self, connection: Connection) -> AbstractContextManager[Any]:
        """A transaction as `read` begins it, on a connection that is open already and may have temporary tables."""
        return connection.begin() if self._kept is None else transaction(connection, begin_reading)

    @contextmanager
    def write_on(self, connection: Connection) -> Iterator[None]:
        """A transaction as `write` begins it, on a connection as `read_on` takes it."""
        with self._turn(durable=True), self._writing(connection):
            yield

    def _writing(self, connection: Connection) -> AbstractContextManager[Any]:
        return connection.begin() if self.writes is None else transaction(connection, self.writes.begin)

    def _turn(self, durable: bool) -> AbstractContextManager[None]:
        return self.writes.turn(durable=durable) if self.writes else nullcontext()

    def migrate(self) -> bool:
        """Bring the schema up to date; return whether the database is new. Many processes may call it at once.

        A schema from a newer version stays as it is if it still serves this one. Otherwise raises `ConfigError`, as for
        a database that cannot hold every name.
        """
        with self.write() as connection:
            if self.writes is None and (encoding := encoding_of(connection)) != "UTF8":
                raise ConfigError(f"{self.place}: its encoding is {encoding}; {_UTF8}")
            in_turn(connection, MIGRATION_LOCK)
            current = _schema_version(connection)
            if _serves(connection, current):
                return False
            from mailer.storage.migrations.upgrade import upgrade  # noqa: PLC0415 - rarely needed, and slow to import

            upgrade(connection, current)
        return current is None

    def is_migrated(self) -> bool:
        """Whether `migrate` would change nothing. Raises `ConfigError` as it does."""
        with self.read() as connection:
            return _serves(connection, _schema_version(connection))

    def version(self) -> str | None:
        """The version of its schema; None: it has none yet."""
        with self.read() as connection:
            return _schema_version(connection)

    @property
    def place(self) -> str:
        """Where it is, without its password: the whole path of a file, or a server's URL."""
        return place_of(self.engine.url)

    def close(self) -> None:
        """Give back all connections."""
        if self._kept is not None:
            self._kept.close()
        self.engine.dispose()


def place_of(address: str | URL) -> str:
    """What of a database's URL may be shown: the whole path of a file, or a server's URL without its password."""
    url = make_url(address)
    if url.get_backend_name() == "sqlite":
        return str(Path(url.database or "").absolute())
    hidden = {name: "***" for name in url.query if "password" in name}
    return url.set(drivername="postgresql").update_query_dict(hidden).render_as_string(hide_password=True)


def newest_version() -> str:
    """The version of the schema that this code needs: the number of the last migration."""
    return max(path.name.partition("_")[0] for path in MIGRATIONS.glob("[0-9]*.py"))


def _serves(connection: Connection, current: str | None) -> bool:
    return current == newest_version() or served_versions.serves(connection, current, newest_version())


def _schema_version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return version


def _engine(
    url: str, lock_timeout: float, on_connect: OnConnect, *, prepare: bool
) -> tuple[Engine, SQLiteWrites | None]:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError("MAILER_DATABASE_URL: not a database URL") from error
    if parsed.get_backend_name() == "postgresql":
        return engine_at(parsed, prepare=prepare, **_ENGINE), None
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise ConfigError("MAILER_DATABASE_URL: neither sqlite:///FILE nor postgresql://…")
    Path(parsed.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    writes = SQLiteWrites(Path(parsed.database), lock_timeout)
    engine = create_engine(parsed, connect_args={"timeout": lock_timeout, "check_same_thread": False}, **_ENGINE)
    event.listen(engine, "connect", partial(_prepare_sqlite, on_connect))
    return engine, writes


def _prepare_sqlite(on_connect: OnConnect, connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # this module begins transactions; the driver must not begin any by itself
    on_connect(connection)
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "cache_size=-4000"):
        connection.execute(f"PRAGMA {pragma}").close()
