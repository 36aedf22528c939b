"""What is kept of a campaign minute by minute: it adds up, it is paged, and no worker waits for another."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, update

from mailer.campaigns import control
from mailer.campaigns.invariants import examine
from mailer.delivery import minutes as minutes_module
from mailer.delivery.deliverer import Deliverer
from mailer.delivery.ledger import LeaseLost
from mailer.delivery.minutes import Minute, RecordedOutcomes, minutes
from mailer.observer import Observer
from mailer.selector import database_at
from mailer.storage.database import Database
from mailer.storage.models import CampaignMinute, DeliveryStatus
from tests.calling import calling
from tests.harness import MINUTE, START, Harness
from transports.base import Status

FIRST = START - START % MINUTE


def kept(harness: Harness) -> list[Minute]:
    return minutes(harness.db, harness.campaign_id, after=None, count=1000)


def minute(number: int, **counts: int) -> Minute:
    return Minute(FIRST + number * MINUTE, **{**dict.fromkeys(DeliveryStatus, 0), **counts})


def test_each_outcome_counts_in_the_minute_in_which_it_was_recorded(
    db: Database, add_users: Callable[..., Any]
) -> None:
    add_users(db, 6)
    harness = Harness(db, uncertain="hold", max_failure_rate=1.0)
    for number, answers in enumerate([[Status.DEFERRED, Status.DEFERRED], [Status.REFUSED], [Status.UNCERTAIN]]):
        harness.store.answer(f"user{number:05d}@example.com", *answers)
    harness.accept()
    harness.run()
    assert kept(harness) == [minute(0, sent=3, failed=1, deferred=1, uncertain=1)]

    harness.now += 2 * MINUTE
    harness.run()
    harness.now += 10 * MINUTE
    harness.run()

    assert kept(harness) == [
        minute(0, sent=3, failed=1, deferred=1, uncertain=1),
        minute(2, deferred=1),
        minute(12, sent=1),
    ]
    assert examine(db) == []


def test_what_a_cancellation_skips_and_a_person_tries_again_counts(db: Database, add_users: Callable[..., Any]) -> None:
    add_users(db, 4)
    harness = Harness(db, max_failure_rate=1.0)
    harness.store.answer("user00000@example.com", Status.REFUSED)
    harness.accept()
    harness.run()
    harness.now += MINUTE
    assert control.retry_failed(db, harness.campaign_id) == 1
    harness.run()
    assert kept(harness) == [minute(0, sent=3, failed=1), minute(1, sent=1)]

    harness.store.answer("user00001@example.com", Status.DEFERRED)
    harness.accept()
    harness.run()
    harness.now += MINUTE
    assert control.cancel(db, harness.campaign_id) == 1
    assert kept(harness) == [minute(1, sent=3, deferred=1), minute(2, skipped=1)]


def test_doctor_finds_minutes_that_say_more_than_the_batches(db: Database, add_users: Callable[..., Any]) -> None:
    add_users(db, 3)
    harness = Harness(db)
    harness.accept()
    harness.run()
    assert examine(db) == []
    with db.write() as connection:
        connection.execute(update(CampaignMinute).values(sent=4))
    assert [finding.problem for finding in examine(db)] == [
        "its minutes have more outcomes that are sent than its batches"
    ]


class Retries(Observer):
    def __init__(self) -> None:
        self.retries = 0
        self.outcomes: Counter[str] = Counter()
        self.lock = threading.Lock()

    def database_retried(self) -> None:
        self.retries += 1

    def recorded(self, outcomes: Any) -> None:
        with self.lock:
            self.outcomes.update(outcomes)


class Crew:
    """Four threads that deliver one campaign: some die with messages in hand, and the transport fails for each."""

    def __init__(self, harness: Harness, observer: Retries) -> None:
        self.harness = harness
        self.observer = observer
        self.failures: list[BaseException] = []
        self.threads = [threading.Thread(target=self.work, args=(number,)) for number in range(4)]

    def run(self) -> None:
        for thread in self.threads:
            thread.start()
        for thread in self.threads:
            thread.join(60)
        self.harness.run()
        while self.harness.progress().finished_at is None:
            self.harness.now += 60 * MINUTE
            self.harness.run()

    def work(self, number: int) -> None:
        parts = (self.harness.outbox, self.harness.transport, self.harness.deliverer._links, self.harness.settings)
        template_of = partial(self.harness.deliverer._template, _version=1)
        deliverer = Deliverer(*parts, template_of, self.observer)
        try:
            for turn in range(40):
                if turn % 9 == number:
                    self.die()
                elif turn % 23 == number:
                    self.harness.store.fail_after(1)
                elif not deliverer.run_next(lambda: False):
                    self.harness.store.recover()
                    self.harness.now += 40_000  # leases end, and the breaker is half-open
        except BaseException as error:  # noqa: BLE001 - the test tells it
            self.failures.append(error)

    def die(self) -> None:
        """Claim a batch, say who is attempted, and never be heard of again."""
        claim = self.harness.outbox.claim()
        if claim is not None:
            items = self.harness.outbox.due_items(claim)
            with suppress(LeaseLost):
                self.harness.outbox.checkpoint(claim, [], items[:1], len(items))


@pytest.mark.slow
def test_workers_of_one_campaign_neither_deadlock_nor_lose_a_count(
    postgresql_url: str, add_users: Callable[..., Any]
) -> None:
    """In the same minute, while the breaker opens, addresses are refused, leases end and workers die."""
    db = database_at(postgresql_url)
    add_users(db, 120)
    observer = Retries()
    limits = {"max_failure_rate": 1.0, "suppress_after": 3, "same_refusals": 0}
    harness = Harness(db, observer=observer, batch_size=5, checkpoint=2, **limits)
    for number in range(0, 120, 7):
        harness.store.answer(f"user{number:05d}@example.com", Status.REFUSED)
    harness.accept()
    harness.plan()
    crew = Crew(harness, observer)

    crew.run()

    assert crew.failures == []
    assert crew.observer.retries == 0  # as after a deadlock
    assert examine(db) == []
    told = Counter({status.value: sum(getattr(one, status) for one in kept(harness)) for status in DeliveryStatus})
    assert +told == crew.observer.outcomes
    assert told["sent"] == harness.progress().sent
    with db.read() as connection:
        assert len(set(connection.scalars(select(CampaignMinute.part)))) > 1
    db.close()


@pytest.mark.slow
def test_workers_do_not_wait_for_each_others_commit(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads write to the same minute, and neither has committed when both have written."""
    number = threading.local()
    monkeypatch.setattr(minutes_module, "threading", SimpleNamespace(get_native_id=lambda: number.value))
    number.value = 0
    db = database_at(postgresql_url)
    written = threading.Barrier(2, timeout=20)

    def write(part: int) -> None:
        number.value = part
        with db.write() as connection:
            outcomes = RecordedOutcomes()
            outcomes.add("c", START, {DeliveryStatus.SENT: part + 1})
            outcomes.store(connection)
            written.wait()

    other = threading.Thread(target=write, args=(1,))
    other.start()
    write(0)
    other.join()
    assert minutes(db, "c", after=None, count=9) == [minute(0, sent=3)]
    db.close()


@pytest.fixture
def client(sqlite_db: Database, add_users: Callable[..., Any]) -> Iterator[FlaskClient]:
    add_users(sqlite_db, 3)
    with calling(sqlite_db) as made:
        yield made


def test_minutes_are_paged_over_http(sqlite_db: Database, client: FlaskClient) -> None:
    harness = Harness(sqlite_db)
    campaign_id = harness.accept()
    rows = [minute(number, sent=number + 1) for number in range(5)]
    for row in rows:
        with sqlite_db.write() as connection:
            outcomes = RecordedOutcomes()
            outcomes.add(campaign_id, row.minute + 17, {DeliveryStatus.SENT: row.sent})
            outcomes.store(connection)
    path = f"/api/v1/mailer/campaigns/{campaign_id}/minutes"

    first = client.get(path, query_string={"count": 3}).json
    second = client.get(path, query_string={"count": 3, "after": first["next"]}).json

    assert first["success"] is True
    assert [one["sent"] for one in first["minutes"] + second["minutes"]] == [1, 2, 3, 4, 5]
    assert first["minutes"][0] == {
        **dict.fromkeys(DeliveryStatus, 0), "minute": "2023-11-14T22:13:00.000Z", "sent": 1
    }  # fmt: skip
    assert (first["count"], second["count"], second["next"]) == (3, 2, None)


def test_minutes_of_others_and_bad_questions_are_refused(sqlite_db: Database, client: FlaskClient) -> None:
    harness = Harness(sqlite_db)
    campaign_id = harness.accept()
    path = f"/api/v1/mailer/campaigns/{campaign_id}/minutes"
    assert client.get(path).json == {"success": True, "minutes": [], "count": 0, "next": None}
    for wrong in ({"after": "yesterday"}, {"count": 1001}, {"from": "1"}):
        assert client.get(path, query_string=wrong).status_code == 400
    with sqlite_db.write() as connection:
        connection.exec_driver_sql("UPDATE campaigns SET caller_id = 'somebody'")
    assert client.get(path).status_code == 404
