"""Processes that were seen: each engine's heartbeat, and what others read of it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select

from app import build
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import SeenWorker
from mailer.storage.workers import ALIVE, BEAT_SECONDS, FORGOTTEN, Heartbeat, Worker, workers
from tests.harness import START, Harness
from tests.killable import attempts


class Clock:
    """The database's time, which a test turns."""

    def __init__(self, db: Database) -> None:
        self.now = START
        db.clock = lambda _connection: self.now


def heartbeat(db: Database, doing: Callable[[], str] = str) -> Heartbeat:
    return Heartbeat(db, engine="local", role="worker", version="1.2.3", doing=doing)


def on_record(db: Database) -> int:
    with db.read() as connection:
        return connection.scalar(select(func.count()).select_from(SeenWorker)) or 0


def test_beat_says_who_runs_and_what_it_does(db: Database) -> None:
    clock, said = Clock(db), ["", "c1 batch 3"]
    beat = heartbeat(db, lambda: said.pop(0))
    beat.beat("w1")
    clock.now += 15_000
    beat.beat("w1")

    about = (socket.gethostname(), os.getpid(), "local", "worker", "1.2.3")
    assert workers(db) == [Worker(*about, START, START + 15_000, "c1 batch 3", True)]


def test_process_without_a_beat_is_gone_after_a_minute_and_forgotten_after_an_hour(db: Database) -> None:
    clock = Clock(db)
    heartbeat(db).beat("dead")
    clock.now += ALIVE - 1
    assert [one.alive for one in workers(db)] == [True]
    clock.now += 1
    assert [one.alive for one in workers(db)] == [False]
    heartbeat(db).beat("living")
    assert sorted(one.alive for one in workers(db)) == [False, True]
    clock.now += FORGOTTEN
    assert workers(db) == []
    heartbeat(db).beat("living")
    assert on_record(db) == 1


def test_clock_that_was_set_back_keeps_no_dead_process_alive(db: Database) -> None:
    clock = Clock(db)
    heartbeat(db).beat("dead")
    clock.now -= 30 * 60_000
    heartbeat(db).beat("living")
    assert [one.seen_at for one in workers(db)] == [clock.now]


def test_beats_end_with_the_process_and_leave_no_row(db: Database) -> None:
    stopping = threading.Event()
    thread = threading.Thread(target=heartbeat(db).run_periodically, args=(stopping,))
    thread.start()
    for _ in attempts(20):
        if workers(db):
            break
    stopping.set()
    thread.join(BEAT_SECONDS)
    assert not thread.is_alive()
    assert on_record(db) == 0


def test_database_that_fails_does_not_end_the_beats(
    sqlite_db: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mailer.storage.workers.BEAT_SECONDS", 0.01)
    with sqlite_db.write() as connection:
        connection.exec_driver_sql("ALTER TABLE workers RENAME TO away")
    stopping = threading.Event()
    thread = threading.Thread(target=heartbeat(sqlite_db).run_periodically, args=(stopping,))
    thread.start()
    for _ in attempts(20):
        if "heartbeat of the process" in caplog.text:
            break
    with sqlite_db.write() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO workers")
    for _ in attempts(20):
        if workers(sqlite_db):
            break
    stopping.set()
    thread.join(20)
    assert not thread.is_alive()


def test_every_engine_is_given_the_beats_and_names_the_batch_in_hand(
    sqlite_db: Database, add_users: Callable[..., Any], tmp_path: Any
) -> None:
    add_users(sqlite_db, 3)
    settings = Settings(database_url=sqlite_db.url, secret_key=("k" * 40,), transport="memory:")
    services = build(settings)
    harness = Harness(sqlite_db)
    harness.accept()
    harness.plan()
    seen: list[str] = []
    send = harness.transport.send

    def sending(messages: Any) -> Any:
        seen.append(harness.deliverer.in_hand())
        return send(messages)

    harness.transport.send = sending  # type: ignore[method-assign]
    harness.run()
    assert seen[0] == f"{harness.campaign_id} batch 0"
    assert harness.deliverer.in_hand() == ""

    services.engine.start()
    for _ in attempts(20):
        if workers(services.db):
            break
    (one,) = workers(services.db)
    assert (one.role, one.engine, one.alive, one.delivers) == ("worker", "local", True, True)
    assert services.engine.stop(20)
    assert workers(services.db) == []
    services.db.close()


@pytest.mark.parametrize(
    ("role", "engine", "alive", "delivers"),
    [
        ("web", "local", True, True),
        ("web", "celery", True, False),
        ("web", "external", True, False),
        ("worker", "celery", True, True),
        ("worker", "local", False, False),
    ],
)
def test_web_of_some_engines_only_accepts(role: str, engine: str, alive: bool, delivers: bool) -> None:
    assert Worker("h", 1, engine, role, "1", 1, 2, "", alive).delivers is delivers


def test_beats_are_several_in_the_time_after_which_a_process_is_gone() -> None:
    assert ALIVE / 1000 / BEAT_SECONDS >= 3
