"""`MAILER_MAX_PER_PERSON`: who had enough is skipped and told why, and nobody gets more while campaigns overlap."""

from __future__ import annotations

from threading import Thread
from typing import Any

import pytest
from sqlalchemy import event, func, select

from app import create_app
from mailer.callers.tokens import Tokens
from mailer.campaigns import control
from mailer.campaigns.people.erasure import erase
from mailer.delivery.checkpoints.frequency_cap import forgetting, who_had_enough
from mailer.delivery.deliverer import Deliverer
from mailer.delivery.outbox import Outbox
from mailer.errors import ConfigError
from mailer.selector import database_at
from mailer.settings import Settings
from mailer.settings.per_person import FrequencyCap
from mailer.storage.database import Database
from mailer.storage.models import Delivery, Priority, RecentMail
from mailer.storage.steps.small_steps import run_steps
from tests.harness import MINUTE, Harness

DAY = 24 * 60 * MINUTE
REASON = "Has had 1 within a day (MAILER_MAX_PER_PERSON)."
ONE = FrequencyCap(1, "day")


class Capped(Harness):
    """A process with the cap `cap`."""

    cap: FrequencyCap | None = ONE

    def deliver_through(self, transport: Any) -> None:
        """As usual, with the cap."""
        self.outbox = Outbox(self.db, lease=self.lease, cap=self.cap)
        super().deliver_through(transport)


@pytest.fixture
def harness(db: Database, add_users) -> Capped:
    add_users(db, 25)
    return Capped(db)


def kept(db: Database) -> int:
    with db.read() as connection:
        return connection.scalar(select(func.count()).select_from(RecentMail)) or 0


def test_who_had_enough_is_known_before(harness: Capped) -> None:
    harness.accept({"roles": "user", "_id": {"$lt": "user00010"}})
    harness.run()
    assert who_had_enough(harness.db, {"roles": "user"}, ONE, 5.0) == 10
    assert who_had_enough(harness.db, {"_id": {"$gte": "user00009"}}, ONE, 5.0) == 1
    assert who_had_enough(harness.db, {}, FrequencyCap(2, "day"), 5.0) == 0
    client = create_app(Settings(database_url=harness.db.url, secret_key=("k" * 40,), max_per_person=ONE)).test_client()
    client.application.extensions["mailer"].db.clock = harness.db.clock
    headers = {"X-User-Id": "user00000", "X-Auth-Token": Tokens(harness.db).create("user00000", ["send-mail"])}
    told = client.post("/api/v1/mailer/audience", json={}, headers=headers).get_json()
    said = "10 of them will be skipped unless it is urgent, as who has had 1 within a day (MAILER_MAX_PER_PERSON)."
    assert (told["count"], said in told["warnings"], "had-enough" in told["warningCodes"]) == (25, True, True)
    harness.now += DAY
    assert who_had_enough(harness.db, {}, ONE, 5.0) == 0


def test_second_campaign_of_a_day_skips_who_had_the_first_and_says_why(harness: Capped) -> None:
    harness.accept({"roles": "user", "_id": {"$lt": "user00010"}})
    harness.run()
    harness.now += DAY - 1
    harness.accept()
    harness.run()
    assert harness.counts() == {"sent": 15, "skipped": 10}
    assert harness.delivery("user00003").reply == REASON
    harness.now += 1
    harness.accept({"_id": {"$lt": "user00012"}})
    harness.run()
    assert harness.counts() == {"sent": 10, "skipped": 2}  # the first ones' day is over


def test_urgent_campaigns_and_dry_runs_neither_wait_nor_count(harness: Capped) -> None:
    harness.accept(dry_run=True)
    harness.run()
    harness.accept(priority=Priority.URGENT)
    harness.run()
    assert (harness.counts(), kept(harness.db)) == ({"sent": 25}, 0)
    harness.accept()
    harness.run()
    assert harness.counts() == {"sent": 25}
    harness.accept(priority=Priority.URGENT)
    harness.run()
    assert harness.counts() == {"sent": 25}


def test_more_than_one_may_be_allowed(db: Database, add_users) -> None:
    add_users(db, 3)

    class Twice(Capped):
        cap = FrequencyCap(2, "hour")

    harness = Twice(db)
    sent = []
    for _ in range(3):
        harness.accept()
        harness.run()
        sent.append(harness.counts())
        harness.now += 1
    assert sent == [{"sent": 3}, {"sent": 3}, {"skipped": 3}]


def test_campaign_that_is_under_way_counts_and_one_that_was_cancelled_does_not(harness: Capped) -> None:
    first = harness.accept()
    harness.plan()
    harness.deliverer.run_next(lambda: False)
    with harness.db.write() as connection:  # as if its worker had begun the next checkpoint
        rows = [{"user_id": f"user{number:05d}", "campaign_id": first, "at": harness.now} for number in range(10, 13)]
        connection.execute(RecentMail.__table__.insert(), rows)
    control.pause(harness.db, first)
    harness.accept()
    harness.run()
    assert harness.counts() == {"sent": 12, "skipped": 13}
    harness.now += DAY
    second = harness.accept()
    harness.plan()
    with harness.db.write() as connection:
        connection.execute(
            RecentMail.__table__.insert(), [{**row, "campaign_id": second, "at": harness.now} for row in rows]
        )
    control.cancel(harness.db, second)
    harness.accept()
    harness.run()
    assert harness.counts() == {"sent": 25}


def test_who_was_refused_for_good_may_get_another_and_who_waits_may_not(harness: Capped) -> None:
    first = harness.accept({"_id": {"$lt": "user00003"}})
    harness.run()
    with harness.db.write() as connection:
        for user_id, status in (("user00000", "failed"), ("user00001", "deferred"), ("user00002", "uncertain")):
            mine = Delivery.__table__.update().where(Delivery.user_id == user_id, Delivery.campaign_id == first)
            connection.execute(mine.values(status=status))
    harness.accept({"_id": {"$lt": "user00004"}})
    harness.plan()
    harness.deliverer.run_next(lambda: False)
    assert {one: harness.delivery(f"user0000{one}").status for one in range(4)} == {
        0: "sent",
        1: "skipped",
        2: "skipped",
        3: "sent",
    }


def test_retry_of_a_message_is_no_second_one(harness: Capped) -> None:
    harness.accept({"_id": "user00001"})
    harness.plan()
    with harness.db.write() as connection:
        row = {"user_id": "user00001", "campaign_id": harness.campaign_id, "at": harness.now}
        connection.execute(RecentMail.__table__.insert(), [row])
    harness.run()
    assert harness.counts() == {"sent": 1}


def test_campaigns_that_are_sent_at_once_reach_nobody_twice(harness: Capped) -> None:
    """Two workers, each with a campaign of its own for the same people."""
    for _ in range(2):
        harness.accept()
        harness.plan()
    databases = [database_at(harness.db.url) for _ in range(2)]

    def work(db: Database) -> None:
        db.clock = harness.db.clock
        outbox = Outbox(db, lease=harness.lease, cap=ONE)
        links, template = harness.deliverer._links, harness.deliverer._template.__wrapped__
        template_of = lambda campaign_id: template(campaign_id, 1)  # noqa: E731
        deliverer = Deliverer(outbox, harness.transport, links, harness.settings, template_of)
        while deliverer.run_next(lambda: False):
            pass

    threads = [Thread(target=work, args=(db,)) for db in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for db in databases:
        db.close()
    assert sorted(harness.arrived()) == sorted({f"user{number:05d}@example.com" for number in range(25)})


def test_without_the_setting_nothing_is_written_or_read(db: Database, add_users) -> None:
    add_users(db, 5)
    harness, statements = Harness(db), []

    @event.listens_for(db.engine, "before_cursor_execute")
    def note(_connection, _cursor, statement: str, *_rest: object) -> None:
        statements.append(statement)

    harness.accept()
    harness.run()
    assert harness.counts() == {"sent": 5}
    assert not [one for one in statements if "recent_mails" in one]


def test_what_is_old_and_who_is_erased_is_forgotten(harness: Capped, tmp_path) -> None:
    harness.accept()
    harness.run()
    assert kept(harness.db) == 25
    erase(harness.db, "user00003", spool_path=tmp_path / "spool")
    assert kept(harness.db) == 24
    harness.now += DAY - 1
    run_steps(forgetting(harness.db, DAY))
    assert kept(harness.db) == 24
    harness.now += 1
    run_steps(forgetting(harness.db, DAY))
    assert kept(harness.db) == 0


@pytest.mark.parametrize(("text", "cap"), [("1/day", ONE), (" 3 / week ", FrequencyCap(3, "week"))])
def test_setting_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path, text: str, cap: FrequencyCap) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILER_MAX_PER_PERSON", text)
    assert Settings.from_env().max_per_person == cap
    assert str(cap) == f"{cap.count}/{cap.unit}"


@pytest.mark.parametrize("text", ["1", "0/day", "1/month", "-1/day", "1/day,2/week", "one/day"])
def test_setting_that_means_nothing_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILER_MAX_PER_PERSON", text)
    with pytest.raises(ConfigError, match="MAILER_MAX_PER_PERSON"):
        Settings.from_env()
