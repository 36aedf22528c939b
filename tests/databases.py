"""Migrated databases of both kinds, without migrating for each test.

Each process of the suite migrates one of each kind at first use: a SQLite file, which is copied, and a PostgreSQL
template. Creating and dropping a PostgreSQL database takes about a second, most of it waiting for the disk, so the
copies of the template are emptied after a test and lent to the next. Processes side by side share nothing.

What does not depend on the kind runs on SQLite, which is faster, and with TEST_DATABASE=postgresql on PostgreSQL.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Executable

from mailer.selector import database_at
from mailer.storage.database import Database
from mailer.storage.models import Base

POSTGRESQL = os.environ.get("TEST_POSTGRESQL", "postgresql+psycopg://root@127.0.0.1/test")
ELSEWHERE = os.environ.get("TEST_DATABASE") == "postgresql"  # whether what usually runs on SQLite does not
KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]  # the parameters of a fixture for both

_SCHEMA = """
    SELECT string_agg(relname || ' ' || relnatts, ',' ORDER BY relname) || (SELECT version_num FROM alembic_version)
    FROM pg_class WHERE relnamespace = 'public'::regnamespace
"""
_EMPTY = "; ".join(f"DELETE FROM {table.name}" for table in reversed(Base.metadata.sorted_tables) if not table.info)
_LARGE = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND pg_relation_size(oid) > 1000000"
_END_ALL = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s"


@cache
def _migrated_sqlite() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mailer.db"
        with closing(database_at(f"sqlite:///{path}")) as db:
            db.migrate()
        return path.read_bytes()


class CompiledStatements(dict[Any, Any]):
    """SQLAlchemy's cache of compiled statements, for all engines of one dialect instead of one engine.

    Each test opens databases of its own, and compiling the same statements for each would take a fifth of its time.
    """

    def __getitem__(self, key: tuple[Any, ...]) -> Any:
        return super().__getitem__(key[1:])  # the first is the engine's own dialect object

    def __setitem__(self, key: tuple[Any, ...], compiled: Any) -> None:
        super().__setitem__(key[1:], compiled)

    def get(self, key: tuple[Any, ...], default: Any = None) -> Any:
        return super().get(key[1:], default)


def compile_once() -> None:
    """Let all databases that are opened in this process share their compiled statements."""
    caches: defaultdict[str, CompiledStatements] = defaultdict(CompiledStatements)
    make = Database.__init__

    def make_sharing(self: Database, *args: Any, **options: Any) -> None:
        make(self, *args, **options)
        self.engine.update_execution_options(compiled_cache=caches[self.engine.dialect.name])

    Database.__init__ = make_sharing  # type: ignore[method-assign]


def migrated_sqlite(path: Path) -> str:
    """Put a migrated database at `path` unless one is there; returns its address."""
    if not path.exists():
        path.write_bytes(_migrated_sqlite())
    return f"sqlite:///{path}"


def any_database(path: Path) -> str:
    """The address of a migrated database for what does not depend on the kind; the same one for the same `path`."""
    return SERVER.lent_for(path) if ELSEWHERE else migrated_sqlite(path)


def sqlite_work(connection: Connection, query: Executable) -> int:
    """How many hundreds of steps SQLite's machine takes for `query`: its work, whatever else the computer does."""
    hundreds = 0

    def count() -> None:
        nonlocal hundreds
        hundreds += 1

    driver: Any = connection.connection.driver_connection
    driver.set_progress_handler(count, 100)
    connection.execute(query).all()
    driver.set_progress_handler(None, 0)
    return hundreds


class PostgreSQL:
    """The PostgreSQL databases of this process of the suite; asking for one skips the test where no server answers."""

    def __init__(self) -> None:
        self._made: set[str] = set()
        self._free: list[str] = []
        self._template = self._schema = ""
        self._lent: dict[Path, tuple[str, ExitStack]] = {}

    @contextmanager
    def empty(self) -> Iterator[str]:
        """The address of a database without tables, dropped afterwards."""
        name = self._create()
        try:
            yield address(name)
        finally:
            self._drop(name)

    @contextmanager
    def migrated(self) -> Iterator[str]:
        """The address of a migrated database without rows, which nobody else uses at the same time."""
        name = self._free.pop() if self._free else self._copy()
        try:
            yield address(name)
        finally:
            if self._emptied(name):
                self._free.append(name)
            else:
                self._drop(name)

    def lent_for(self, path: Path) -> str:
        """The address of a migrated database that stays lent until `taking_back` ends."""
        if path not in self._lent:
            stack = ExitStack()
            self._lent[path] = (stack.enter_context(self.migrated()), stack)
        return self._lent[path][0]

    @contextmanager
    def taking_back(self) -> Iterator[None]:
        """Take back in the end what was lent for a path meanwhile."""
        before = set(self._lent)
        yield
        for path in self._lent.keys() - before:
            self._lent.pop(path)[1].close()

    def close(self) -> None:
        """Drop all."""
        for name in list(self._made):
            self._drop(name)

    def _copy(self) -> str:
        if not self._template:
            self._template = self._create()
            with closing(database_at(address(self._template))) as db:
                db.migrate()
            with _connect(address(self._template)) as connection:
                self._schema = _schema(connection)
        name = self._create(self._template)
        _administer(f"ALTER DATABASE {name} SET synchronous_commit = off")  # no test takes the server's power away
        return name

    def _create(self, template: str = "template1") -> str:
        name = f"mailer_test_{secrets.token_hex(6)}"
        _administer(f"CREATE DATABASE {name} TEMPLATE {template}")
        self._made.add(name)
        return name

    def _drop(self, name: str) -> None:
        _administer(f"DROP DATABASE {name} WITH (FORCE)")
        self._made.remove(name)

    def _emptied(self, name: str) -> bool:
        """Whether it is as the template again; not if a test has changed more than rows."""
        _administer(_END_ALL, name)
        with _connect(address(name)) as connection:
            if _schema(connection) != self._schema:
                return False
            if large := [table for (table,) in connection.execute(_LARGE) if table in Base.metadata.tables]:
                connection.execute(f"TRUNCATE {', '.join(large)} CASCADE")  # deleted rows would slow the next test
            connection.execute(_EMPTY)
        return True


SERVER = PostgreSQL()


def address(name: str) -> str:
    """Of the database of that name, on the server that tests use."""
    return f"{POSTGRESQL.rpartition('/')[0]}/{name}"


def _schema(connection: psycopg.Connection) -> str:
    return connection.execute(_SCHEMA).fetchone()[0]


def _administer(statement: str, *values: str) -> None:
    try:
        connection = _connect(POSTGRESQL)
    except psycopg.OperationalError:
        pytest.skip("no PostgreSQL answers at TEST_POSTGRESQL")
    with connection:
        connection.execute(statement, values or None)


def _connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
