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

pytestmark = pytest.mark.slow

REFUSED = "550 5.7.26 unauthenticated mail from this domain is not accepted"


@pytest.fixture
def harness(db: Database, add_users: Callable[..., list[str]]) -> Harness:
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


def of_first(harness: Harness, answer: Callable[[Message], Outcome | None]) -> None:
    """Have the first campaign's messages answered by `answer`; None: as usual."""
    first, usual = harness.campaign_id, harness.transport.send

    def send(messages: Iterable[Message]) -> Iterator[Outcome]:
        for message in messages:
            told = answer(message) if message.id.startswith(first) else None
            yield told or next(usual([message]))

    harness.transport.send = send  # type: ignore[method-assign]


def state_of(harness: Harness, campaign_id: str) -> Any:
    with harness.db.read() as connection:
        facts = select(Campaign.state, Campaign.reason, Campaign.rests, Campaign.errors, Campaign.due_at)
        return connection.execute(facts.where(Campaign.id == campaign_id)).one()


def finish_other(harness: Harness) -> None:
    mine, harness.campaign_id = harness.campaign_id, harness.other  # type: ignore[attr-defined]
    assert (harness.progress().state, harness.counts()) == ("completed", {"sent": 25})
    harness.campaign_id = mine


@pytest.mark.parametrize("status", [Status.REFUSED, Status.DEFERRED])
def test_refused_sender_rests_its_campaign_alone_and_harms_nobody(harness: Harness, status: Status) -> None:
    of_first(harness, lambda message: Outcome(message.id, status, REFUSED, About.SENDER))
    harness.run()
    assert (harness.progress().state, harness.counts()) == ("resting", {"pending": 25})
    assert harness.progress().reason == f"the sender was refused: {REFUSED}"
    finish_other(harness)
    with harness.db.read() as connection:
        assert connection.scalars(select(RefusedAddress.address)).all() == []
    assert harness.delivery("user00000") is None
    assert examine(harness.db) == []


def test_resting_is_tried_with_one_message_a_time_and_later_each_time_and_then_paused(harness: Harness) -> None:
    tried = []
    of_first(
        harness, lambda message: tried.append(harness.now) or Outcome(message.id, Status.REFUSED, REFUSED, About.SENDER)
    )
    for _ in range(400 * 2):
        harness.run()
        harness.now += MINUTE // 2
    minutes = [round((later - sooner) / MINUTE) for sooner, later in pairwise(tried)]
    assert minutes == [1, 5, 15, 60, 240]
    now = harness.progress()
    assert (now.state, now.reason) == ("paused", f"the sender was refused 6 times in a row, last: {REFUSED}")
    assert harness.counts() == {"pending": 25}
    harness.transport.send = type(harness.transport).send.__get__(harness.transport)  # type: ignore[method-assign]
    control.resume(harness.db, harness.campaign_id)
    harness.run()
    assert (harness.progress().state, harness.counts()) == ("completed", {"sent": 25})
    assert {harness.delivery(f"user{number:05d}").attempts for number in range(25)} == {1}


def test_answer_about_a_recipient_ends_the_rest(harness: Harness) -> None:
    refuse = [True, True]
    of_first(
        harness, lambda m: Outcome(m.id, Status.REFUSED, REFUSED, About.SENDER) if refuse and refuse.pop() else None
    )
    harness.run()
    harness.now += MINUTE
    harness.run()
    assert (state_of(harness, harness.campaign_id).state, state_of(harness, harness.campaign_id).rests) == (
        "resting",
        2,
    )
    harness.now += 4 * MINUTE
    harness.run()
    assert harness.progress().state == "resting"
    harness.now += MINUTE
    harness.run()
    assert (harness.progress().state, harness.progress().reason, harness.counts()) == ("completed", None, {"sent": 25})


def test_sender_refused_half_way_keeps_what_was_sent(harness: Harness) -> None:
    answers = iter([None, None, True])
    of_first(
        harness,
        lambda m: Outcome(m.id, Status.REFUSED, REFUSED, About.SENDER) if next(answers, None) else None,
    )
    harness.run()
    assert (harness.progress().state, harness.counts()) == ("resting", {"sent": 2, "pending": 23})
    harness.now += MINUTE
    harness.run()
    assert (harness.progress().state, harness.counts()) == ("completed", {"sent": 25})
    assert len(harness.arrived()) == 50


def test_other_threads_stop_at_their_next_checkpoint_and_add_no_step(harness: Harness) -> None:
    held = harness.outbox.claim()
    assert held is not None
    of_first(harness, lambda message: Outcome(message.id, Status.REFUSED, REFUSED, About.SENDER))
    harness.run()
    items = harness.outbox.due_items(held)
    assert harness.outbox.checkpoint(held, [], items[:3], len(items)).running is False
    assert harness.outbox.release(held, [], len(items), Trouble(sender=REFUSED)) == 0
    assert state_of(harness, harness.campaign_id).rests == 1


def test_one_worker_at_a_time_tries_a_resting_campaign(harness: Harness) -> None:
    of_first(harness, lambda message: Outcome(message.id, Status.REFUSED, REFUSED, About.SENDER))
    harness.run()
    harness.now += MINUTE
    first = harness.outbox.claim()
    assert first is not None
    assert first.campaign_rests
    assert harness.outbox.claim() is None
    harness.now += harness.lease
    assert harness.outbox.claim() is not None  # the first has died


@pytest.mark.parametrize("action", ["pause", "cancel", "resume", "retry_failed"])
def test_actions_work_on_a_resting_campaign(harness: Harness, action: str) -> None:
    refuse = iter([None, True])
    harness.store.answer("user00000@example.com", Status.REFUSED)
    of_first(harness, lambda m: Outcome(m.id, Status.REFUSED, REFUSED, About.SENDER) if next(refuse, None) else None)
    harness.run()
    assert (harness.progress().state, harness.counts()) == ("resting", {"failed": 1, "pending": 24})
    getattr(control, action)(harness.db, harness.campaign_id)
    harness.run()
    ends = {
        "pause": ("paused", {"failed": 1, "pending": 24}),
        "cancel": ("cancelled", {"failed": 1, "pending": 24}),
        "resume": ("completed_with_issues", {"failed": 1, "sent": 24}),
        "retry_failed": ("resting", {"deferred": 1, "pending": 24}),
    }
    assert (harness.progress().state, harness.counts()) == ends[action]
    assert examine(harness.db) == []
    if action == "pause":
        control.resume(harness.db, harness.campaign_id)
    harness.now += MINUTE
    harness.run()
    assert action == "cancel" or harness.progress().state in ("completed", "completed_with_issues")


@pytest.mark.parametrize("about", [About.RATE, About.TRANSPORT])
@pytest.mark.parametrize("status", [Status.REFUSED, Status.DEFERRED])
def test_outcome_about_the_rate_opens_the_breaker_for_all_and_uses_nobodys_attempts(
    harness: Harness, about: About, status: Status
) -> None:
    asked = []
    limit = "450 4.7.1 too many recipients"
    of_first(harness, lambda message: asked.append(message) or Outcome(message.id, status, limit, about))
    harness.run()
    assert len(asked) == 1  # the rest were not even asked
    assert (harness.progress().state, harness.progress().reason) == ("blocked", limit)
    assert harness.counts() == {"pending": 25}
    harness.transport.send = type(harness.transport).send.__get__(harness.transport)  # type: ignore[method-assign]
    harness.now += 6000
    harness.run()
    assert (harness.progress().state, harness.counts()) == ("completed", {"sent": 25})
    assert {harness.delivery(f"user{number:05d}").attempts for number in range(25)} == {1}


def test_unavailable_about_the_sender_rests_the_campaign(harness: Harness) -> None:
    def refuse(_message: Message) -> Outcome:
        error = TransportUnavailable("sender refused")
        error.about = About.SENDER
        raise error

    of_first(harness, refuse)
    harness.run()
    assert harness.progress().state == "resting"
    finish_other(harness)


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


def break_first(harness: Harness, answer: Callable[[Message], Any]) -> None:
    first, usual = harness.campaign_id, harness.transport.send

    def send(messages: Iterable[Message]) -> Iterator[Any]:
        for message in messages:
            if not message.id.startswith(first):
                yield from usual([message])
            elif (told := answer(message)) is not None:
                yield told

    harness.transport.send = send  # type: ignore[method-assign]


@pytest.mark.parametrize("broken", BROKEN)
def test_transport_that_breaks_its_contract_fails_the_campaign_and_no_other(
    harness: Harness, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    caplog.set_level(logging.ERROR)
    break_first(harness, BROKEN[broken])
    harness.run()
    assert harness.progress().state == "resting"
    finish_other(harness)
    for _ in range(12):
        harness.now += MINUTE
        harness.run()
    now = harness.progress()
    assert (now.state, state_of(harness, harness.campaign_id).errors) == ("failed", 3)
    assert now.reason
    assert now.finished_at is not None
    assert (now.sent, now.failed) == (0, 0)
    assert now.uncertain >= 1  # whoever was in its hands may have the message
    assert examine(harness.db) == []
    assert sum("Traceback" in record.getMessage() for record in caplog.records) == 1
    assert "@example.com" not in caplog.text

    harness.transport.send = type(harness.transport).send.__get__(harness.transport)  # type: ignore[method-assign]
    control.retry_failed(harness.db, harness.campaign_id, uncertain=True)
    harness.run()
    assert (harness.progress().state, harness.counts()) == ("completed", {"sent": 25})
    assert examine(harness.db) == []


def test_check_that_raises_blocks_the_transport_and_fails_no_campaign(harness: Harness) -> None:
    def check() -> None:
        raise ZeroDivisionError("no such rate")

    harness.store.fail_after(0)
    harness.run()
    harness.store.recover()
    harness.transport.check = check  # type: ignore[method-assign]
    for _ in range(30):
        harness.now += MINUTE
        harness.run()
    now = harness.progress()
    assert (now.state, now.pending) == ("blocked", 25)
    assert now.reason
    assert "no such rate" in now.reason

    del harness.transport.check  # type: ignore[method-assign]
    harness.now += 10 * MINUTE
    harness.run()
    assert (harness.progress().state, harness.counts()) == ("completed", {"sent": 25})
    finish_other(harness)


def test_message_that_the_transport_chokes_on_is_left_in_doubt_and_the_others_are_sent(harness: Harness) -> None:
    of_first(harness, lambda message: raises(message) if message.recipient.startswith("user00001") else None)
    for _ in range(12):
        harness.run()
        harness.now += MINUTE
    assert (harness.progress().state, harness.counts()) == ("completed_with_issues", {"sent": 24, "uncertain": 1})
    assert harness.delivery("user00001").uncertain_attempts == 2
    assert state_of(harness, harness.campaign_id).errors == 0


def test_outcome_given_twice_is_recorded_once(harness: Harness) -> None:
    first, usual = harness.campaign_id, harness.transport.send

    def send(messages: Iterable[Message]) -> Iterator[Outcome]:
        for outcome in usual(messages):
            yield outcome
            if outcome.id.startswith(first):
                yield Outcome(outcome.id, Status.REFUSED, "no after all")

    harness.transport.send = send  # type: ignore[method-assign]
    harness.run()
    assert (harness.progress().state, harness.counts()) == ("resting", {"sent": 1, "pending": 24})
    assert harness.delivery("user00000").status == "sent"
    assert examine(harness.db) == []


def test_transport_that_stops_asking_fails_the_campaign(harness: Harness) -> None:
    first, usual = harness.campaign_id, harness.transport.send

    def send(messages: Iterable[Message]) -> Iterator[Outcome]:
        for message in messages:
            if message.id.startswith(first):
                yield Outcome(message.id, Status.SENT)
                return
            yield from usual([message])

    harness.transport.send = send  # type: ignore[method-assign]
    harness.run()
    assert harness.progress().state == "resting"
    assert "before it had drawn all" in str(harness.progress().reason)
    finish_other(harness)


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
def test_campaign_that_cannot_be_sent_fails_alone(harness: Harness, what: str) -> None:
    put(harness.db, PAST_THE_API[what].format(id=harness.campaign_id))
    harness.run()
    assert harness.progress().state == "resting"
    finish_other(harness)
    for _ in range(15):
        harness.now += MINUTE
        harness.run()
    assert (harness.progress().state, harness.counts()) == ("failed", {"pending": 25})
    assert harness.progress().reason
    assert [message.id for message in harness.store.messages if message.id.startswith(harness.campaign_id)] == []


@pytest.mark.parametrize("query", ['{"$where": 1}', "null", "[1]", '{"_id": {"$in": 3}}'])
def test_campaign_that_cannot_be_planned_fails_alone_and_is_revived_by_retry_failed(
    db: Database, add_users, caplog: pytest.LogCaptureFixture, query: str
) -> None:
    add_users(db, 25)
    harness = Harness(db)
    bad = harness.accept({"name": "Ann 3"})
    put(db, f"UPDATE campaigns SET query = '{query}' WHERE id = '{bad}'".replace(":", "\\:"))
    harness.now += 1
    good = harness.accept()
    harness.run()
    harness.campaign_id = good
    assert harness.progress().state == "completed"
    harness.campaign_id = bad
    assert harness.progress().state == "resting"
    for _ in range(12):
        harness.now += MINUTE
        harness.run()
    assert (harness.progress().state, len(harness.arrived())) == ("failed", 25)
    assert sum("Traceback" in record.getMessage() for record in caplog.records) == 1
    put(db, f"UPDATE campaigns SET query = '{{\"name\"\\: \"Ann 3\"}}' WHERE id = '{bad}'")
    assert control.retry_failed(db, bad) == 0
    harness.run()
    assert (harness.progress().state, harness.counts()) == ("completed", {"sent": 1})
    assert examine(db) == []


@pytest.mark.parametrize("action", ["pause", "cancel", "resume"])
def test_actions_work_on_a_campaign_that_rests_unplanned(db: Database, add_users, action: str) -> None:
    add_users(db, 5)
    harness = Harness(db)
    harness.accept()
    put(db, "UPDATE campaigns SET query = '[1]'")
    harness.run()
    getattr(control, action)(db, harness.campaign_id)
    put(db, "UPDATE campaigns SET query = '{}'")
    if action == "pause":
        harness.run()
        assert (harness.progress().state, harness.arrived()) == ("paused", [])
        control.resume(db, harness.campaign_id)
    harness.run()
    assert harness.progress().state == ("cancelled" if action == "cancel" else "completed")
    assert harness.progress().reason is None
    assert len(harness.arrived()) == (0 if action == "cancel" else 5)


def test_failed_campaign_is_forgotten_like_any_that_ended(harness: Harness) -> None:
    break_first(harness, raises)
    for _ in range(12):
        harness.run()
        harness.now += MINUTE
    assert harness.progress().state == "failed"
    harness.now += 90 * 24 * 60 * MINUTE
    purge(harness.db, 24 * 60 * MINUTE)
    with harness.db.read() as connection:
        assert connection.scalar(select(Campaign.body).where(Campaign.id == harness.campaign_id)) == ""
    assert (harness.progress().state, harness.progress().reason) == ("failed", None)


def test_unexpected_error_outside_the_transport_leaves_who_was_attempted_in_doubt(
    harness: Harness, monkeypatch
) -> None:
    usual = type(harness.outbox).release

    def fail_once(*arguments: Any) -> int:
        monkeypatch.setattr(type(harness.outbox), "release", usual)
        raise ZeroDivisionError

    monkeypatch.setattr(type(harness.outbox), "release", fail_once)
    assert harness.deliverer.run_next(lambda: False)
    assert (harness.progress().state, harness.counts()) == ("resting", {"sent": 9, "uncertain": 1, "pending": 15})
    assert examine(harness.db) == []
    with harness.db.read() as connection:
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
        harness = Harness(db, transport, batch_size=60, checkpoint=30, max_failure_rate=1.0)
        harness.accept()
        harness.run()
    assert harness.progress().state == state
    assert fault.reply.partition(" ")[2][:20] in str(harness.progress().reason)
    counts = harness.counts()
    assert counts.get("failed", 0) == (20 if state == "paused" else 0)
    assert counts["pending"] >= 30
    with db.read() as connection:
        assert connection.scalars(select(RefusedAddress.address)).all() == []
