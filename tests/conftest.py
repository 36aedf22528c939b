"""Fixtures shared by the rooms: databases of both kinds, and a directory to send to."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings
from selenium import webdriver
from sqlalchemy import create_engine, insert, text
from xdist.scheduler import LoadFileScheduling

from mailer.directory.documents import role_lines
from mailer.messages.recipient import user_digest
from mailer.selector import database_at
from mailer.storage.database import Database
from mailer.storage.models import User
from tests.databases import KINDS, POSTGRESQL, SERVER, PostgreSQL, any_database, compile_once, migrated_sqlite

CHROMIUM, CHROMEDRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")


compile_once()
settings.register_profile("suite", deadline=None)  # no test says how fast the machine must be
settings.load_profile("suite")

# files of long tests that share no service: their tests run first, wherever there is room, not one after the other
APART = {
    "tests/test_bench.py",
    "tests/test_celery.py",
    "tests/test_control.py",
    "tests/test_crash.py",
    "tests/test_docs.py",
    "tests/test_end_to_end.py",
    "tests/test_engine_contract.py",
    "tests/test_merging.py",
    "tests/test_refusals.py",
    "tests/test_resting.py",
    "tests/test_rolling_upgrade.py",
    "tests/test_state_machine.py",
    "tests/test_sync_service.py",
    "tests/test_time_limits.py",
}


class LongFilesApart(LoadFileScheduling):
    """Runs the tests of a file in one process, since they share what is started for them, but for those of `APART`."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return nodeid if file in APART else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadFileScheduling:
    """How the tests are shared out, whatever `--dist` says: in the order in which they were collected."""
    config.option.loadscopereorder = False
    return LongFilesApart(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests first: one that begins at the end would keep everybody waiting."""
    items.sort(key=lambda item: item.nodeid.partition("::")[0] not in APART)


def pytest_collection_finish() -> None:
    """Have the garbage collector pass over what lives as long as the process: all the tests, and what they import."""
    gc.collect()
    gc.freeze()


@contextmanager
def altered(url: str, setting: str) -> Iterator[None]:
    """`ALTER DATABASE … setting`, such as taking no connections or no writes; those there were are ended."""
    name, back = url.rpartition("/")[2], setting.replace("false", "true").replace("SET", "RESET").partition(" =")[0]
    admin = create_engine(POSTGRESQL, isolation_level="AUTOCOMMIT")
    end_all = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name")

    def alter(change: str) -> None:
        with admin.connect() as connection:
            connection.execute(text(f"ALTER DATABASE {name} {change}"))
            connection.execute(end_all, {"name": name})

    alter(setting)
    try:
        yield
    finally:
        alter(back)
        admin.dispose()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """PostgreSQL databases to borrow, for as long as a test or a module needs them."""
    yield SERVER
    SERVER.close()


@pytest.fixture(autouse=True)
def _lent_for_a_test(postgresql: PostgreSQL) -> Iterator[None]:
    with postgresql.taking_back():
        yield


@pytest.fixture(scope="module", params=KINDS)
def module_database_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgresql: PostgreSQL
) -> Iterator[str]:
    """The address of a migrated database for all tests of a module, which run once on each kind."""
    if request.param == "sqlite":
        yield migrated_sqlite(tmp_path_factory.mktemp("database") / "mailer.db")
    else:
        with postgresql.migrated() as url:
            yield url


@pytest.fixture
def postgresql_url(postgresql: PostgreSQL) -> Iterator[str]:
    """The address of a migrated PostgreSQL database without rows."""
    with postgresql.migrated() as url:
        yield url


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a migrated database without rows, of each kind in turn."""
    if request.param == "sqlite":
        return migrated_sqlite(tmp_path / "mailer.db")
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture(params=KINDS)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database that is not migrated, of each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/mailer.db"
    else:
        with request.getfixturevalue("postgresql").empty() as url:
            yield url


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    """A migrated database."""
    database = database_at(database_url)
    yield database
    database.close()


@pytest.fixture
def sqlite_db(tmp_path: Path) -> Iterator[Database]:
    """A migrated SQLite database, for what is true of SQLite alone."""
    database = database_at(migrated_sqlite(tmp_path / "mailer.db"))
    yield database
    database.close()


@pytest.fixture
def any_db(tmp_path: Path) -> Iterator[Database]:
    """A migrated database, for what does not depend on the kind: SQLite, unless TEST_DATABASE says otherwise."""
    database = database_at(any_database(tmp_path / "mailer.db"))
    yield database
    database.close()


@contextmanager
def chromium(folder: Path, *, javascript: bool = True) -> Iterator[webdriver.Chrome]:
    """A real browser with a profile of its own; skips the test where none is installed."""
    if not (CHROMIUM.exists() and CHROMEDRIVER.exists()):
        pytest.skip("no chromium and chromedriver in /usr/bin")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    flags = ["headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"]
    for flag in [*flags, "disable-component-update", "disable-sync", f"user-data-dir={folder / 'profile'}"]:
        options.add_argument(f"--{flag}")
    if not javascript:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(CHROMEDRIVER)))
    driver.set_window_size(390, 780)
    yield driver
    driver.quit()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """A browser that runs scripts."""
    with chromium(tmp_path) as driver:
        yield driver


def user_row(number: int, **changes: object) -> dict[str, object]:
    """A user as the directory holds it."""
    user_id = str(changes.pop("id", f"user{number:05d}"))
    row = {
        "id": user_id,
        "username": user_id,
        "name": f"Ann {number}",
        "email": f"{user_id}@example.com",
        "active": True,
    }
    row |= {"digest": user_digest(user_id)}
    row |= {"created_at": 1_420_070_400_000 + number, "roles": role_lines(["user"]), "unsubscribed_at": None, **changes}
    emails = [{"address": row["email"], "verified": True}]
    document = {"_id": user_id, "username": user_id, "name": row["name"], "emails": emails, "type": "user"}
    document |= {"roles": ["user"], "active": row["active"], "createdAt": {"$date": row["created_at"]}}
    return {**row, "document": document}


@pytest.fixture
def add_users() -> Callable[..., list[str]]:
    """Put users into a database; returns their ids."""

    def add(db: Database, count: int, **changes: object) -> list[str]:
        rows = [user_row(number, **changes) for number in range(count)]
        with db.write() as connection:
            connection.execute(insert(User), rows)
        return [str(row["id"]) for row in rows]

    return add
