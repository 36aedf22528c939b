"""A database's clock that is set back: noticed, logged, and what waits for a time is set back with it."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from sqlalchemy import insert, select, update

from app import build
from mailer.campaigns import control
from mailer.campaigns.invariants import examine
from mailer.settings import Settings
from mailer.storage.clock_watch import ClockWatch
from mailer.storage.database import Database
from mailer.storage.models import Batch, Campaign, CircuitBreaker, ClockMark, RateLimit, ScheduledTask
from mailer.storage.scheduled_tasks import SharedTask
from tests.harness import MINUTE, Harness
from tests.killable import attempts
from transports.base import About, Status

HOUR = 60 * MINUTE


@pytest.fixture
def road(db: Database, add_users: Callable[..., list[str]]) -> Harness:
    """A planned campaign of five."""
    add_users(db, 5)
    made = Harness(db)
    made.accept()
    made.plan()
    return made


@pytest.fixture
def watch(road: Harness) -> ClockWatch:
    """One that has looked once."""
    made = ClockWatch(road.db, road.lease)
    assert made.look() == 0
    return made


def test_deferred_is_tried_when_it_would_have_been(road: Harness, watch: ClockWatch) -> None:
    road.store.answer("user00002@example.com", Status.DEFERRED)
    road.run()
    road.now -= HOUR
    assert watch.look() == pytest.approx(HOUR, abs=1000)
    road.now += MINUTE // 2
    road.run()
    assert road.counts() == {"sent": 4, "deferred": 1}
    road.now += MINUTE
    road.run()
    assert (road.progress().state, road.counts()) == ("completed", {"sent": 5})
    assert examine(road.db) == []


def test_deferred_of_a_failed_campaign_wait_no_longer_once_it_is_revived(road: Harness, watch: ClockWatch) -> None:
    road.store.answer(None, *[Status.DEFERRED] * 5)
    road.run()
    with road.db.write() as connection:
        connection.execute(update(Campaign).values(state="failed"))
    watch.look()
    road.now -= HOUR
    assert watch.look() > 0
    control.retry_failed(road.db, road.campaign_id)
    road.now += 2 * MINUTE
    road.run()
    assert road.counts() == {"sent": 5}


def test_waiting_batch_is_run_at_once(road: Harness, watch: ClockWatch) -> None:
    road.now -= HOUR
    road.run()
    assert road.arrived() == []
    watch.look()
    road.run()
    assert road.counts() == {"sent": 5}


def test_lease_of_a_dead_worker_ends_and_of_a_living_one_lasts(road: Harness, watch: ClockWatch) -> None:
    claim = road.outbox.claim()
    assert claim is not None
    road.now -= HOUR
    road.outbox.extend(claim)  # the worker lives, and has renewed it by the new time
    watch.look()
    assert road.outbox.claim() is None
    road.now += road.lease - 1
    assert road.outbox.claim() is None
    road.now += 1
    assert road.outbox.claim() is not None


def test_lease_from_before_the_step_is_cut_short(road: Harness, watch: ClockWatch) -> None:
    assert road.outbox.claim() is not None
    road.now -= HOUR
    watch.look()
    road.now += road.lease
    assert road.outbox.claim() is not None


def test_breaker_and_resting_campaign_are_tried_when_they_would_have_been(road: Harness, watch: ClockWatch) -> None:
    road.store.answer(None, Status.REFUSED, about=About.SENDER)
    road.run()
    resting = road.campaign_id
    road.store.answer(None, Status.DEFERRED, about=About.RATE)
    road.now += 1
    road.accept()
    road.run()
    road.now -= HOUR
    watch.look()
    with road.db.read() as connection:
        blocked = connection.scalar(select(CircuitBreaker.retry_at))
        due = connection.scalar(select(Campaign.due_at).where(Campaign.id == resting))
    assert (blocked, due) == (pytest.approx(road.now + 5000, abs=1500), pytest.approx(road.now + MINUTE, abs=1500))
    road.now += 2 * MINUTE
    road.run()
    assert road.counts() == {"sent": 5}
    road.campaign_id = resting
    assert road.counts() == {"sent": 5}


def test_planner_that_died_is_replaced(db: Database, add_users) -> None:
    add_users(db, 5)
    road = Harness(db)
    watch = ClockWatch(db, road.lease)
    watch.look()
    road.accept()
    road.die_planning()
    road.now -= HOUR
    watch.look()
    road.now += road.lease
    road.run()
    assert road.counts() == {"sent": 5}


def test_tasks_and_rates_are_set_back(road: Harness, watch: ClockWatch) -> None:
    task = SharedTask(road.db, "sync", lease=road.lease, period=24 * HOUR)
    turn = task.take()
    assert turn is not None
    with road.db.write() as connection:
        task.done(connection, turn, {})
        connection.execute(insert(ScheduledTask).values(name="dead", due_at=0, fence=1, failures=0))
        connection.execute(insert(RateLimit).values(key="k", hits=10, expires_at=road.now + MINUTE))
    dead = SharedTask(road.db, "dead", lease=road.lease, period=None)
    assert dead.take() is not None
    road.now -= HOUR
    watch.look()
    record = task.record()
    assert record is not None
    assert record.due_at == pytest.approx(road.now + 24 * HOUR, abs=1000)
    road.now += road.lease
    assert dead.take() is not None
    with road.db.read() as connection:
        assert connection.scalar(select(RateLimit.expires_at)) <= road.now


def test_step_taken_while_nobody_ran_is_noticed_at_the_start(road: Harness, watch: ClockWatch) -> None:
    assert watch.look() == 0
    road.now -= HOUR
    assert ClockWatch(road.db, road.lease).look() == HOUR
    road.run()
    assert road.counts() == {"sent": 5}


def test_every_process_notices_and_one_mends_it(
    road: Harness, watch: ClockWatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    other = ClockWatch(road.db, road.lease)
    other.look()
    road.store.answer(None, *[Status.DEFERRED] * 5)
    road.run()
    road.now -= HOUR
    assert [watch.look() > 0, other.look(), watch.look(), other.look()] == [True, 0, 0, 0]
    assert [record.getMessage() for record in caplog.records] == [
        "the database's clock was set back by 3600 s: what is due was set back with it"
    ]
    road.now += 10_000
    road.run()
    assert road.counts() == {"deferred": 5}  # set back once, not twice


@pytest.mark.parametrize("step", [1000, 55_000])
def test_less_than_a_minute_changes_nothing(road: Harness, watch: ClockWatch, step: int) -> None:
    with road.db.read() as connection:
        before = connection.execute(select(Batch.due_at)).all()
    road.now -= step
    assert watch.look() == 0
    with road.db.read() as connection:
        assert connection.execute(select(Batch.due_at)).all() == before
        assert connection.execute(select(ClockMark.steps)).all() == [(0,)]


def test_step_forward_and_back_is_a_step_back(road: Harness, watch: ClockWatch) -> None:
    road.now += HOUR
    assert watch.look() == 0
    road.store.answer(None, *[Status.DEFERRED] * 5)
    road.run()
    road.now -= HOUR
    assert watch.look() == pytest.approx(HOUR, abs=1000)
    road.now += 2 * MINUTE
    road.run()
    assert road.counts() == {"sent": 5}


def test_step_that_the_record_has_not_seen_all_of_is_measured_by_the_machines_clock(
    road: Harness, watch: ClockWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mailer.storage import clock_watch

    usual = clock_watch.boot_time
    monkeypatch.setattr(clock_watch, "boot_time", lambda: usual() + 14)  # since the last look
    road.now -= 50_000
    assert watch.look() == pytest.approx(64_000, abs=1000)


def test_service_watches_the_clock(sqlite_db: Database) -> None:
    services = build(Settings(database_url=sqlite_db.url, secret_key=("k" * 40,)))
    services.engine.start()

    for _ in attempts(30):
        with sqlite_db.read() as connection:
            seen = connection.scalar(select(ClockMark.seen_at))
        if seen:
            break

    assert services.engine.stop(20)
    services.db.close()
    assert seen
