"""Idle workers are told of new work by PostgreSQL, and look less often then; what makes work due announces it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import text, update

from app import build
from mailer.campaigns import control
from mailer.campaigns.accept import accept
from mailer.campaigns.draft import Draft
from mailer.campaigns.progress import progress
from mailer.engines import EngineParts, Worker, engine_class
from mailer.errors import ConfigError
from mailer.selector import database_at
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import Campaign, CampaignState
from mailer.storage.notifications import CHANNEL, Listener, announce_work, listener_for
from tests.databases import PostgreSQL
from tests.harness import Harness
from tests.killable import attempts

DRAFT = Draft("", "news@example.com", "Hi [fname]", "Hello [unsubscribe]", {}, dry_run=False)
LISTENING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'"

AddUsers = Callable[..., list[str]]


@pytest.fixture
def pg_db(postgresql_url: str) -> Iterator[Database]:
    with closing(database_at(postgresql_url)) as database:
        yield database


class Heard:
    """What a session hears on the channel."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
        self.connection.execute(f"LISTEN {CHANNEL}")

    def count(self) -> int:
        """How many announcements came since it was last asked."""
        self.connection.execute("SELECT 1")  # brings what the server has sent before
        heard = list(self.connection.notifies(timeout=0))
        assert {one.payload for one in heard} <= {""}
        return len(heard)

    def close(self) -> None:
        """Close the session."""
        self.connection.close()


@pytest.mark.slow
def test_what_makes_work_due_announces_it_and_a_checkpoint_does_not(pg_db: Database, add_users: AddUsers) -> None:
    add_users(pg_db, 25)
    harness = Harness(pg_db)
    with closing(Heard(pg_db.url)) as heard:
        harness.accept()
        assert heard.count() == 1
        harness.plan()
        assert heard.count() == 1
        control.pause(pg_db, harness.campaign_id)
        assert heard.count() == 0
        control.resume(pg_db, harness.campaign_id)
        assert heard.count() == 1
        harness.run()  # three batches, nine checkpoints
        assert harness.counts() == {"sent": 25}
        assert heard.count() == 0
        with pg_db.write() as connection:
            connection.execute(update(Campaign).values(state=CampaignState.FAILED))
        control.retry_failed(pg_db, harness.campaign_id)
        assert heard.count() == 1


@pytest.mark.slow
def test_campaign_that_rested_and_goes_on_is_announced(pg_db: Database, add_users: AddUsers) -> None:
    add_users(pg_db, 5)
    harness = Harness(pg_db)
    harness.accept()
    harness.plan()
    with pg_db.write() as connection:
        connection.execute(update(Campaign).values(state=CampaignState.RESTING, due_at=harness.now))
    with closing(Heard(pg_db.url)) as heard:
        harness.run()
        assert heard.count() == 1


@pytest.mark.slow
def test_work_that_is_rolled_back_is_not_announced(pg_db: Database) -> None:
    def fail() -> None:
        with pg_db.write() as connection:
            announce_work(connection)
            raise LookupError

    with closing(Heard(pg_db.url)) as heard:
        with pytest.raises(LookupError):
            fail()
        assert heard.count() == 0


def test_announcing_on_sqlite_does_nothing(sqlite_db: Database) -> None:
    with sqlite_db.write() as connection:
        announce_work(connection)
    assert listener_for(sqlite_db) is None


@pytest.mark.parametrize(
    ("database", "url"), [("sqlite:///m.db", "postgresql://x/y"), ("postgresql://x/y", "redis://x/y")]
)
def test_address_that_cannot_be_listened_at_is_refused(database: str, url: str, tmp_path: Any) -> None:
    with (
        closing(database_at(database.replace("m.db", f"{tmp_path}/m.db"))) as db,
        pytest.raises(ConfigError, match="MAILER_LISTEN_URL"),
    ):
        listener_for(db, url)


@contextmanager
def listening(db: Database, url: str = "") -> Iterator[tuple[Listener, threading.Semaphore]]:
    """A listener that runs, and a semaphore with one for each time that it was told of work."""
    listener = listener_for(db, url)
    assert listener is not None
    told, stopping = threading.Semaphore(0), threading.Event()
    listener.on_work = told.release
    thread = threading.Thread(target=listener.run, args=(stopping,))
    thread.start()
    try:
        yield listener, told
    finally:
        stopping.set()
        thread.join(5)
        assert not thread.is_alive()
        assert not listener.hears()


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    for _ in attempts(seconds, pause=0.02):
        if condition():
            return
    raise AssertionError(f"not within {seconds} s")


@pytest.mark.slow
def test_lost_connection_is_made_anew(pg_db: Database, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with listening(pg_db) as (listener, told):
        until(listener.hears)
        with pg_db.write() as connection:
            (pid,) = connection.scalars(text(LISTENING))
            connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        until(lambda: "told of new work again" in caplog.text)
        while told.acquire(blocking=False):
            pass
        with pg_db.write() as connection:
            announce_work(connection)
        assert told.acquire(timeout=20)
    words = [record.getMessage() for record in caplog.records if record.name.endswith("notifications")]
    assert [line.partition(",")[0] for line in words] == ["not told of new work", "told of new work again"]


@pytest.mark.slow
def test_another_database_is_not_taken_for_the_right_one(
    pg_db: Database, postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mailer.storage.notifications.TRIAL_SECONDS", 0.2)
    with postgresql.migrated() as other, listening(pg_db, other) as (listener, told):
        until(lambda: "MAILER_LISTEN_URL leads to another database" in caplog.text)
        assert not listener.hears()
        assert not told.acquire(blocking=False)


@pytest.mark.slow
def test_idle_process_begins_at_once_with_what_another_accepts(
    pg_db: Database, add_users: AddUsers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailer.engines.worker.POLL_SECONDS", 100.0)  # it finds nothing in time by looking
    monkeypatch.setattr("mailer.engines.worker.LONGEST_POLL_SECONDS", 100.0)
    add_users(pg_db, 5)
    services = build(Settings(pg_db.url, secret_key=("k" * 40,), transport="memory:", workers=2))
    services.engine.start()
    try:
        until(lambda: pg_db_listens(pg_db))
        campaign_id = accept(pg_db, "user00000", DRAFT).campaign_id
        until(lambda: progress(pg_db, campaign_id).state == "completed")
    finally:
        assert services.engine.stop(20)
        services.db.close()


def pg_db_listens(db: Database) -> bool:
    with db.read() as connection:
        return connection.execute(text(LISTENING)).first() is not None


class Idle:
    """A planner and deliverer with nothing to do, which count the looks of each thread."""

    def __init__(self) -> None:
        self.looks: dict[str, int] = {}

    def plan_next(self) -> bool:
        """Nothing is due."""
        name = threading.current_thread().name
        self.looks[name] = self.looks.get(name, 0) + 1
        return False

    def run_next(self, *_when: Callable[[], bool]) -> bool:
        """Nothing is due."""
        return False

    def heartbeat(self) -> None:
        """Nothing is held."""


def parts(idle: Any, *, announced: bool, workers: int = 1) -> EngineParts:
    return EngineParts(idle, idle, Settings(workers=workers), db=idle, announced=lambda: announced)


def test_wake_reaches_every_thread_that_waits() -> None:
    idle = Idle()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mailer.engines.worker.POLL_SECONDS", 100.0)
        patch.setattr("mailer.engines.worker.LONGEST_POLL_SECONDS", 100.0)
        engine = engine_class("local")(parts(idle, announced=True, workers=8))
        engine.start()
        try:
            for _ in range(20):
                until(lambda: len(idle.looks) == 8)
                before = dict(idle.looks)
                engine.wake()
                until(lambda before=before: all(idle.looks[name] > before[name] for name in before), 10)  # type: ignore[misc]
        finally:
            assert engine.stop(10)


class Waits:
    """In place of an event that is waited for: keeps how long, and says when it is set."""

    def __init__(self, *answers: bool) -> None:
        self.seconds: list[float] = []
        self.answers = list(answers)
        self.over = threading.Event()

    def clear(self) -> None:
        """Nothing to clear."""

    def wait(self, seconds: float) -> bool:
        """The next answer; the last one ends the worker."""
        self.seconds.append(seconds)
        if len(self.answers) == 1:
            self.over.set()
        return self.answers.pop(0)


@pytest.mark.parametrize(
    ("announced", "expected"),
    [(True, [0.5, 1, 2, 4, 5, 5, 0.5, 1]), (False, [0.5] * 8)],
    ids=["announced", "not announced"],
)
def test_idle_worker_looks_less_often_where_work_is_announced(announced: bool, expected: list[float]) -> None:
    work = Waits(*[False] * 5, True, False, False)
    Worker(parts(Idle(), announced=announced)).run(work.over, work)  # type: ignore[arg-type]
    assert work.seconds == expected
