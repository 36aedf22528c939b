"""The sync inside the service: gunicorn with several processes, killed and stopped, over a real workspace server."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import insert, select

from mailer.callers.tokens import Tokens
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import User
from mailer.workspace.scheduled_sync import SyncTask
from tests.conftest import user_row
from tests.fake_workspace import FakeWorkspace, member, slow_down
from tests.killable import WebServer, attempts, settings_for
from tests.service import END_STATES, PAYLOAD

pytestmark = pytest.mark.slow

NAMES = [f"user{number:02d}" for number in range(9)]
PAGES = [0, 2, 4, 6]  # a page shows three, the first of which is the last one of the page before
PERIOD = 3  # seconds


class Deployment:
    """A database, a workspace, and servers to start on them."""

    def __init__(self, folder: Path, db: Database, fake: FakeWorkspace) -> None:
        self.folder, self.db, self.fake = folder, db, fake
        workspace = {"workspace_url": fake.url, "workspace_user_id": "admin", "workspace_token": "secret"}
        usual = {"database_url": db.url, "sync_every": PERIOD, "lease_seconds": 3, "rate_limit": ""}
        self.settings: Settings = settings_for(folder, f"file:{folder}/outbox", **workspace, **usual)

    @contextmanager
    def served(self, workers: int = 3) -> Iterator[WebServer]:
        with WebServer(self.settings, workers=workers, folder=self.folder) as server:
            yield server

    def active(self) -> list[str]:
        with self.db.read() as connection:
            return sorted(connection.scalars(select(User.id).where(User.active)))

    def record(self) -> Any:
        return SyncTask(self.db, self.settings).record()

    def readings(self) -> int:
        """How often the workspace's list was begun."""
        return self.fake.offsets.count(0)


@pytest.fixture
def deployment(tmp_path: Path, db: Database) -> Iterator[Deployment]:
    with FakeWorkspace(*map(member, NAMES), cap=3) as fake:
        yield Deployment(tmp_path, db, fake)


def wait_until(condition: Callable[[], object], seconds: float = 30) -> None:
    for _ in attempts(seconds, pause=0.05):
        if condition():
            return
    raise AssertionError("waited in vain")


def readiness(server: WebServer) -> tuple[int, dict[str, str]]:
    answer = requests.get(f"{server.url}/readyz", timeout=10)
    return answer.status_code, answer.json()


@pytest.mark.ci
def test_workspace_is_read_once_a_period_by_all_processes_together(deployment: Deployment) -> None:
    with deployment.served(workers=3) as server:
        wait_until(lambda: len(deployment.active()) == len(NAMES))
        began = time.monotonic()
        del deployment.fake.users["user00"]
        time.sleep(2.7 * PERIOD)
        assert deployment.active() == NAMES[1:]
        periods = (time.monotonic() - began) / PERIOD
        assert periods - 1 <= deployment.readings() - 1 <= periods + 1
        assert len(deployment.fake.offsets) <= 4 * deployment.readings()
        assert readiness(server)[1]["sync"] == "ok"


def test_killed_in_the_middle_it_is_gone_on_with_by_another_process(deployment: Deployment) -> None:
    deployment.fake.before = lambda number: slow_down(100) if number == 3 else None
    with deployment.served(workers=2) as server:
        wait_until(lambda: deployment.fake.requests == 3)
        assert deployment.active() == []
        for pid in server.workers():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: deployment.active() == NAMES)
    assert deployment.fake.offsets[:4] == PAGES


def test_stop_does_not_wait_for_a_workspace_that_says_slow_down(deployment: Deployment) -> None:
    deployment.fake.before = lambda number: slow_down(100) if number == 3 else None
    with deployment.served(workers=2) as server:
        wait_until(lambda: deployment.fake.requests == 3)
        began = time.monotonic()
        server.process.terminate()
        server.process.join(20)
        assert server.process.exitcode == 0
        assert time.monotonic() - began < 10
    record = deployment.record()
    assert (record.running_since, record.error) == (None, None)
    with deployment.served(workers=2):
        wait_until(lambda: deployment.active() == NAMES)
    assert deployment.fake.offsets[:4] == PAGES


def test_failing_workspace_is_shown_and_mail_goes_on(deployment: Deployment) -> None:
    with deployment.db.write() as connection:
        connection.execute(insert(User), [user_row(1, id="local")])
    headers = {"X-User-Id": "local", "X-Auth-Token": Tokens(deployment.db).create("local", ("send-mail",))}
    deployment.fake.before = lambda _number: (403, b"{}", {})
    with deployment.served(workers=2) as server:
        wait_until(deployment.record)
        wait_until(lambda: deployment.record().error)
        status, parts = readiness(server)
        assert (status, parts["status"], parts["engine"]) == (200, "ready", "ok")
        assert parts["sync"].endswith("refused users.list with 403")
        assert campaign(server, headers)["sent"] == 1
        deployment.fake.before = lambda _number: None
        wait_until(lambda: len(deployment.active()) == 1 + len(NAMES))
        assert readiness(server)[1]["sync"] == "ok"


def test_mail_goes_on_while_the_workspace_is_read(deployment: Deployment) -> None:
    with deployment.db.write() as connection:
        connection.execute(insert(User), [user_row(1, id="local")])
    headers = {"X-User-Id": "local", "X-Auth-Token": Tokens(deployment.db).create("local", ("send-mail",))}
    deployment.fake.before = lambda number: slow_down(100) if number >= 2 else None
    with deployment.served(workers=1) as server:
        wait_until(lambda: deployment.fake.requests == 2)
        assert campaign(server, headers)["sent"] == 1
        assert deployment.record().running_since
        status, parts = readiness(server)
        assert (status, [parts[name] for name in ("database", "transport", "engine", "sync")]) == (200, ["ok"] * 4)


def campaign(server: WebServer, headers: dict[str, str]) -> dict[str, Any]:
    posted = requests.post(f"{server.url}/api/v1/mailer", json=PAYLOAD, headers=headers, timeout=10)
    assert posted.status_code == 200, posted.text
    for _ in attempts(30, pause=0.05):
        found = requests.get(server.url + posted.headers["Location"], headers=headers, timeout=10).json()["campaign"]
        if found["state"] in END_STATES:
            return dict(found)
    raise AssertionError(f"not finished: {found}")
