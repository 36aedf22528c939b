"""Migrations and transactions, on both databases."""

import subprocess
import sys
import threading
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import delete, insert, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.schema import SchemaItem

from mailer.errors import ConfigError
from mailer.selector import database_at
from mailer.storage.database import Database, newest_version
from mailer.storage.models import Base, RateLimit, ServedVersions
from mailer.storage.postgresql import connect


@pytest.mark.filterwarnings("ignore:.*expression-based index")  # which cannot be compared on SQLite
def test_migrated_schema_is_the_models(db: Database) -> None:
    def is_here(known: SchemaItem, *_: object) -> bool:
        return known.info.get("dialect") in (None, db.engine.dialect.name)

    with db.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_object": is_here})
        assert compare_metadata(context, Base.metadata) == []


def test_migrating_twice_changes_nothing(db: Database) -> None:
    with db.write() as connection:
        connection.execute(insert(RateLimit).values(key="a", hits=1, expires_at=2))
    db.migrate()
    with db.read() as connection:
        assert connection.execute(select(RateLimit.hits)).scalars().all() == [1]


@pytest.mark.slow
def test_processes_that_migrate_at_once_agree(empty_database_url: str) -> None:
    code = "import sys; from mailer.selector import database_at; database_at(sys.argv[1]).migrate()"
    started = [subprocess.Popen([sys.executable, "-c", code, empty_database_url]) for _ in range(3)]
    assert [process.wait(60) for process in started] == [0, 0, 0]


@pytest.mark.parametrize("oldest", ["9998", "9999"])
def test_newer_schema_that_serves_no_older_version_is_refused(db: Database, oldest: str) -> None:
    newer(db, oldest)
    with pytest.raises(ConfigError, match=f"the schema is at 9999 and serves versions from {oldest} on"):
        db.migrate()


def test_newer_schema_that_does_not_say_whom_it_serves_is_refused(db: Database) -> None:
    newer(db, None)
    with pytest.raises(ConfigError, match="the schema is at 9999; this version has"):
        db.migrate()


@pytest.mark.parametrize("oldest", ["0001", newest_version()])
def test_newer_schema_that_serves_this_version_stays_as_it_is(
    db: Database, oldest: str, caplog: pytest.LogCaptureFixture
) -> None:
    newer(db, oldest)
    assert not db.migrate()
    assert [record.getMessage() for record in caplog.records] == [
        f"the schema is at 9999, newer than this version's {newest_version()}, which it still serves"
    ]
    with db.read() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "9999"


def newer(db: Database, oldest: str | None) -> None:
    """Have the schema be one from a newer version, which serves versions from `oldest` on."""
    with db.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.execute(delete(ServedVersions))
        if oldest is not None:
            connection.execute(insert(ServedVersions).values(id=1, oldest=oldest))


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite://", "nonsense"])
def test_database_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="MAILER_DATABASE_URL"):
        database_at(url)


def test_database_without_the_functions_of_selectors_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="on_connect"):
        Database(f"sqlite:///{tmp_path}/mailer.db")


@pytest.mark.slow
def test_silent_host_is_noticed_as_the_url_says_or_within_a_minute(postgresql_url: str) -> None:
    for more, seconds in (("", "20"), ("?keepalives_idle=7", "7")):
        with closing(database_at(postgresql_url + more)) as db, connect(db.url) as alone, db.read() as connection:
            driver: Any = connection.connection.driver_connection
            for parameters in (driver.info.get_parameters(), alone.info.get_parameters()):
                assert parameters["keepalives_idle"] == seconds
                assert (parameters["connect_timeout"], parameters["tcp_user_timeout"]) == ("10", "50000")


def test_place_of_several_hosts_names_them_and_no_password() -> None:
    url = "postgresql://ann:hunter2@/mailer?host=a:1&host=b:2&target_session_attrs=read-write"
    with closing(database_at(url)) as db:
        assert all(name in db.place for name in ("a%3A1", "b%3A2", "read-write"))
        assert "hunter2" not in db.place


@pytest.mark.slow
@pytest.mark.parametrize("prepare", [True, False])
def test_statements_are_prepared_unless_it_is_switched_off(postgresql_url: str, prepare: bool) -> None:
    with closing(database_at(postgresql_url, prepare=prepare)) as db:
        for _ in range(20):
            with db.read() as connection:
                connection.execute(select(RateLimit.hits)).all()
        with db.read() as connection:
            kept = connection.scalars(text("SELECT statement FROM pg_prepared_statements")).all()
    assert any("rate_limits" in statement for statement in kept) == prepare


def test_clock_is_in_milliseconds_and_shared(db: Database) -> None:
    import time

    with db.read() as connection:
        assert abs(db.clock(connection) - time.time() * 1000) < 5000


def test_failed_write_leaves_nothing(db: Database) -> None:
    def fail() -> None:
        with db.write() as connection:
            connection.execute(insert(RateLimit).values(key="a", hits=1, expires_at=2))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with db.read() as connection:
        assert connection.execute(select(RateLimit.hits)).all() == []


def test_writers_wait_for_each_other(db: Database) -> None:
    with db.write() as connection:
        connection.execute(insert(RateLimit).values(key="a", hits=0, expires_at=2))

    def count() -> None:
        for _ in range(25):
            with db.write(durable=False) as connection:
                connection.execute(text("UPDATE rate_limits SET hits = hits + 1"))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with db.read() as connection:
        assert connection.execute(select(RateLimit.hits)).scalar_one() == 100


def test_connection_to_sqlite_is_used_again_unless_it_met_an_error(sqlite_db: Database) -> None:
    with sqlite_db.read() as first:
        pass
    used = []
    with suppress(RuntimeError), sqlite_db.write() as second:
        used.append(second)
        raise RuntimeError
    assert used == [first]
    with sqlite_db.write(durable=False) as third:
        assert third is not first
        third.execution_options(yield_per=5)  # is of no concern to whoever has the connection next
    with sqlite_db.read() as fourth:
        assert fourth is not third
        assert fourth.get_execution_options() == sqlite_db.engine.get_execution_options()


def test_connections_to_sqlite_go_back_to_the_pool_where_somebody_may_wait_for_one(sqlite_db: Database) -> None:
    pool = sqlite_db.engine.pool
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(sqlite_db.read())
    assert pool.overflow() <= 0  # type: ignore[attr-defined]
    assert pool.checkedout() == 0  # type: ignore[attr-defined]
    with sqlite_db.read():
        pass
    assert pool.checkedout() == 1  # type: ignore[attr-defined]
    sqlite_db.close()
    assert sqlite_db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_what_is_not_begun_by_the_database_is_refused_on_sqlite(sqlite_db: Database) -> None:
    with sqlite_db.engine.connect() as connection, pytest.raises(OperationalError, match="rolled back"):
        connection.execute(select(RateLimit.hits))
