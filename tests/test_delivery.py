"""A campaign from accept to record, on both databases, with a transport and a clock that do as they are told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from email import message_from_bytes, policy

import pytest
from sqlalchemy import update

from mailer.campaigns import control
from mailer.delivery import circuit_breaker
from mailer.delivery.ledger import LeaseLost
from mailer.delivery.trouble import Trouble
from mailer.errors import IdempotencyConflict, InvalidState
from mailer.messages.links import NOBODY
from mailer.storage.database import Database
from mailer.storage.lease import boot_time
from mailer.storage.models import Batch, User
from tests.harness import MINUTE, START, Harness
from transports.base import About, Message, Outcome, Status
from transports.memory import MemoryTransport


def change_user(db: Database, user_id: str, **values: object) -> None:
    with db.write() as connection:
        connection.execute(update(User).where(User.id == user_id).values(**values))


def test_everyone_is_reached_once_and_recorded(db: Database, add_users) -> None:
    ids = add_users(db, 25)
    harness = Harness(db)
    harness.accept()
    assert harness.progress().state == "accepted"
    harness.run()
    assert sorted(harness.arrived()) == [f"{user_id}@example.com" for user_id in ids]
    assert harness.counts() == {"sent": 25}
    assert (harness.progress().state, harness.progress().planned) == ("completed", 25)
    assert len({message.id for message in harness.store.messages}) == 25


def test_message_is_personal(any_db: Database, add_users) -> None:
    add_users(any_db, 1, name="Zoë van Dam", id="zoe")
    harness = Harness(any_db)
    harness.accept()
    harness.run()
    message = message_from_bytes(harness.store.messages[0].content, policy=policy.default)
    assert message["Subject"] == "Hi Zoë"
    assert "Hello Zoë van Dam http://x/mailer/unsubscribe/" in message.get_body(("plain",)).get_content()


@pytest.mark.parametrize("change", [{"unsubscribed_at": START - 1}, {"active": False}, {"email": None}], ids=str)
def test_who_may_not_be_written_to_is_left_out(db: Database, add_users, change) -> None:
    add_users(db, 3)
    change_user(db, "user00001", **change)
    harness = Harness(db)
    harness.accept()
    harness.run()
    assert sorted(harness.arrived()) == ["user00000@example.com", "user00002@example.com"]
    assert harness.counts() == {"sent": 2}


def test_query_selects(db: Database, add_users) -> None:
    add_users(db, 5)
    harness = Harness(db)
    harness.accept({"username": {"$in": ["user00001", "user00003"]}})
    harness.run()
    assert sorted(harness.arrived()) == ["user00001@example.com", "user00003@example.com"]


def test_empty_audience_completes_at_once(db: Database) -> None:
    harness = Harness(db)
    harness.accept()
    harness.run()
    assert (harness.progress().state, harness.progress().planned, harness.arrived()) == ("completed", 0, [])


def test_soft_failure_is_retried_after_a_minute(db: Database, add_users) -> None:
    add_users(db, 4)
    harness = Harness(db)
    harness.store.answer("user00002@example.com", Status.DEFERRED)
    harness.accept()
    harness.run()
    assert (harness.counts(), harness.progress().state) == ({"sent": 3, "deferred": 1}, "running")
    harness.now += MINUTE // 2
    harness.run()
    assert harness.counts() == {"sent": 3, "deferred": 1}
    harness.now += MINUTE
    harness.run()
    assert (harness.counts(), harness.progress().state) == ({"sent": 4}, "completed")
    assert harness.delivery("user00002").attempts == 2
    assert len(harness.arrived()) == 4


@pytest.mark.slow
def test_soft_failure_without_end_fails_within_a_day(db: Database, add_users) -> None:
    add_users(db, 1)
    harness = Harness(db)
    harness.store.answer("user00000@example.com", *[Status.DEFERRED] * 20)
    harness.accept()
    for _ in range(24 * 60):
        harness.run()
        harness.now += MINUTE
    record = harness.delivery("user00000")
    assert (record.status, harness.progress().state) == ("failed", "completed_with_issues")
    assert 7 <= record.attempts <= 8


def test_hard_failure_is_never_retried(db: Database, add_users) -> None:
    add_users(db, 2)
    harness = Harness(db)
    harness.store.answer("user00001@example.com", Status.REFUSED)
    harness.accept()
    harness.run()
    assert (harness.counts(), harness.progress().state) == ({"sent": 1, "failed": 1}, "completed_with_issues")
    harness.now += 1000 * MINUTE
    harness.run()
    assert harness.delivery("user00001").attempts == 1


@pytest.mark.parametrize(
    ("policy_name", "statuses", "copies", "end"),
    [
        ("retry", [Status.UNCERTAIN], 2, "sent"),
        ("retry", [Status.UNCERTAIN] * 5, 2, "uncertain"),
        ("hold", [Status.UNCERTAIN], 1, "uncertain"),
    ],
)
def test_uncertain_message_has_two_copies_at_most(db, add_users, policy_name, statuses, copies: int, end: str) -> None:
    add_users(db, 2)
    harness = Harness(db, uncertain=policy_name)
    harness.store.answer("user00001@example.com", *statuses)
    harness.accept()
    harness.run()
    sent = [message for message in harness.store.messages if message.recipient == "user00001@example.com"]
    assert len(sent) == copies
    assert len({message.id for message in sent}) == 1
    assert harness.delivery("user00001").status == end
    assert harness.progress().state == ("completed" if end == "sent" else "completed_with_issues")


def test_address_that_no_message_can_hold_fails_alone(db: Database, add_users) -> None:
    add_users(db, 3)
    change_user(db, "user00001", email="no address")
    harness = Harness(db)
    harness.accept()
    harness.run()
    assert harness.counts() == {"sent": 2, "failed": 1}


def test_transport_trouble_costs_nobody_an_attempt(db: Database, add_users) -> None:
    add_users(db, 5)
    harness = Harness(db)
    harness.store.fail_after(2, "relay is down")
    harness.accept()
    harness.run()
    assert harness.counts() == {"sent": 2, "pending": 3}
    with db.read() as connection:
        blocked = circuit_breaker.tripped(connection)
    assert blocked is not None
    assert (blocked.reason, blocked.failures, blocked.retry_at) == ("memory: relay is down", 1, START + 5000)
    harness.now += 6000
    harness.run()  # one tries while it is half-open, one failure more
    with db.read() as connection:
        again = circuit_breaker.tripped(connection)
    assert again is not None
    assert (again.failures, again.since) == (2, START)
    harness.store.recover()
    harness.now += 16_000
    harness.run()
    assert (harness.counts(), harness.progress().state) == ({"sent": 5}, "completed")
    assert {harness.delivery(f"user{n:05d}").attempts for n in range(5)} == {1}
    assert len(harness.arrived()) == 5


def test_unsubscribing_holds_from_the_next_checkpoint(db: Database, add_users) -> None:
    add_users(db, 8)
    harness = Harness(db)
    harness.accept()
    harness.plan()
    change_user(db, "user00001", unsubscribed_at=harness.now + 1)
    claim = harness.outbox.claim()
    assert claim is not None
    items = harness.outbox.due_items(claim)
    assert len(items) == 8
    first = harness.outbox.checkpoint(claim, [], items[:3], 8)
    assert [item.recipient.user_id for item in first.items] == ["user00000", "user00002"]
    assert harness.delivery("user00001").status == "skipped"
    harness.check()


def test_pause_holds_and_resume_goes_on(db: Database, add_users) -> None:
    add_users(db, 7)
    harness = Harness(db)
    harness.accept()
    harness.plan()
    gate_after = harness.transport.send

    def send_and_pause(messages):
        yield from gate_after(messages)
        control.pause(db, harness.campaign_id)

    harness.transport.send = send_and_pause
    harness.run()
    assert (harness.counts(), harness.progress().state) == ({"sent": 3, "pending": 4}, "paused")
    harness.transport.send = gate_after
    control.resume(db, harness.campaign_id)
    harness.run()
    assert (harness.counts(), harness.progress().state) == ({"sent": 7}, "completed")
    assert len(harness.arrived()) == 7


def test_cancel_ends_it_and_keeps_the_record(db: Database, add_users) -> None:
    add_users(db, 25)
    harness = Harness(db)
    harness.store.answer("user00001@example.com", Status.DEFERRED)
    harness.accept()
    harness.plan()
    harness.deliverer.run_next(lambda: False)
    control.cancel(db, harness.campaign_id)
    harness.now += 10 * MINUTE
    harness.run()
    assert harness.progress().state == "cancelled"
    assert len(harness.arrived()) == 9
    with pytest.raises(InvalidState):
        control.resume(db, harness.campaign_id)


def test_too_many_failures_pause_the_campaign(db: Database, add_users) -> None:
    add_users(db, 300)
    harness = Harness(db, batch_size=50, checkpoint=50, max_failure_rate=0.2)
    harness.store.answer(None, *[Status.REFUSED] * 300, about=About.ADDRESS)
    harness.accept()
    harness.run()
    now = harness.progress()
    assert (now.state, now.failed) == ("paused", 100)
    assert "MAILER_MAX_FAILURE_RATE" in str(now.reason)


def test_worker_that_died_leaves_its_checkpoint_uncertain(db: Database, add_users) -> None:
    add_users(db, 5)
    harness = Harness(db)
    harness.accept()
    harness.plan()
    claim = harness.outbox.claim()
    assert claim is not None
    items = harness.outbox.due_items(claim)
    harness.outbox.checkpoint(claim, [], items[:3], 5)
    assert harness.outbox.claim() is None  # leased
    harness.now += harness.lease
    harness.run()
    assert (harness.counts(), harness.progress().state) == ({"sent": 5}, "completed")
    assert [harness.delivery(f"user{n:05d}").uncertain_attempts for n in range(5)] == [1, 1, 1, 0, 0]


def test_worker_that_wakes_up_late_writes_nothing(db: Database, add_users) -> None:
    add_users(db, 5)
    harness = Harness(db)
    harness.accept()
    harness.plan()
    frozen = harness.outbox.claim()
    assert frozen is not None
    items = harness.outbox.due_items(frozen)
    harness.now += harness.lease
    harness.run()
    with pytest.raises(LeaseLost):
        harness.outbox.checkpoint(frozen, [], items[:3], 5)
    with pytest.raises(LeaseLost):
        harness.outbox.extend(frozen)
    with pytest.raises(LeaseLost):
        harness.outbox.release(frozen, [], 5, Trouble(transport="down"))
    assert harness.counts() == {"sent": 5}
    with db.read() as connection:
        assert circuit_breaker.tripped(connection) is None


class DrawsAhead(MemoryTransport):
    """Draws all messages, is frozen then, and asks for more before each that it hands over, as the SMTP ones do."""

    frozen = 0.0

    def send(self, messages: Iterable[Message]) -> Iterator[Outcome]:
        source = iter(messages)
        drawn = list(source)
        self.frozen = 10_000.0
        for message in drawn:
            assert next(source, None) is None
            yield from super().send([message])


def test_worker_that_wakes_up_late_hands_over_nothing_that_it_had_drawn(
    db: Database, add_users, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_users(db, 3)
    ahead = DrawsAhead()
    harness = Harness(db, ahead)
    monkeypatch.setattr("mailer.delivery.batch_lease.boot_time", lambda: boot_time() + ahead.frozen)
    harness.accept()
    harness.plan()
    assert harness.deliverer.run_next(lambda: False)
    assert (ahead.store.messages, harness.counts()) == ((), {"pending": 3})


def test_planner_that_died_is_replaced(db: Database, add_users) -> None:
    add_users(db, 5)
    harness = Harness(db)
    harness.accept()
    harness.die_planning()
    assert harness.plan() is False
    harness.now += harness.lease
    harness.run()
    assert harness.counts() == {"sent": 5}


def test_stopping_ends_after_the_checkpoint_in_hand(db: Database, add_users) -> None:
    add_users(db, 8)
    harness = Harness(db)
    harness.accept()
    harness.plan()
    asked = iter([False, True])
    harness.deliverer.run_next(lambda: next(asked))
    assert harness.counts() == {"sent": 3, "pending": 5}
    harness.run()  # given back, not left to its lease
    assert harness.counts() == {"sent": 8}


def test_dry_run_goes_to_the_from_address_ahead_of_the_queue(db: Database, add_users) -> None:
    add_users(db, 12)
    harness = Harness(db)
    waiting = harness.accept()
    harness.plan()
    harness.accept(dry_run=True)
    harness.plan()
    harness.deliverer.run_next(lambda: False)
    assert harness.arrived() == ["news@example.com"]
    assert (harness.counts(), harness.progress().state) == ({"sent": 1}, "completed")
    assert harness.delivery(NOBODY).status == "sent"
    harness.campaign_id = waiting
    harness.run()
    assert harness.counts() == {"sent": 12}


@pytest.mark.parametrize(("name", "subject"), [("Nina News", "Hi Nina"), ("", "Hi News")], ids=["user", "display name"])
def test_dry_run_takes_the_name_of_the_user_with_that_address(db: Database, add_users, name: str, subject: str) -> None:
    if name:
        add_users(db, 1, id="nina", name=name, email="news@example.com", unsubscribed_at=1)
    harness = Harness(db)
    harness.accept(dry_run=True)
    harness.run()
    message = message_from_bytes(harness.store.messages[0].content, policy=policy.default)
    assert message["Subject"] == subject


def test_same_key_is_one_campaign_and_another_body_a_conflict(db: Database) -> None:
    harness = Harness(db)
    first = harness.accept(key="abc")
    assert harness.accept(key="abc") == first
    with pytest.raises(IdempotencyConflict):
        harness.accept({"a": 1}, key="abc")
    harness.now += 24 * 60 * MINUTE
    assert harness.accept({"a": 1}, key="abc") != first


def test_counters_cannot_drift_from_rows_unseen(any_db: Database, add_users) -> None:
    add_users(any_db, 3)
    harness = Harness(any_db)
    harness.accept()
    harness.run()
    with any_db.write() as connection:
        connection.execute(update(Batch).values(sent=2))
    with pytest.raises(AssertionError):
        harness.check()
