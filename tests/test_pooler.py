"""Behind pgbouncer in transaction mode, with so few sessions that each transaction may run in another one."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner
from sqlalchemy import func, insert, select, text, update

from mailer.campaigns.hold import hold, release
from mailer.campaigns.retention import DAY, TASK
from mailer.cli import main
from mailer.directory.imports import import_users
from mailer.selector import database_at
from mailer.storage.database import Database
from mailer.storage.models import Campaign, Delivery, ScheduledTask, User
from mailer.storage.workers import workers
from mailer.workspace.client import Workspace
from mailer.workspace.sync import sync_users
from tests.conftest import user_row
from tests.databases import PostgreSQL, migrated_sqlite
from tests.fake_workspace import FakeWorkspace, member
from tests.killable import attempts
from tests.postgresql_servers import Pooler, pgbouncer
from tests.service import Service
from tests.test_end_to_end import write_users

pytestmark = pytest.mark.slow

SESSIONS = 2


@pytest.fixture(scope="module")
def pooler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pooler]:
    with pgbouncer(tmp_path_factory.mktemp("pgbouncer"), SESSIONS) as made:
        yield made


@pytest.fixture
def url(pooler: Pooler, postgresql: PostgreSQL) -> Iterator[str]:
    """A migrated database by way of the pooler, whose sessions keep nothing that a transaction left in them."""
    with postgresql.migrated() as direct:
        yield pooler.url(direct)
        assert pooler.sessions(direct) == []


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    with closing(database_at(url, prepare=False)) as database:
        yield database


def test_sessions_are_shared(db: Database, pooler: Pooler) -> None:
    with ExitStack() as stack:
        connections = [stack.enter_context(db.engine.connect()) for _ in range(8)]
        seen = set()
        for connection in connections:
            with connection.begin():
                seen.add(connection.scalar(text("SELECT pg_backend_pid()")))
    assert len(seen) <= SESSIONS < len(connections)


def test_what_a_transaction_sets_ends_with_it(db: Database) -> None:
    for _ in range(10):  # often enough for the driver to prepare what it may
        with db.read(limit=1.5) as connection:
            assert connection.scalar(text("SHOW jit")) == "off"
            assert connection.scalar(text("SHOW statement_timeout")) == "1500ms"
    with db.read() as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == "0"


def test_empty_database_is_migrated_by_processes_at_once(pooler: Pooler, postgresql: PostgreSQL) -> None:
    code = "import sys; from mailer.selector import database_at; database_at(sys.argv[1], prepare=False).migrate()"
    with postgresql.empty() as direct:
        started = [subprocess.Popen([sys.executable, "-c", code, pooler.url(direct)]) for _ in range(2)]
        assert [process.wait(60) for process in started] == [0, 0]
        assert pooler.sessions(direct) == []


def test_users_are_imported_and_a_workspace_is_taken_over(db: Database, tmp_path: Path) -> None:
    write_users(tmp_path / "users.ndjson", 1000)
    for expected in ((1000, 0), (0, 0)):  # the second time finds every one as they are
        result = import_users(db, tmp_path / "users.ndjson")
        assert (result.created, result.updated) == expected
    people = map(member, ("ann", "bob", "cid"))
    with FakeWorkspace(*people, cap=2) as fake, closing(Workspace(fake.url, "admin", "secret")) as workspace:
        for _ in range(2):
            sync_users(db, workspace, tmp_path / "sync.ndjson")
    with db.read() as connection:
        assert connection.scalar(select(func.count()).select_from(User)) == 1003


def test_everything_is_copied(url: str, tmp_path: Path) -> None:
    with closing(database_at(migrated_sqlite(tmp_path / "mailer.db"))) as source, source.write() as connection:
        connection.execute(insert(User.__table__), [user_row(1)])
    environment = {"MAILER_DATABASE_URL": source.url, "MAILER_STATE_DIR": str(tmp_path)}

    done = CliRunner(env=environment).invoke(main, ["database", "copy", "--to", url])

    assert (done.exit_code, "users: 1" in done.stdout.splitlines()) == (0, True), done.output


def test_campaigns_are_accepted_planned_and_delivered(url: str, pooler: Pooler, tmp_path: Path) -> None:
    settings = {"transport": f"file:{tmp_path}/mail", "database_prepare": False}
    settings |= {"batch_size": 20, "checkpoint": 5, "rate_limit": "", "database_url": url}
    with Service(tmp_path, workers=2, **settings) as service:
        add(service.db, 100)
        headers = service.headers("user00000")
        posted = [service.post(headers, subject=f"News {number}") for number in range(2)]
        assert [service.finish(headers, one)["sent"] for one in posted] == [100, 100]
        looked = requests.post(
            f"{service.url}/api/v1/mailer/audience", json={"query": "{}"}, headers=headers, timeout=30
        )
        assert looked.json()["count"] == 100, looked.text
        for _ in attempts(10, pause=0.1):
            if "there is a pooler on the way" in service.output.read_text():
                break
    assert len(list((tmp_path / "mail").glob("*.eml"))) == 200
    logged = service.output.read_text()
    assert "trouble" not in logged
    assert "there is a pooler on the way" in logged


def test_what_processes_share_is_shared_and_what_is_old_is_forgotten(url: str, tmp_path: Path) -> None:
    """Rates, those of domains, a hold, processes seen, retention: each is a row that a lock or a lease keeps."""
    settings = {"transport": f"file:{tmp_path}/mail?rate=500/second", "domain_rates": "example.com=20/second"}
    settings |= {"retention": "1d", "database_prepare": False, "database_url": url, "batch_size": 40, "rate_limit": ""}
    with Service(tmp_path, workers=2, **settings) as service:
        add(service.db, 100)
        headers = service.headers("user00000")
        hold(service.db, "wait")
        began = time.monotonic()
        posted = service.post(headers)
        release(service.db)
        assert service.finish(headers, posted)["sent"] == 100
        assert time.monotonic() - began > 4.4  # at the domain's rate, but for the first half second
        assert [one.role for one in workers(service.db)] == ["web", "web"]
        with service.db.write() as connection:
            connection.execute(update(Campaign).values(finished_at=Campaign.finished_at - 2 * DAY))
        for _ in attempts(30, pause=1):
            with service.db.write() as connection:  # again, since its first run, at the start, may end only now
                connection.execute(update(ScheduledTask).where(ScheduledTask.name == TASK).values(due_at=0))
            with service.db.read() as connection:
                kept = connection.scalar(select(func.count()).where(Delivery.address.is_not(None)))
                if not kept and connection.scalar(select(Campaign.body)) == "":
                    break
        assert (kept, "failed" in service.output.read_text()) == (0, False)


def add(db: Database, count: int) -> None:
    with db.write() as connection:
        connection.execute(insert(User), [user_row(number) for number in range(count)])
