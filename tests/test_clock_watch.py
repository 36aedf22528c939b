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
def harness(db: Database, add_users: Callable[..., list[str]]) -> Harness:
    """A planned campaign of five."""
    add_users(db, 5)
    made = Harness(db)
    made.accept()
    made.plan()
    return made


@pytest.fixture
def watch(harness: Harness) -> ClockWatch:
    """One that has looked once."""
    made = ClockWatch(harness.db, harness.lease)
    assert made.look() == 0
    return made


def test_deferred_is_tried_when_it_would_have_been(harness: Harness, watch: ClockWatch) -> None:
    harness.store.answer("user00002@example.com", Status.DEFERRED)
    harness.run()
    harness.now -= HOUR
    assert watch.look() == pytest.approx(HOUR, abs=1000)
    harness.now += MINUTE // 2
    harness.run()
    assert harness.counts() == {"sent": 4, "deferred": 1}
    harness.now += MINUTE
    harness.run()
    assert (harness.progress().state, harness.counts()) == ("completed", {"sent": 5})
    assert examine(harness.db) == []


def test_deferred_of_a_failed_campaign_wait_no_longer_once_it_is_revived(harness: Harness, watch: ClockWatch) -> None:
    harness.store.answer(None, *[Status.DEFERRED] * 5)
    harness.run()
    with harness.db.write() as connection:
        connection.execute(update(Campaign).values(state="failed"))
    watch.look()
    harness.now -= HOUR
    assert watch.look() > 0
    control.retry_failed(harness.db, harness.campaign_id)
    harness.now += 2 * MINUTE
    harness.run()
    assert harness.counts() == {"sent": 5}


def test_waiting_batch_is_run_at_once(harness: Harness, watch: ClockWatch) -> None:
    harness.now -= HOUR
    harness.run()
    assert harness.arrived() == []
    watch.look()
    harness.run()
    assert harness.counts() == {"sent": 5}


def test_lease_of_a_dead_worker_ends_and_of_a_living_one_lasts(harness: Harness, watch: ClockWatch) -> None:
    claim = harness.outbox.claim()
    assert claim is not None
    harness.now -= HOUR
    harness.outbox.extend(claim)  # the worker lives, and has renewed it by the new time
    watch.look()
    assert harness.outbox.claim() is None
    harness.now += harness.lease - 1
    assert harness.outbox.claim() is None
    harness.now += 1
    assert harness.outbox.claim() is not None


def test_lease_from_before_the_step_is_cut_short(harness: Harness, watch: ClockWatch) -> None:
    assert harness.outbox.claim() is not None
    harness.now -= HOUR
    watch.look()
    harness.now += harness.lease
    assert harness.outbox.claim() is not None


def test_breaker_and_resting_campaign_are_tried_when_they_would_have_been(harness: Harness, watch: ClockWatch) -> None:
    harness.store.answer(None, Status.REFUSED, about=About.SENDER)
    harness.run()
    resting = harness.campaign_id
    harness.store.answer(None, Status.DEFERRED, about=About.RATE)
    harness.now += 1
    harness.accept()
    harness.run()
    harness.now -= HOUR
    watch.look()
    with harness.db.read() as connection:
        blocked = connection.scalar(select(CircuitBreaker.retry_at))
        due = connection.scalar(select(Campaign.due_at).where(Campaign.id == resting))
    assert (blocked, due) == (
        pytest.approx(harness.now + 5000, abs=1500),
        pytest.approx(harness.now + MINUTE, abs=1500),
    )
    harness.now += 2 * MINUTE
    harness.run()
    assert harness.counts() == {"sent": 5}
    harness.campaign_id = resting
    assert harness.counts() == {"sent": 5}


def test_planner_that_died_is_replaced(db: Database, add_users) -> None:
    add_users(db, 5)
    harness = Harness(db)
    watch = ClockWatch(db, harness.lease)
    watch.look()
    harness.accept()
    harness.die_planning()
    harness.now -= HOUR
    watch.look()
    harness.now += harness.lease
    harness.run()
    assert harness.counts() == {"sent": 5}


def test_tasks_and_rates_are_set_back(harness: Harness, watch: ClockWatch) -> None:
    task = SharedTask(harness.db, "sync", lease=harness.lease, period=24 * HOUR)
    turn = task.take()
    assert turn is not None
    with harness.db.write() as connection:
        task.done(connection, turn, {})
        connection.execute(insert(ScheduledTask).values(name="dead", due_at=0, fence=1, failures=0))
        connection.execute(insert(RateLimit).values(key="k", hits=10, expires_at=harness.now + MINUTE))
    dead = SharedTask(harness.db, "dead", lease=harness.lease, period=None)
    assert dead.take() is not None
    harness.now -= HOUR
    watch.look()
    record = task.record()
    assert record is not None
    assert record.due_at == pytest.approx(harness.now + 24 * HOUR, abs=1000)
    harness.now += harness.lease
    assert dead.take() is not None
    with harness.db.read() as connection:
        assert connection.scalar(select(RateLimit.expires_at)) <= harness.now


def test_step_taken_while_nobody_ran_is_noticed_at_the_start(harness: Harness, watch: ClockWatch) -> None:
    assert watch.look() == 0
    harness.now -= HOUR
    assert ClockWatch(harness.db, harness.lease).look() == HOUR
    harness.run()
    assert harness.counts() == {"sent": 5}


def test_every_process_notices_and_one_mends_it(
    harness: Harness, watch: ClockWatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    other = ClockWatch(harness.db, harness.lease)
    other.look()
    harness.store.answer(None, *[Status.DEFERRED] * 5)
    harness.run()
    harness.now -= HOUR
    assert [watch.look() > 0, other.look(), watch.look(), other.look()] == [True, 0, 0, 0]
    assert [record.getMessage() for record in caplog.records] == [
        "the database's clock was set back by 3600 s: what is due was set back with it"
    ]
    harness.now += 10_000
    harness.run()
    assert harness.counts() == {"deferred": 5}  # set back once, not twice


@pytest.mark.parametrize("step", [1000, 55_000])
def test_less_than_a_minute_changes_nothing(harness: Harness, watch: ClockWatch, step: int) -> None:
    with harness.db.read() as connection:
        before = connection.execute(select(Batch.due_at)).all()
    harness.now -= step
    assert watch.look() == 0
    with harness.db.read() as connection:
        assert connection.execute(select(Batch.due_at)).all() == before
        assert connection.execute(select(ClockMark.steps)).all() == [(0,)]


def test_step_forward_and_back_is_a_step_back(harness: Harness, watch: ClockWatch) -> None:
    harness.now += HOUR
    assert watch.look() == 0
    harness.store.answer(None, *[Status.DEFERRED] * 5)
    harness.run()
    harness.now -= HOUR
    assert watch.look() == pytest.approx(HOUR, abs=1000)
    harness.now += 2 * MINUTE
    harness.run()
    assert harness.counts() == {"sent": 5}


def test_step_that_the_record_has_not_seen_all_of_is_measured_by_the_machines_clock(
    harness: Harness, watch: ClockWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mailer.storage import clock_watch

    usual = clock_watch.boot_time
    monkeypatch.setattr(clock_watch, "boot_time", lambda: usual() + 14)  # since the last look
    harness.now -= 50_000
    assert watch.look() == pytest.approx(64_000, abs=1000)


def test_service_watches_the_clock(any_db: Database) -> None:
    services = build(Settings(database_url=any_db.url, secret_key=("k" * 40,)))
    services.engine.start()

    for _ in attempts(30):
        with any_db.read() as connection:
            seen = connection.scalar(select(ClockMark.seen_at))
        if seen:
            break

    assert services.engine.stop(20)
    services.db.close()
    assert seen
