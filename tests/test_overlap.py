"""The warning of another campaign, anybody's, that reaches most of the same people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.event import listen

from app import create_app
from mailer.audience.earlier import Earlier, narrowed
from mailer.callers.tokens import SEND_MAIL, Tokens
from mailer.campaigns import control
from mailer.campaigns.accept import accept
from mailer.campaigns.checks import overlap
from mailer.campaigns.checks.overlap import CAMPAIGNS, LOOKED_AT, NAMED, QUERIES, RECENT, Overlaps, names_people
from mailer.campaigns.draft import Draft
from mailer.errors import QueryTimeout
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import Batch, Campaign, User
from tests.databases import migrated_sqlite
from tests.harness import START, Harness

NEWS = {"roles": "news"}


class AskedAgain:
    def are_most_of(self, _other: object) -> bool:
        return pytest.fail("it asks again")


FEW = {"customFields.team": "ops"}


@pytest.fixture
def harness(db: Database, add_users) -> Harness:
    """40 users; the role `news` have those from the 20th on, and two of them are in the team `ops`."""
    add_users(db, 40)
    with db.write() as connection:
        for number in range(40):
            document = {"_id": f"user{number:05d}", "active": True, "roles": ["news" if number >= 20 else "user"]}
            document |= {"customFields": {"team": "ops" if number in (20, 30) else "-"}}
            row = {"document": document, "roles": f"\n{document['roles'][0]}\n"}
            connection.execute(update(User).where(User.id == document["_id"]).values(**row))
    return Harness(db)


def said(harness: Harness, query: Mapping[str, Any]) -> list[str]:
    """The ids in the warnings about a campaign that is just accepted."""
    campaign_id = harness.accept(query)
    return [one.split()[1] for one in Overlaps(harness.db).beside(query, campaign_id)]


def test_open_or_recent_campaign_of_anybody_for_the_same_people_is_named(harness: Harness) -> None:
    assert said(harness, NEWS) == []
    first = harness.campaign_id
    with harness.db.write() as connection:
        connection.execute(update(Campaign).values(caller_id="somebody-else"))
    harness.now += 3 * 60 * 60 * 1000
    assert said(harness, NEWS) == [first]
    (told,) = Overlaps(harness.db).beside(NEWS, harness.campaign_id)
    assert told == f"Campaign {first} of somebody-else, accepted 3 h ago, reaches most of the same people."
    harness.run()
    assert first in said(harness, NEWS)  # also once it is over


def test_other_people_and_a_part_of_them_are_no_overlap(harness: Harness) -> None:
    harness.accept(FEW)
    assert said(harness, {"roles": "user"}) == []
    assert said(harness, NEWS) == []  # two of twenty


def test_campaign_for_a_few_is_warned_of_a_larger_one_and_not_the_other_way_round(harness: Harness) -> None:
    large = harness.accept(NEWS)
    assert said(harness, FEW) == [large]
    control.cancel(harness.db, large)
    assert said(harness, NEWS) == []


def test_campaign_that_follows_another_is_not_warned_of_it(harness: Harness) -> None:
    first = harness.accept(NEWS)
    assert Overlaps(harness.db).beside(narrowed(NEWS, None, Earlier(first))) == ()
    assert Overlaps(harness.db).beside(NEWS) != ()


def test_dry_runs_and_old_and_cancelled_campaigns_are_left_out(harness: Harness) -> None:
    harness.accept(NEWS, dry_run=True)
    control.cancel(harness.db, harness.accept(NEWS))
    harness.accept(NEWS)
    harness.run()
    harness.now = START + RECENT + 1
    assert said(harness, NEWS) == []


def test_old_campaign_that_is_still_open_counts(harness: Harness) -> None:
    old = harness.accept(NEWS)
    harness.now = START + 3 * RECENT
    (told,) = Overlaps(harness.db).beside(NEWS, harness.accept(NEWS))
    assert told.startswith(f"Campaign {old} of user00000, accepted 3 days ago")


def test_campaign_for_single_people_looks_for_nothing(harness: Harness, monkeypatch) -> None:
    harness.accept()
    monkeypatch.setattr(harness.db, "read", lambda **_limit: pytest.fail("it reads"))
    for query in ({"_id": "user00001"}, {"username": {"$in": ["a"]}}, {"emails.address": "a@example.com"}):
        assert Overlaps(harness.db).beside(query) == ()


@pytest.mark.parametrize(
    ("query", "few"),
    [
        ({"_id": "a"}, True),
        ({"_id": {"$eq": "a"}, "roles": "news"}, True),
        ({"username": {"$in": ["a"] * NAMED}}, True),
        ({"username": {"$in": ["a"] * (NAMED + 1)}}, False),
        ({"$and": [{"roles": "news"}, {"_id": "a"}]}, True),
        ({"$or": [{"_id": "a"}, {"username": "b"}]}, True),
        ({"$or": [{"_id": "a"}, {"roles": "news"}]}, False),
        ({"emails.address": {"$regex": "@example\\.net$", "$options": "i"}}, False),
        ({"_id": {"$gte": "a", "$lt": "b"}}, False),
        ({"_id": {"$ne": "a"}}, False),
        ({"_id": {"$nin": ["a"]}}, False),
        ({"username": {"$exists": True}}, False),
        ({"username": None}, False),
        ({"username": {"$in": ["a", None]}}, False),
        ({"username": {"$eq": None}}, False),
        ({}, False),
    ],
)
def test_only_who_names_a_few_means_single_people(query: dict[str, Any], few: bool) -> None:
    assert names_people(query) is few


@pytest.mark.parametrize(
    "query",
    [
        {"_id": {"$regex": "^USER0002", "$options": "i"}},
        {"_id": {"$gte": "user00020", "$lt": "user00040"}},
    ],
    ids=["a pattern", "a range"],
)
def test_pattern_and_range_are_mass_mail(harness: Harness, query: dict[str, Any]) -> None:
    first = harness.accept(query)
    assert said(harness, query) == [first]


@pytest.mark.parametrize(
    "between",
    [
        lambda number: {"_id": f"user{number % 40:05d}"},
        lambda number: {"emails.address": {"$in": [f"user{number % 40:05d}@example.com"]}},
        lambda number: {"customFields.nobody": number},
    ],
    ids=["one person each", "a list of one", "other queries"],
)
def test_same_query_is_found_however_many_campaigns_came_since(harness: Harness, between: Any) -> None:
    first = harness.accept(NEWS)
    for number in range(30):
        harness.now += 1
        harness.accept(between(number))
    assert said(harness, {**NEWS, "$recipients": [1, None]}) == [first]


def test_campaigns_for_one_person_are_not_in_the_way_of_another_query(harness: Harness) -> None:
    first = harness.accept(NEWS)
    for number in range(LOOKED_AT + 10):
        harness.now += 1
        harness.accept({"_id": f"user{number % 40:05d}"})
    assert said(harness, FEW) == [first]


def test_campaign_that_reached_nobody_is_not_named(harness: Harness) -> None:
    harness.accept(NEWS)
    harness.plan()
    with harness.db.write() as connection:
        connection.execute(update(Batch).values(skipped=Batch.planned))
    assert said(harness, NEWS) == []
    with harness.db.write() as connection:
        connection.execute(update(Campaign).values(state="completed"))
    assert said(harness, NEWS) == []


def test_cancelled_campaign_is_named_if_it_had_reached_most(harness: Harness) -> None:
    first = harness.accept(NEWS)
    harness.plan()
    control.cancel(harness.db, first)
    assert said(harness, NEWS) == []
    control.cancel(harness.db, harness.campaign_id)
    with harness.db.write() as connection:
        connection.execute(update(Batch).where(Batch.campaign_id == first).values(sent=Batch.planned))
    assert said(harness, NEWS) == [first]


def test_ordinary_post_makes_no_more_statements_than_before(harness: Harness) -> None:
    for number in range(10):
        harness.now += 1
        harness.accept({"customFields.other": number})
    made: list[str] = []
    engine = harness.db.engine
    listen(engine, "before_cursor_execute", lambda _c, _cu, statement, *_: made.append(statement))
    assert Overlaps(harness.db).beside(NEWS) == ()
    assert len(made) <= 2 + 3 * QUERIES


def test_what_two_queries_share_is_known_for_a_minute(harness: Harness, monkeypatch) -> None:
    harness.accept(NEWS)
    overlaps = Overlaps(harness.db)
    first = overlaps.beside(NEWS)
    monkeypatch.setattr(overlap, "_People", lambda *_: AskedAgain())
    assert overlaps.beside(NEWS) == first != ()


def test_only_the_newest_are_compared_and_what_takes_too_long_is_left(harness: Harness, monkeypatch) -> None:
    for _ in range(CAMPAIGNS + 2):
        harness.now += 1
        harness.accept(NEWS)
    assert len(Overlaps(harness.db).beside(NEWS)) == CAMPAIGNS

    def late(**_limit: object) -> Any:
        raise QueryTimeout(0.5)

    monkeypatch.setattr(harness.db, "read", late)
    assert Overlaps(harness.db).beside(NEWS) == ()


def test_answer_of_the_post_has_the_warning_and_a_repeat_has_none(tmp_path: Path, add_users) -> None:
    url = migrated_sqlite(tmp_path / "mailer.db")
    app = create_app(Settings(database_url=url, secret_key=("k" * 40,), rate_limit=""))
    db = app.extensions["mailer"].db
    add_users(db, 3)
    other = accept(db, "user00001", Draft("", "a@example.com", "s", "[unsubscribe]", {}, False)).campaign_id
    headers = {"X-User-Id": "user00000", "X-Auth-Token": Tokens(db).create("user00000", [SEND_MAIL])}
    message = {"from": "a@example.com", "subject": "s", "body": "[unsubscribe]"}

    def post(**more: Any) -> Any:
        return app.test_client().post("/api/v1/mailer", headers=headers, json={**message, **more})

    assert "Mailer-Warning" not in post(dryrun=True).headers
    first = post()
    assert (first.status_code, first.get_json()) == (200, {"success": True})
    assert f"Campaign {other} of user00001, accepted less than an hour ago" in first.headers["Mailer-Warning"]
    assert "Mailer-Warning" not in post().headers
    db.close()
