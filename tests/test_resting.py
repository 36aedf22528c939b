"""Trouble of one campaign alone: its sender refused, or an unexpected error; on both databases."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from mailer.campaigns import control
from mailer.campaigns.invariants import examine
from mailer.campaigns.retention import purge
from mailer.delivery.trouble import Trouble
from mailer.storage.database import Database
from mailer.storage.models import Batch, Campaign, RefusedAddress
from tests.harness import MINUTE, Harness
from tests.recording_smtp import Fault, recording_smtp
from transports import from_url
from transports.base import About, Message, Outcome, Status, TransportUnavailable

REFUSED = "550 5.7.26 unauthenticated mail from this domain is not accepted"


@pytest.fixture
def road(db: Database, add_users: Callable[..., list[str]]) -> Harness:
    """Two campaigns over 25 users, both planned; `campaign_id` is the first's."""
    add_users(db, 25)
    made = Harness(db)
    first = made.accept()
    made.plan()
    made.now += 1
    made.other = made.accept()  # type: ignore[attr-defined]
    made.plan()
    made.campaign_id = first
    return made


def of_first(road: Harness, answer: Callable[[Message], Outcome | None]) -> None:
    """Have the first campaign's messages answered by `answer`; None: as usual."""
    first, usual = road.campaign_id, road.transport.send

    def send(messages: Iterable[Message]) -> Iterator[Outcome]:
        for message in messages:
            told = answer(message) if message.id.startswith(first) else None
            yield told or next(usual([message]))

    road.transport.send = send  # type: ignore[method-assign]


def state_of(road: Harness, campaign_id: str) -> Any:
    with road.db.read() as connection:
        facts = select(Campaign.state, Campaign.reason, Campaign.rests, Campaign.errors, Campaign.due_at)
        return connection.execute(facts.where(Campaign.id == campaign_id)).one()


def finish_other(road: Harness) -> None:
    mine, road.campaign_id = road.campaign_id, road.other  # type: ignore[attr-defined]
    assert (road.progress().state, road.counts()) == ("completed", {"sent": 25})
    road.campaign_id = mine


@pytest.mark.parametrize("status", [Status.REFUSED, Status.DEFERRED])
def test_refused_sender_rests_its_campaign_alone_and_harms_nobody(road: Harness, status: Status) -> None:
    of_first(road, lambda message: Outcome(message.id, status, REFUSED, About.SENDER))
    road.run()
    assert (road.progress().state, road.counts()) == ("resting", {"pending": 25})
    assert road.progress().reason == f"the sender was refused: {REFUSED}"
    finish_other(road)
    with road.db.read() as connection:
        assert connection.scalars(select(RefusedAddress.address)).all() == []
    assert road.delivery("user00000") is None
    assert examine(road.db) == []


def test_resting_is_tried_with_one_message_a_time_and_later_each_time_and_then_paused(road: Harness) -> None:
    tried = []
    of_first(road, lambda message: tried.append(road.now) or Outcome(message.id, Status.REFUSED, REFUSED, About.SENDER))
    for _ in range(400 * 2):
        road.run()
        road.now += MINUTE // 2
    minutes = [round((later - sooner) / MINUTE) for sooner, later in pairwise(tried)]
    assert minutes == [1, 5, 15, 60, 240]
    now = road.progress()
    assert (now.state, now.reason) == ("paused", f"the sender was refused 6 times in a row, last: {REFUSED}")
    assert road.counts() == {"pending": 25}
    road.transport.send = type(road.transport).send.__get__(road.transport)  # type: ignore[method-assign]
    control.resume(road.db, road.campaign_id)
    road.run()
    assert (road.progress().state, road.counts()) == ("completed", {"sent": 25})
    assert {road.delivery(f"user{number:05d}").attempts for number in range(25)} == {1}


def test_answer_about_a_recipient_ends_the_rest(road: Harness) -> None:
    refuse = [True, True]
    of_first(road, lambda m: Outcome(m.id, Status.REFUSED, REFUSED, About.SENDER) if refuse and refuse.pop() else None)
    road.run()
    road.now += MINUTE
    road.run()
    assert (state_of(road, road.campaign_id).state, state_of(road, road.campaign_id).rests) == ("resting", 2)
    road.now += 4 * MINUTE
    road.run()
    assert road.progress().state == "resting"
    road.now += MINUTE
    road.run()
    assert (road.progress().state, road.progress().reason, road.counts()) == ("completed", None, {"sent": 25})


def test_sender_refused_half_way_keeps_what_was_sent(road: Harness) -> None:
    answers = iter([None, None, True])
    of_first(
        road,
        lambda m: Outcome(m.id, Status.REFUSED, REFUSED, About.SENDER) if next(answers, None) else None,
    )
    road.run()
    assert (road.progress().state, road.counts()) == ("resting", {"sent": 2, "pending": 23})
    road.now += MINUTE
    road.run()
    assert (road.progress().state, road.counts()) == ("completed", {"sent": 25})
    assert len(road.arrived()) == 50


def test_other_threads_stop_at_their_next_checkpoint_and_add_no_step(road: Harness) -> None:
    held = road.outbox.claim()
    assert held is not None
    of_first(road, lambda message: Outcome(message.id, Status.REFUSED, REFUSED, About.SENDER))
    road.run()
    items = road.outbox.due_items(held)
    assert road.outbox.checkpoint(held, [], items[:3], len(items)).running is False
    assert road.outbox.release(held, [], len(items), Trouble(sender=REFUSED)) == 0
    assert state_of(road, road.campaign_id).rests == 1


def test_one_worker_at_a_time_tries_a_resting_campaign(road: Harness) -> None:
    of_first(road, lambda message: Outcome(message.id, Status.REFUSED, REFUSED, About.SENDER))
    road.run()
    road.now += MINUTE
    first = road.outbox.claim()
    assert first is not None
    assert first.campaign_rests
    assert road.outbox.claim() is None
    road.now += road.lease
    assert road.outbox.claim() is not None  # the first has died


@pytest.mark.parametrize("action", ["pause", "cancel", "resume", "retry_failed"])
def test_actions_work_on_a_resting_campaign(road: Harness, action: str) -> None:
    refuse = iter([None, True])
    road.store.answer("user00000@example.com", Status.REFUSED)
    of_first(road, lambda m: Outcome(m.id, Status.REFUSED, REFUSED, About.SENDER) if next(refuse, None) else None)
    road.run()
    assert (road.progress().state, road.counts()) == ("resting", {"failed": 1, "pending": 24})
    getattr(control, action)(road.db, road.campaign_id)
    road.run()
    ends = {
        "pause": ("paused", {"failed": 1, "pending": 24}),
        "cancel": ("cancelled", {"failed": 1, "pending": 24}),
        "resume": ("completed_with_issues", {"failed": 1, "sent": 24}),
        "retry_failed": ("resting", {"deferred": 1, "pending": 24}),
    }
    assert (road.progress().state, road.counts()) == ends[action]
    assert examine(road.db) == []
    if action == "pause":
        control.resume(road.db, road.campaign_id)
    road.now += MINUTE
    road.run()
    assert action == "cancel" or road.progress().state in ("completed", "completed_with_issues")


@pytest.mark.parametrize("about", [About.RATE, About.TRANSPORT])
@pytest.mark.parametrize("status", [Status.REFUSED, Status.DEFERRED])
def test_outcome_about_the_rate_opens_the_breaker_for_all_and_uses_nobodys_attempts(
    road: Harness, about: About, status: Status
) -> None:
    asked = []
    limit = "450 4.7.1 too many recipients"
    of_first(road, lambda message: asked.append(message) or Outcome(message.id, status, limit, about))
    road.run()
    assert len(asked) == 1  # the rest were not even asked
    assert (road.progress().state, road.progress().reason) == ("blocked", limit)
    assert road.counts() == {"pending": 25}
    road.transport.send = type(road.transport).send.__get__(road.transport)  # type: ignore[method-assign]
    road.now += 6000
    road.run()
    assert (road.progress().state, road.counts()) == ("completed", {"sent": 25})
    assert {road.delivery(f"user{number:05d}").attempts for number in range(25)} == {1}


def test_unavailable_about_the_sender_rests_the_campaign(road: Harness) -> None:
    def refuse(_message: Message) -> Outcome:
        error = TransportUnavailable("sender refused")
        error.about = About.SENDER
        raise error

    of_first(road, refuse)
    road.run()
    assert road.progress().state == "resting"
    finish_other(road)


def raises(message: Message) -> Outcome:
    raise RuntimeError(f"no idea what to do with {message.recipient}")


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def exits(_message: Message) -> Outcome:
    raise SystemExit(1)


def chokes(_message: Message) -> Outcome:
    raise Speechless


def strange(message: Message) -> Any:
    return Outcome(message.id, "vanished", "", About.MESSAGE)  # type: ignore[arg-type]


BROKEN: dict[str, Callable[[Message], Any]] = {
    "raises": raises,
    "exits": exits,
    "raises what has no words": chokes,
    "another's id": lambda message: Outcome(f"{message.id}x", Status.SENT),
    "no outcome": lambda message: None,
    "not an outcome": lambda message: (message.id, "sent"),
    "no such status": strange,
    "no such about": lambda message: Outcome(message.id, Status.REFUSED, "no", "the weather"),  # type: ignore[arg-type]
    "reply that is no text": lambda message: Outcome(message.id, Status.SENT, b"250 ok"),  # type: ignore[arg-type]
}


def break_first(road: Harness, answer: Callable[[Message], Any]) -> None:
    first, usual = road.campaign_id, road.transport.send

    def send(messages: Iterable[Message]) -> Iterator[Any]:
        for message in messages:
            if not message.id.startswith(first):
                yield from usual([message])
            elif (told := answer(message)) is not None:
                yield told

    road.transport.send = send  # type: ignore[method-assign]


@pytest.mark.parametrize("broken", BROKEN)
def test_transport_that_breaks_its_contract_fails_the_campaign_and_no_other(
    road: Harness, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    caplog.set_level(logging.ERROR)
    break_first(road, BROKEN[broken])
    road.run()
    assert road.progress().state == "resting"
    finish_other(road)
    for _ in range(12):
        road.now += MINUTE
        road.run()
    now = road.progress()
    assert (now.state, state_of(road, road.campaign_id).errors) == ("failed", 3)
    assert now.reason
    assert now.finished_at is not None
    assert (now.sent, now.failed) == (0, 0)
    assert now.uncertain >= 1  # whoever was in its hands may have the message
    assert examine(road.db) == []
    assert sum("Traceback" in record.getMessage() for record in caplog.records) == 1
    assert "@example.com" not in caplog.text

    road.transport.send = type(road.transport).send.__get__(road.transport)  # type: ignore[method-assign]
    control.retry_failed(road.db, road.campaign_id, uncertain=True)
    road.run()
    assert (road.progress().state, road.counts()) == ("completed", {"sent": 25})
    assert examine(road.db) == []


def test_check_that_raises_blocks_the_transport_and_fails_no_campaign(road: Harness) -> None:
    def check() -> None:
        raise ZeroDivisionError("no such rate")

    road.store.fail_after(0)
    road.run()
    road.store.recover()
    road.transport.check = check  # type: ignore[method-assign]
    for _ in range(30):
        road.now += MINUTE
        road.run()
    now = road.progress()
    assert (now.state, now.pending) == ("blocked", 25)
    assert now.reason
    assert "no such rate" in now.reason

    del road.transport.check  # type: ignore[method-assign]
    road.now += 10 * MINUTE
    road.run()
    assert (road.progress().state, road.counts()) == ("completed", {"sent": 25})
    finish_other(road)


def test_message_that_the_transport_chokes_on_is_left_in_doubt_and_the_others_are_sent(road: Harness) -> None:
    of_first(road, lambda message: raises(message) if message.recipient.startswith("user00001") else None)
    for _ in range(12):
        road.run()
        road.now += MINUTE
    assert (road.progress().state, road.counts()) == ("completed_with_issues", {"sent": 24, "uncertain": 1})
    assert road.delivery("user00001").uncertain_attempts == 2
    assert state_of(road, road.campaign_id).errors == 0


def test_outcome_given_twice_is_recorded_once(road: Harness) -> None:
    first, usual = road.campaign_id, road.transport.send

    def send(messages: Iterable[Message]) -> Iterator[Outcome]:
        for outcome in usual(messages):
            yield outcome
            if outcome.id.startswith(first):
                yield Outcome(outcome.id, Status.REFUSED, "no after all")

    road.transport.send = send  # type: ignore[method-assign]
    road.run()
    assert (road.progress().state, road.counts()) == ("resting", {"sent": 1, "pending": 24})
    assert road.delivery("user00000").status == "sent"
    assert examine(road.db) == []


def test_transport_that_stops_asking_fails_the_campaign(road: Harness) -> None:
    first, usual = road.campaign_id, road.transport.send

    def send(messages: Iterable[Message]) -> Iterator[Outcome]:
        for message in messages:
            if message.id.startswith(first):
                yield Outcome(message.id, Status.SENT)
                return
            yield from usual([message])

    road.transport.send = send  # type: ignore[method-assign]
    road.run()
    assert road.progress().state == "resting"
    assert "before it had drawn all" in str(road.progress().reason)
    finish_other(road)


PAST_THE_API: dict[str, str] = {
    "sender": "UPDATE campaigns SET sender = 'nobody' WHERE id = '{id}'",
    "subject": "UPDATE campaigns SET subject = 'a' || chr(10) || 'b' WHERE id = '{id}'",
    "body": "UPDATE campaigns SET body = 'Hello' WHERE id = '{id}'",
    "body that is empty": "UPDATE campaigns SET body = '' WHERE id = '{id}'",
    "query": "UPDATE campaigns SET query = '{{\"$where\": 1}}' WHERE id = '{id}'",
    "query that is null": "UPDATE campaigns SET query = 'null' WHERE id = '{id}'",
    "attempting": "UPDATE batches SET attempting = '7' WHERE campaign_id = '{id}'",
}


def put(db: Database, statement: str) -> None:
    if db.engine.dialect.name == "sqlite":
        statement = statement.replace("chr(", "char(")
    with db.write() as connection:
        connection.execute(text(statement))


@pytest.mark.parametrize("what", PAST_THE_API)
def test_campaign_that_cannot_be_sent_fails_alone(road: Harness, what: str) -> None:
    put(road.db, PAST_THE_API[what].format(id=road.campaign_id))
    road.run()
    assert road.progress().state == "resting"
    finish_other(road)
    for _ in range(15):
        road.now += MINUTE
        road.run()
    assert (road.progress().state, road.counts()) == ("failed", {"pending": 25})
    assert road.progress().reason
    assert [message.id for message in road.store.messages if message.id.startswith(road.campaign_id)] == []


@pytest.mark.parametrize("query", ['{"$where": 1}', "null", "[1]", '{"_id": {"$in": 3}}'])
def test_campaign_that_cannot_be_planned_fails_alone_and_is_revived_by_retry_failed(
    db: Database, add_users, caplog: pytest.LogCaptureFixture, query: str
) -> None:
    add_users(db, 25)
    road = Harness(db)
    bad = road.accept({"name": "Ann 3"})
    put(db, f"UPDATE campaigns SET query = '{query}' WHERE id = '{bad}'".replace(":", "\\:"))
    road.now += 1
    good = road.accept()
    road.run()
    road.campaign_id = good
    assert road.progress().state == "completed"
    road.campaign_id = bad
    assert road.progress().state == "resting"
    for _ in range(12):
        road.now += MINUTE
        road.run()
    assert (road.progress().state, len(road.arrived())) == ("failed", 25)
    assert sum("Traceback" in record.getMessage() for record in caplog.records) == 1
    put(db, f"UPDATE campaigns SET query = '{{\"name\"\\: \"Ann 3\"}}' WHERE id = '{bad}'")
    assert control.retry_failed(db, bad) == 0
    road.run()
    assert (road.progress().state, road.counts()) == ("completed", {"sent": 1})
    assert examine(db) == []


@pytest.mark.parametrize("action", ["pause", "cancel", "resume"])
def test_actions_work_on_a_campaign_that_rests_unplanned(db: Database, add_users, action: str) -> None:
    add_users(db, 5)
    road = Harness(db)
    road.accept()
    put(db, "UPDATE campaigns SET query = '[1]'")
    road.run()
    getattr(control, action)(db, road.campaign_id)
    put(db, "UPDATE campaigns SET query = '{}'")
    if action == "pause":
        road.run()
        assert (road.progress().state, road.arrived()) == ("paused", [])
        control.resume(db, road.campaign_id)
    road.run()
    assert road.progress().state == ("cancelled" if action == "cancel" else "completed")
    assert road.progress().reason is None
    assert len(road.arrived()) == (0 if action == "cancel" else 5)


def test_failed_campaign_is_forgotten_like_any_that_ended(road: Harness) -> None:
    break_first(road, raises)
    for _ in range(12):
        road.run()
        road.now += MINUTE
    assert road.progress().state == "failed"
    road.now += 90 * 24 * 60 * MINUTE
    purge(road.db, 24 * 60 * MINUTE)
    with road.db.read() as connection:
        assert connection.scalar(select(Campaign.body).where(Campaign.id == road.campaign_id)) == ""
    assert (road.progress().state, road.progress().reason) == ("failed", None)


def test_unexpected_error_outside_the_transport_leaves_who_was_attempted_in_doubt(road: Harness, monkeypatch) -> None:
    usual = type(road.outbox).release

    def fail_once(*arguments: Any) -> int:
        monkeypatch.setattr(type(road.outbox), "release", usual)
        raise ZeroDivisionError

    monkeypatch.setattr(type(road.outbox), "release", fail_once)
    assert road.deliverer.run_next(lambda: False)
    assert (road.progress().state, road.counts()) == ("resting", {"sent": 9, "uncertain": 1, "pending": 15})
    assert examine(road.db) == []
    with road.db.read() as connection:
        held = connection.execute(select(Batch.number).where(Batch.state == "running")).all()
    assert held == []


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        (Fault("MAIL", "550 5.7.1 <news@example.com>: Sender address rejected: not owned by user"), "resting"),
        (Fault("RCPT", "550 5.7.60 SMTP; Client does not have permissions to send as this sender"), "resting"),
        (Fault("DOT", "550 5.7.26 This mail is unauthenticated"), "resting"),
        (Fault("RCPT", "550 5.4.5 Daily user sending quota exceeded", after=2), "blocked"),
        (Fault("RCPT", "450 4.7.1 too many recipients", after=2), "blocked"),
        (Fault("DOT", "554 5.7.1 message content rejected"), "paused"),
    ],
    ids=lambda value: f"{value.verb} {value.reply[:10]}" if isinstance(value, Fault) else value,
)
def test_servers_own_words_find_who_bears_them(
    db: Database, add_users, tmp_path: Path, fault: Fault, state: str
) -> None:
    add_users(db, 60)
    with (
        recording_smtp(tmp_path, fault) as server,
        closing(from_url(f"{server.url}?starttls=never&connections=1")) as transport,
    ):
        road = Harness(db, transport, batch_size=60, checkpoint=30, max_failure_rate=1.0)
        road.accept()
        road.run()
    assert road.progress().state == state
    assert fault.reply.partition(" ")[2][:20] in str(road.progress().reason)
    counts = road.counts()
    assert counts.get("failed", 0) == (20 if state == "paused" else 0)
    assert counts["pending"] >= 30
    with db.read() as connection:
        assert connection.scalars(select(RefusedAddress.address)).all() == []
