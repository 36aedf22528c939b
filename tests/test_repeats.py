"""A client that timed out posts again: one campaign, on both databases, from several threads and processes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import requests
from sqlalchemy import func, select, update

from mailer.campaigns import control
from mailer.campaigns.accept import Accepted, accept
from mailer.campaigns.draft import Draft
from mailer.campaigns.retention import DAY, purge
from mailer.storage.database import Database
from mailer.storage.models import Campaign, IdempotencyKey
from tests.harness import START
from tests.service import PAYLOAD, Service

WINDOW = 120_000
DRAFT = Draft("News", "news@example.com", "Hi", "Hello [unsubscribe]", {"roles": "user"}, False)


@pytest.fixture
def post(db: Database) -> Callable[..., Accepted]:
    db.clock = lambda _connection: START

    def post(draft: Draft = DRAFT, *, caller: str = "ann", at: int = 0, key: str | None = None, window: int = WINDOW):
        db.clock = lambda _connection: START + at
        return accept(db, caller, draft, key, repeat_window=window)

    return post


def count(db: Database) -> int:
    with db.read() as connection:
        return connection.scalar(select(func.count()).select_from(Campaign)) or 0


def test_same_order_within_the_window_is_the_same_campaign(db: Database, post) -> None:
    first = post()
    again = post(at=WINDOW - 1)
    assert (first.replayed, again.replayed) == (False, True)
    assert (again.campaign_id, count(db)) == (first.campaign_id, 1)


def test_window_is_that_of_the_first_and_ends(db: Database, post) -> None:
    first = post()
    post(at=WINDOW - 1)
    second = post(at=WINDOW)
    assert not second.replayed
    assert second.campaign_id != first.campaign_id
    assert post(at=WINDOW + 1).campaign_id == second.campaign_id


@pytest.mark.parametrize(("back", "replayed"), [(WINDOW - 1, True), (WINDOW, False), (3_600_000, False)])
def test_clock_that_was_set_back_swallows_no_later_campaign(db: Database, post, back: int, replayed: bool) -> None:
    post()
    assert post(at=-back).replayed is replayed


OTHERS: dict[str, dict[str, Any]] = {
    "name": {"sender_name": "New"},
    "from": {"sender": "other@example.com"},
    "subject": {"subject": "Hi "},
    "body": {"body": "Hello  [unsubscribe]"},
    "query": {"query": {"roles": "admin"}},
    "everybody": {"query": {}},
    "dry run": {"dry_run": True},
}


@pytest.mark.parametrize("changes", OTHERS.values(), ids=OTHERS)
def test_another_order_is_another_campaign(db: Database, post, changes: dict[str, Any]) -> None:
    post()
    assert not post(replace(DRAFT, **changes)).replayed
    assert count(db) == 2


def test_selector_in_another_order_is_another_one(db: Database, post) -> None:
    post(replace(DRAFT, query={"customFields": {"a": 1, "b": 2}}))
    assert not post(replace(DRAFT, query={"customFields": {"b": 2, "a": 1}})).replayed


def test_another_caller_is_another_campaign(db: Database, post) -> None:
    post()
    assert not post(caller="bob").replayed


def test_dry_runs_are_not_compared(db: Database, post) -> None:
    dry = replace(DRAFT, dry_run=True)
    assert [post(dry).replayed for _ in range(2)] == [False, False]


def test_zero_turns_it_off(db: Database, post) -> None:
    assert [post(window=0).replayed for _ in range(2)] == [False, False]


def test_key_decides_where_one_is_given(db: Database, post) -> None:
    first = post()
    keyed = post(key="k")
    assert not keyed.replayed
    assert post(key="other").campaign_id not in (first.campaign_id, keyed.campaign_id)
    again = post(key="k", at=WINDOW + 1)
    assert (again.campaign_id, again.replayed) == (keyed.campaign_id, True)


def test_order_without_a_key_repeats_one_with_a_key(db: Database, post) -> None:
    keyed = post(key="k")
    assert post(at=1) == Accepted(keyed.campaign_id, replayed=True)


STATES = {"accepted": True, "planning": True, "running": True, "paused": True, "completed": True}
STATES |= {"completed_with_issues": True, "resting": True, "cancelled": False, "failed": False}


@pytest.mark.parametrize(("state", "same"), STATES.items(), ids=STATES)
def test_campaign_that_was_cancelled_or_failed_is_posted_anew(db: Database, post, state: str, same: bool) -> None:
    first = post()
    with db.write() as connection:
        connection.execute(update(Campaign).where(Campaign.id == first.campaign_id).values(state=state))
    assert post(at=1).replayed is same


def test_cancelled_one_does_not_hide_the_one_after_it(db: Database, post) -> None:
    first = post()
    control.cancel(db, first.campaign_id)
    second = post(at=1)
    assert post(at=2) == Accepted(second.campaign_id, replayed=True)


def test_simultaneous_posts_are_one_campaign(db: Database) -> None:
    for number in range(10):
        draft = replace(DRAFT, subject=f"{number}")
        with ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(accept, db, "ann", draft, repeat_window=WINDOW) for _ in range(8)]
            done = [job.result() for job in jobs]
        assert len({accepted.campaign_id for accepted in done}) == 1
        assert [accepted.replayed for accepted in done].count(False) == 1
    assert count(db) == 10


def test_purge_forgets_the_fingerprint(db: Database, post) -> None:
    first = post()
    control.cancel(db, first.campaign_id)
    db.clock = lambda _connection: START + WINDOW
    assert purge(db, 1).campaigns == 1
    with db.read() as connection:
        assert connection.scalar(select(Campaign.fingerprint)) is None


@pytest.mark.slow
def test_repeated_post_over_several_processes(tmp_path, database_url: str, add_users) -> None:
    made = Service(
        tmp_path, workers=3, database_url=database_url, transport="memory:", rate_limit="", repeat_window=120
    )
    add_users(made.db, 1)
    with made as service:
        headers = service.headers("user00000")
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda _: service.post(headers), range(24)))
        assert {(answer.status_code, answer.text) for answer in answers} == {(200, answers[0].text)}
        assert answers[0].json() == {"success": True}
        assert len({answer.headers["Location"] for answer in answers}) == 1
        assert [answer.headers.get("Idempotent-Replayed") for answer in answers].count("true") == 23
        fresh = service.post(headers, subject="Another")
        assert "Idempotent-Replayed" not in fresh.headers
        form = requests.post(f"{service.url}/api/v1/mailer", data=PAYLOAD, headers=headers, timeout=30)
        assert form.headers["Idempotent-Replayed"] == "true"  # the same in another encoding
        assert count(made.db) == 2


def test_window_is_two_minutes_unless_set(tmp_path, add_users) -> None:
    from mailer.settings import Settings

    assert Settings().repeat_window == 120


def test_key_is_known_for_as_long_as_the_setting_says(db: Database) -> None:
    draft = Draft("News", "news@example.com", "Hi", "Hello [unsubscribe]", {}, False)
    now = [START]
    db.clock = lambda _connection: now[0]
    first = accept(db, "ann", draft, "monthly", key_lifetime=40 * DAY)
    now[0] += 39 * DAY
    purge(db, DAY, 40 * DAY)
    assert accept(db, "ann", draft, "monthly", key_lifetime=40 * DAY) == Accepted(first.campaign_id, replayed=True)
    now[0] += 2 * DAY
    assert not accept(db, "ann", draft, "monthly", key_lifetime=40 * DAY).replayed
    now[0] += 90 * DAY
    purge(db, DAY, 40 * DAY)
    with db.read() as connection:
        assert connection.scalar(select(func.count()).select_from(IdempotencyKey)) == 0
