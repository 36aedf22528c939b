"""The sync as a task of all processes, with a workspace that is a real HTTP server, on both databases."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from mailer.errors import InvalidState, WorkspaceUnavailable
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import User
from mailer.storage.periodic_task import Stopped
from mailer.storage.scheduled_tasks import TurnLost
from mailer.workspace import scheduled_sync
from mailer.workspace.scheduled_sync import SyncTask
from mailer.workspace.sync import SyncResult
from tests.fake_workspace import FakeWorkspace, member, slow_down
from tests.harness import MINUTE, START

NAMES = ["ann", "bob", "cid", "dan", "eve", "fay", "gil"]
PERIOD = 15 * MINUTE


@pytest.fixture
def fake() -> Iterator[FakeWorkspace]:
    """Seven users, of whom a page shows three."""
    with FakeWorkspace(*map(member, NAMES), cap=3) as workspace:
        yield workspace


class Machines:
    """Processes on machines that share one database; `now` is its time."""

    def __init__(self, db: Database, fake: FakeWorkspace, folder: Path) -> None:
        self.db, self.fake, self.folder = db, fake, folder
        self.now = START
        db.clock = lambda _connection: self.now
        self.stopping = threading.Event()

    def task(self, machine: str = "one", **changes: Any) -> SyncTask:
        values = {"workspace_url": self.fake.url, "workspace_user_id": "admin", "workspace_token": "secret"}
        settings = Settings(**{**values, "sync_every": PERIOD // 1000, **changes})
        return SyncTask(self.db, settings, spool=self.folder / machine / "sync.ndjson")

    def run(self, machine: str = "one", **changes: Any) -> SyncResult | None:
        return self.task(machine, **changes).run_when_due(self.stopping)

    def active(self) -> list[str]:
        with self.db.read() as connection:
            return sorted(connection.scalars(select(User.id).where(User.active)))


@pytest.fixture
def machines(db: Database, fake: FakeWorkspace, tmp_path: Path) -> Machines:
    return Machines(db, fake, tmp_path)


def test_workspace_is_read_once_a_period(machines: Machines) -> None:
    assert machines.run("one") == SyncResult(7, 0, 0, 0)
    assert (machines.run("one"), machines.run("two")) == (None, None)
    machines.now += PERIOD
    assert machines.run("two") == SyncResult(0, 0, 7, 0)
    assert machines.run("one") is None
    assert machines.fake.offsets == [0, 2, 4] * 2


def test_result_is_on_record_with_the_merge(machines: Machines) -> None:
    machines.run()
    record = machines.task("two").record()
    assert record
    assert (record.done_at, record.error, record.due_at) == (START, None, START + PERIOD)
    counted = {"created": 7, "updated": 0, "unchanged": 0, "deactivated": 0, "malformed": 0}
    nobody_left = {"ended_tokens": 0, "paused_campaigns": [], "ongoing_campaigns": [], "waiting_campaigns": []}
    assert record.result == {**counted, "erased": 0, "problems": [], **nobody_left}
    assert machines.task().trouble() is None


def test_failure_is_on_record_until_a_run_succeeds(machines: Machines) -> None:
    machines.fake.before = lambda _number: (401, b"{}", {})
    with pytest.raises(WorkspaceUnavailable):
        machines.run()
    assert machines.run() is None
    url = machines.fake.url
    assert machines.task("two").trouble() == f"failed, 1 in a row: {url} refused users.list with 401"
    machines.now += MINUTE
    machines.fake.before = lambda _number: None
    assert machines.run("two") == SyncResult(7, 0, 0, 0)
    assert machines.task().trouble() is None


def test_failure_is_logged_once_without_the_token(
    machines: Machines, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scheduled_sync, "POLL_SECONDS", 0.02)
    machines.fake.before = lambda _number: (403, b"{}", {})
    with attending(machines.task(workspace_token="hunter2"), machines.stopping):
        wait_until(lambda: machines.task().trouble())
        time.sleep(0.3)
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert lines == [f"sync failed: {machines.fake.url} refused users.list with 403"]
    assert "hunter2" not in caplog.text
    assert machines.fake.requests == 1


def test_success_is_logged_and_the_thread_lives_on(
    machines: Machines, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scheduled_sync, "POLL_SECONDS", 0.02)
    caplog.set_level(logging.INFO, logger="mailer")
    task = machines.task()
    with attending(task, machines.stopping):
        wait_until(lambda: len(machines.active()) == 7)
        machines.fake.users["hal"] = member("hal")
        machines.now += PERIOD
        wait_until(lambda: len(machines.active()) == 8)
        wait_until(lambda: len(caplog.messages) >= 2)
        assert task.trouble() is None
    assert caplog.messages[:2] == [
        "synced: 7 created, 0 updated, 0 unchanged, 0 deactivated",
        "synced: 1 created, 0 updated, 7 unchanged, 0 deactivated",
    ]


def test_defect_ends_the_thread_and_is_shown(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduled_sync, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(threading, "excepthook", lambda _arguments: None)
    task = machines.task()
    monkeypatch.setattr(task, "run_when_due", lambda _stopping: 1 // 0)
    with attending(task, machines.stopping):
        wait_until(task.trouble)
    assert task.trouble() == "its thread ended"


def test_stop_ends_a_wait_at_once_and_the_next_run_goes_on(machines: Machines) -> None:
    machines.fake.before = lambda number: slow_down(100) if number == 3 else None
    stop_when(machines, lambda: machines.fake.requests == 3)
    since = time.monotonic()
    with pytest.raises(Stopped):
        machines.run()
    assert time.monotonic() - since < 3
    assert machines.active() == []
    assert machines.task().trouble() is None
    machines.stopping.clear()
    assert machines.run() == SyncResult(7, 0, 0, 0)
    assert machines.fake.offsets == [0, 2, 4]


def test_stop_is_noticed_between_two_pages(machines: Machines) -> None:
    machines.fake.before = lambda number: machines.stopping.set() if number == 2 else None
    with pytest.raises(Stopped):
        machines.run()
    assert machines.fake.requests == 2


def test_list_that_another_machine_has_overtaken_is_not_gone_on_with(machines: Machines) -> None:
    machines.fake.before = lambda number: machines.stopping.set() if number == 2 else None
    with pytest.raises(Stopped):
        machines.run("one")
    machines.stopping.clear()
    machines.fake.users["ann"]["name"] = "Ann Lee"
    machines.now += MINUTE
    assert machines.run("two") == SyncResult(7, 0, 0, 0)
    machines.now += PERIOD
    assert machines.run("one") == SyncResult(0, 0, 7, 0)


def test_run_that_stood_still_does_not_overwrite_a_newer_one(machines: Machines) -> None:
    frozen = machines.task("one")

    def before(number: int) -> None:
        if number == 3:  # the first run stands still here, and its list still has ann
            machines.fake.before = lambda _number: None
            del machines.fake.users["ann"]
            machines.now += MINUTE
            assert machines.run("two") == SyncResult(6, 0, 0, 0)
            machines.fake.users["ann"] = member("ann")

    machines.fake.before = before
    with pytest.raises(TurnLost):
        frozen.run_when_due(machines.stopping)
    assert machines.active() == sorted(set(NAMES) - {"ann"})
    assert machines.task().trouble() is None


def test_sync_by_hand_is_refused_while_another_runs(machines: Machines) -> None:
    refused: list[str] = []

    def before(number: int) -> None:
        if number == 2:
            for machine in ("one", "two"):
                with pytest.raises(InvalidState, match="Another sync is running") as caught:
                    machines.task(machine).run(machines.stopping)
                refused.append(str(caught.value))

    machines.fake.before = before
    assert machines.run() == SyncResult(7, 0, 0, 0)
    assert len(refused) == 2


def test_sync_by_hand_is_the_periods_run(machines: Machines) -> None:
    machines.run()
    machines.now += PERIOD - MINUTE
    assert machines.task("two").run(machines.stopping) == SyncResult(0, 0, 7, 0)
    machines.now += MINUTE
    assert machines.run() is None


def test_another_workspace_has_a_turn_of_its_own(machines: Machines) -> None:
    with FakeWorkspace(member("zed")) as other:
        machines.run()
        assert machines.run("two", workspace_url=other.url) == SyncResult(1, 0, 0, 0)
    assert machines.active() == sorted([*NAMES, "zed"])


def test_spool_in_use_by_a_frozen_process_is_a_failure_to_be_seen(machines: Machines) -> None:
    def before(number: int) -> None:
        if number == 2:
            machines.now += MINUTE
            with pytest.raises(InvalidState, match="on this machine"):
                machines.run("one")

    machines.fake.before = before
    with pytest.raises(TurnLost):
        machines.run("one")
    assert "on this machine" in str(machines.task().trouble())


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.02)


def stop_when(machines: Machines, condition: Callable[[], bool]) -> None:
    def watch() -> None:
        wait_until(condition)
        time.sleep(0.5)  # it has its answer and waits
        machines.stopping.set()

    threading.Thread(target=watch).start()


class attending:  # noqa: N801 - reads as a verb
    """The engine's thread, while the block runs."""

    def __init__(self, task: SyncTask, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._thread = threading.Thread(target=task.run_periodically, args=(stopping,))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(20)
        assert not self._thread.is_alive()
