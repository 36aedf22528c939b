"""Whose turn it is, on both databases, by a clock that tests turn."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import insert, select

from mailer.storage.database import Database
from mailer.storage.models import User
from mailer.storage.scheduled_tasks import SharedTask, TurnLost
from tests.conftest import user_row
from tests.harness import MINUTE, START

PERIOD, LEASE = 15 * MINUTE, MINUTE


class Clock:
    """The database's time, which stands still until it is turned."""

    def __init__(self, db: Database) -> None:
        self.now = START
        db.clock = lambda _connection: self.now


@pytest.fixture
def clock(db: Database) -> Clock:
    return Clock(db)


@pytest.fixture
def make(db: Database, clock: Clock) -> Callable[..., SharedTask]:
    """As many processes' views of one task as a test wants."""
    return lambda period=PERIOD: SharedTask(db, "task", lease=LEASE, period=period)


def finish(db: Database, task: SharedTask, turn) -> None:
    with db.write() as connection:
        task.done(connection, turn, {"count": 3})


def work(db: Database, task: SharedTask, turn) -> None:
    with db.write() as connection:
        connection.execute(insert(User), [user_row(1)])
        task.done(connection, turn, {})


def test_turn_is_one_processs_until_it_is_due_again(db: Database, clock: Clock, make) -> None:
    one, other = make(), make()
    turn = one.take()
    assert turn
    assert (turn.began_at, turn.last_done_at, other.take()) == (START, 0, None)
    clock.now += 30_000
    finish(db, one, turn)
    clock.now = START + PERIOD - 1
    assert (one.take(), other.take()) == (None, None)
    clock.now += 1
    again = other.take()
    assert again
    assert (again.began_at, again.last_done_at, one.take()) == (START + PERIOD, START + 30_000, None)


def test_many_at_once_are_one(clock: Clock, make) -> None:
    rounds, taken = 8, []
    start = threading.Barrier(6, action=lambda: setattr(clock, "now", clock.now + LEASE))

    def take() -> None:
        task = make()
        for _ in range(rounds):
            start.wait(20)
            taken.append(task.take())

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 6 * rounds
    assert sorted(turn.fence for turn in taken if turn) == list(range(1, rounds + 1))


def test_run_longer_than_a_period_leaves_out_what_it_missed(db: Database, clock: Clock, make) -> None:
    task = make()
    turn = task.take()
    for _ in range(70):
        clock.now += MINUTE // 2
        task.extend(turn)
    finish(db, task, turn)
    assert task.record().due_at == START + 3 * PERIOD


def test_turn_of_the_dead_ends_with_its_lease(db: Database, clock: Clock, make) -> None:
    task, other = make(), make()
    dead = task.take()
    clock.now += LEASE - 1
    assert other.take() is None
    task.extend(dead)
    clock.now += LEASE
    living = other.take()
    assert living
    with pytest.raises(TurnLost):
        task.extend(dead)
    finish(db, other, living)
    assert other.record().error is None


def test_who_lost_the_turn_changes_nothing(db: Database, clock: Clock, make) -> None:
    task, other = make(), make()
    frozen = task.take()
    clock.now += LEASE
    assert other.take()
    with pytest.raises(TurnLost):
        work(db, task, frozen)
    with pytest.raises(TurnLost):
        task.failed(frozen, "woke up")
    with pytest.raises(TurnLost):
        task.give_back(frozen)
    with db.read() as connection:
        assert connection.execute(select(User.id)).all() == []
    record = other.record()
    assert (record.done_at, record.error, record.running_since) == (None, None, clock.now)


def test_failures_are_on_record_and_tried_again_ever_later(db: Database, clock: Clock, make) -> None:
    task = make(24 * 60 * MINUTE)
    waits = []
    for number in range(1, 6):
        task.failed(task.take(), f"problem {number}")
        waits.append((task.record().due_at - clock.now) // MINUTE)
        clock.now = task.record().due_at
    assert waits == [1, 5, 15, 60, 60]
    record = task.record()
    assert (record.failures, record.error, record.failed_at) == (5, "problem 5", clock.now - 60 * MINUTE)
    finish(db, task, task.take())
    record = task.record()
    assert (record.failures, record.error, record.result) == (0, None, {"count": 3})


def test_failure_waits_no_longer_than_the_period(clock: Clock, make) -> None:
    task = make(2 * MINUTE)
    for number in range(1, 5):
        task.failed(task.take(), "problem")
        assert task.record().due_at == clock.now + min(number, 2) * MINUTE
        clock.now = task.record().due_at


def test_turn_given_back_is_anybodys_at_once(clock: Clock, make) -> None:
    task = make()
    task.give_back(task.take())
    assert task.record().running_since is None
    assert make().take()


def test_asked_for_early_counts_as_the_periods_run(db: Database, clock: Clock, make) -> None:
    task = make()
    finish(db, task, task.take())
    clock.now += PERIOD // 2
    early = task.take(early=True)
    assert (make().take(early=True), make().take()) == (None, None)
    finish(db, task, early)
    assert task.record().due_at == clock.now + PERIOD


def test_without_a_period_nothing_becomes_due(db: Database, clock: Clock, make) -> None:
    scheduled, by_hand = make(), make(None)
    finish(db, scheduled, scheduled.take())
    due = scheduled.record().due_at
    finish(db, by_hand, by_hand.take(early=True))
    assert by_hand.record().due_at == due


@pytest.mark.parametrize("change", ["shorter period", "clock set back"])
def test_due_time_that_cannot_be_is_not_waited_for(db: Database, clock: Clock, make, change: str) -> None:
    task = make(24 * 60 * MINUTE)
    finish(db, task, task.take())
    if change == "clock set back":
        clock.now -= 30 * 24 * 60 * MINUTE
        assert task.take()
    else:
        assert make(24 * 60 * MINUTE).take() is None
        assert make(PERIOD).take()


@pytest.mark.slow
def test_turn_is_kept_while_the_work_takes_longer_than_the_lease(db: Database) -> None:
    task, other = (SharedTask(db, "task", lease=600, period=PERIOD) for _ in range(2))
    turn = task.take()
    with task.kept(turn) as lost:
        assert not lost.wait(1.5)
        assert other.take(early=True) is None
        task.give_back(turn)
        assert other.take()
        assert lost.wait(5)
