"""What is kept of a campaign by domain and by answer: it adds up with the deliveries at every step, and has bounds."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from mailer.audience import eligibility
from mailer.campaigns import control
from mailer.campaigns.invariants import examine
from mailer.campaigns.reports.report import CANCELLED, LeftOut, Report, report
from mailer.campaigns.retention import purge
from mailer.delivery.tallies.answers import MOST, AnswerCount
from mailer.delivery.tallies.domains import LARGEST, DomainCounts
from mailer.storage.database import Database
from mailer.storage.models import CampaignAnswer, CampaignDomain, Delivery, DeliveryStatus, RefusedAddress, User
from tests.conftest import user_row
from tests.drills import rounds
from tests.harness import MINUTE, Harness
from transports.base import Message, Outcome, Status
from transports.memory import MemoryTransport

LIMITS = {"max_failure_rate": 1.0, "suppress_after": 0, "same_refusals": 0}
DAY = 24 * 60 * MINUTE


def people(db: Database, domains: list[str]) -> None:
    """A user at each of `domains`."""
    with db.write() as connection:
        rows = [user_row(n, email=f"user{n:05d}@{domain}") for n, domain in enumerate(domains)]
        connection.execute(insert(User), rows)


def reported(harness: Harness) -> Report:
    return report(harness.db, harness.progress())


def by_domain(harness: Harness) -> dict[str, dict[str, int]]:
    """The counts that are not zero."""
    found = {}
    for one in reported(harness).domains:
        counts = {status.value: getattr(one, status) for status in DeliveryStatus}
        found[one.domain] = {status: count for status, count in counts.items() if count}
    return found


def on_record(harness: Harness, named: set[str]) -> dict[str, dict[str, int]]:
    """The same, counted one by one from the deliveries."""
    mine = Delivery.campaign_id == harness.campaign_id
    with harness.db.read() as connection:
        rows = connection.execute(select(Delivery.address, Delivery.status).where(mine)).all()
    found: dict[str, Counter[str]] = {}
    for address, status in rows:
        domain = (address or "").rpartition("@")[2].lower()
        found.setdefault(domain if domain in named else "", Counter())[status] += 1
    return {domain: dict(counts) for domain, counts in found.items()}


class Answering(MemoryTransport):
    """Refuses every message, each time with other words."""

    def __init__(self, words: Callable[[int], str]) -> None:
        super().__init__()
        self._words = words
        self._count = 0

    def send(self, messages: Any) -> Any:
        for message in messages:
            self._count += 1
            yield self._answer(message)

    def _answer(self, message: Message) -> Outcome:
        return Outcome(message.id, Status.REFUSED, self._words(self._count))


@pytest.mark.ci
def test_counts_are_those_of_the_deliveries_after_each_step(db: Database) -> None:
    """Refusals, soft failures, uncertain ones, second tries and a cancellation, at random."""
    chance = random.Random(23)
    domains = ["gmail.example"] * 6 + ["Outlook.example"] * 4 + ["gmx.example"] * 2 + ["x.example"]
    people(db, [chance.choice(domains) for _ in range(60)])
    for _ in range(rounds(3, 60)):
        harness = Harness(db, batch_size=20, checkpoint=4, **LIMITS)
        for number in range(60):
            answers = chance.choices(list(Status), weights=[6, 2, 2, 1], k=3)
            for domain in set(domains):
                harness.store.answer(f"user{number:05d}@{domain}", *answers)
        harness.accept()
        harness.plan()
        for _ in range(14):
            step = chance.random()
            if step < 0.15 and harness.counts().get("failed"):
                control.pause(db, harness.campaign_id) if harness.progress().state == "running" else None
                control.retry_failed(db, harness.campaign_id, uncertain=chance.random() < 0.5)
                control.resume(db, harness.campaign_id) if harness.progress().state == "paused" else None
            elif step < 0.5:
                harness.now += chance.choice([1, 10, 300]) * MINUTE
            harness.deliverer.run_next(lambda: False)
            named = {one.domain for one in reported(harness).domains} - {""}
            assert by_domain(harness) == on_record(harness, named)
            assert examine(db) == []
        if harness.progress().finished_at is None:
            control.cancel(db, harness.campaign_id)
            assert by_domain(harness) == on_record(harness, named)
        failed = sum(group.count for group in reported(harness).failures)
        assert failed == harness.counts().get("failed", 0)
        skipped = sum(group.count for group in reported(harness).left_out)
        assert skipped == harness.counts().get("skipped", 0)


def test_largest_domains_have_rows_and_the_rest_is_one(db: Database) -> None:
    people(db, [f"small{number}.example" for number in range(50)] + ["large.example"] * 20 + ["middle.example"] * 5)
    harness = Harness(db, batch_size=100, checkpoint=10)
    harness.accept()
    harness.run()
    found = reported(harness).domains
    assert len(found) == LARGEST + 1
    assert [(one.domain, one.sent) for one in found[:2]] == [("large.example", 20), ("middle.example", 5)]
    assert (found[-1].domain, found[-1].sent) == ("", 75 - 25 - (LARGEST - 2))
    with db.read() as connection:
        rows = connection.scalar(select(func.count()).select_from(CampaignDomain)) or 0
    assert rows <= 8 * (LARGEST + 1)


def test_dry_run_counts_nothing(db: Database, add_users: Callable[..., list[str]]) -> None:
    add_users(db, 1)
    harness = Harness(db)
    harness.accept(dry_run=True)
    harness.run()
    assert (reported(harness).domains, reported(harness).failures) == ([], [])


def test_failures_are_grouped_by_what_they_have_in_common_and_keep_nobodys_address(
    db: Database, add_users: Callable[..., list[str]]
) -> None:
    add_users(db, 12)

    def words(count: int) -> str:
        if count % 3:
            return f"550 5.7.1 blocked for user{count:05d}@example.com, ticket {count * 7919}"
        return "554 too many links in <mail.example.org>"

    harness = Harness(db, Answering(words), batch_size=12, **LIMITS)
    harness.accept()
    harness.run()
    failures = reported(harness).failures
    assert [group.count for group in failures] == [8, 4]
    assert {group.about for group in failures} == {"message"}
    assert failures[0].answer.startswith("550 5.7.1 blocked for #")
    assert "@" not in str(failures)
    control.retry_failed(db, harness.campaign_id)
    assert reported(harness).failures == []
    harness.run()
    assert sum(group.count for group in reported(harness).failures) == 12


def test_answers_that_differ_each_time_fill_no_table(db: Database, add_users: Callable[..., list[str]]) -> None:
    add_users(db, 150)
    letters = "abcdefghijklmnopqrstuvwxyz"
    harness = Harness(db, Answering(lambda n: f"550 no {letters[n % 26]}{letters[n // 26]}"), batch_size=50, **LIMITS)
    harness.accept()
    harness.run()
    failures = reported(harness).failures
    assert len(failures) == MOST + 1
    assert failures[0] == AnswerCount("failed", "message", "", 150 - MOST)
    assert examine(db) == []


def test_who_was_skipped_is_counted_by_why(db: Database, add_users: Callable[..., list[str]]) -> None:
    add_users(db, 9)
    harness = Harness(db, batch_size=9, checkpoint=9)
    harness.accept()
    harness.plan()
    claim = harness.outbox.claim()
    assert claim is not None
    items = harness.outbox.due_items(claim)
    with db.write() as connection:
        changes = {0: {"unsubscribed_at": harness.now}, 1: {"unsubscribed_at": harness.now}, 2: {"active": False}}
        for number, values in (changes | {3: {"email": None}}).items():
            connection.execute(update(User).where(User.id == f"user{number:05d}").values(**values))
        blocked = {"address": "user00004@example.com", "campaigns": 0, "campaign_ids": "", "reply": "", "rule": ""}
        blocked |= {"refused_at": 1, "suppressed_at": 1, "blocked_at": 1, "block_reason": "a secret reason"}
        connection.execute(insert(RefusedAddress), [blocked])
    harness.outbox.checkpoint(claim, [], items, len(items))
    assert {one.reason: one.count for one in reported(harness).left_out} == {
        eligibility.UNSUBSCRIBED: 2,
        eligibility.DEACTIVATED: 1,
        eligibility.NO_ADDRESS: 1,
        "The address is suppressed": 1,
    }


def test_cancellation_is_the_reason_of_those_who_waited(db: Database, add_users: Callable[..., list[str]]) -> None:
    add_users(db, 4)
    harness = Harness(db, **LIMITS)
    harness.store.answer("user00001@example.com", Status.DEFERRED)
    harness.accept()
    harness.run()
    control.cancel(db, harness.campaign_id)
    assert reported(harness).left_out == [LeftOut(CANCELLED, 1)]
    assert reported(harness).domains == [DomainCounts("example.com", 3, 0, 0, 0, 1)]


def test_pace_is_that_of_the_last_minutes_and_then_of_all(db: Database, add_users: Callable[..., list[str]]) -> None:
    add_users(db, 40)
    harness = Harness(db, batch_size=10)
    harness.accept()
    assert reported(harness).pace.per_minute == 0
    harness.plan()
    for _ in range(2):
        harness.deliverer.run_next(lambda: False)
        harness.now += MINUTE
    pace = reported(harness).pace
    assert 8 <= pace.per_minute <= 10
    assert pace.seconds_left is not None
    assert 100 <= pace.seconds_left <= 160
    control.pause(db, harness.campaign_id)
    assert reported(harness).pace.seconds_left is None
    control.resume(db, harness.campaign_id)
    harness.run()
    assert (reported(harness).pace.per_minute, reported(harness).pace.seconds_left) == (13, None)


def test_campaign_from_before_the_upgrade_is_counted_from_now_on(
    db: Database, add_users: Callable[..., list[str]]
) -> None:
    add_users(db, 20)
    harness = Harness(db, batch_size=10, **LIMITS)
    harness.store.answer("user00001@example.com", Status.DEFERRED)
    harness.accept()
    harness.plan()
    harness.deliverer.run_next(lambda: False)
    with db.write() as connection:
        connection.execute(CampaignDomain.__table__.delete())
    harness.outbox._records.domains.__init__()  # type: ignore[misc]
    harness.now += 10 * MINUTE
    harness.run()
    (one,) = reported(harness).domains
    assert (one.domain, one.sent, one.deferred) == ("example.com", 11, 0)
    assert examine(db) == []


def test_purge_forgets_both(db: Database, add_users: Callable[..., list[str]]) -> None:
    add_users(db, 3)
    harness = Harness(db, **LIMITS)
    harness.store.answer("user00001@example.com", Status.REFUSED)
    harness.accept()
    harness.run()
    harness.now += 3 * DAY
    assert purge(db, DAY).campaigns == 1
    with db.read() as connection:
        for table in (CampaignDomain, CampaignAnswer):
            assert connection.scalar(select(func.count()).select_from(table)) == 0


def test_doctor_finds_domains_that_say_more_than_the_batches(db: Database, add_users: Callable[..., list[str]]) -> None:
    add_users(db, 3)
    harness = Harness(db)
    harness.accept()
    harness.run()
    with db.write() as connection:
        connection.execute(update(CampaignDomain).values(sent=4))
    assert [finding.problem for finding in examine(db)] == [
        "its domains have more outcomes that are sent than its batches"
    ]


@pytest.mark.slow
def test_two_workers_settle_the_domains_of_a_campaign_once(db: Database) -> None:
    """Each has not read what the other has settled."""
    people(db, ["a.example"] * 20 + ["b.example"] * 20)
    first = Harness(db, batch_size=10, checkpoint=5)
    first.accept()
    first.plan()
    second = Harness(db, first.transport, batch_size=10, checkpoint=5)
    second.campaign_id = first.campaign_id
    for _ in range(2):
        for harness in (first, second):
            harness.deliverer.run_next(lambda: False)
    assert by_domain(first) == {"a.example": {"sent": 20}, "b.example": {"sent": 20}}
