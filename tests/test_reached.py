"""Mend and send again: to those who have had an earlier campaign, and to those who have not; on both databases."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import and_, delete, func, insert, select, text, update
from werkzeug.test import TestResponse

from app import create_app
from mailer.audience.conditions import audience, audience_since
from mailer.audience.earlier import MOST_BEFORE, NOT_REACHED, USUAL, Earlier, divided, narrowed
from mailer.audience.preview import measure
from mailer.audience.shared_addresses import merged_audience
from mailer.callers.tokens import Tokens
from mailer.campaigns import control
from mailer.campaigns.accept import accept
from mailer.campaigns.draft import Draft
from mailer.campaigns.referrals import verify_now
from mailer.campaigns.retention import purge
from mailer.errors import InvalidParams, InvalidQuery, InvalidState, MailerError
from mailer.selector import compile_selector
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import Batch, BatchState, Campaign, CampaignState, Delivery, DeliveryStatus, User
from tests.conftest import user_row
from tests.databases import sqlite_work
from tests.drills import rounds
from tests.harness import MINUTE, START, Harness
from tests.service import PAYLOAD
from tests.test_cli_send import Shell, serve
from transports.base import Status

DAY = 24 * 60 * MINUTE


def ids(db: Database, which: Any) -> list[str]:
    with db.read() as connection:
        return list(connection.scalars(select(User.id).where(which).order_by(User.id)))


def add_campaign(db: Database, campaign_id: str = "earlier", state: str = "cancelled", **values: Any) -> str:
    row = {"id": campaign_id, "caller_id": "user00000", "sender_name": "", "sender": "news@example.com"}
    row |= {"subject": "Hi", "body": "Hello [unsubscribe]", "query": {}, "dry_run": False, "state": state}
    row |= {"created_at": START, "started_at": START, "finished_at": START, "due_at": START, "fence": 1, **values}
    with db.write() as connection:
        connection.execute(insert(Campaign), [row])
    return campaign_id


def add_outcomes(db: Database, outcomes: dict[str, str], campaign_id: str = "earlier") -> None:
    same = {"campaign_id": campaign_id, "batch": 0, "attempts": 1, "uncertain_attempts": 0, "reply": "250 ok"}
    same |= {"first_at": START, "updated_at": START, "due_at": None}
    with db.write() as connection:
        rows = [{**same, "user_id": one, "status": status, "address": None} for one, status in outcomes.items()]
        if rows:
            connection.execute(insert(Delivery), rows)


def state_of(db: Database, campaign_id: str) -> str:
    with db.read() as connection:
        return str(connection.scalar(select(Campaign.state).where(Campaign.id == campaign_id)))


# the road: a campaign is stopped, and each of its people gets exactly one of the two texts


@pytest.fixture
def stopped(db: Database, add_users: Callable[..., list[str]]) -> Harness:
    """A campaign for 25 people, of whom 12 have had it and one was refused when it was stopped."""
    add_users(db, 25)
    made = Harness(db, batch_size=13, max_failure_rate=1.0)
    made.store.answer("user00003@example.com", Status.REFUSED)
    made.accept()
    made.plan()
    made.deliverer.run_next(lambda: False)
    control.cancel(db, made.campaign_id)
    return made


def test_corrected_text_goes_to_those_who_have_not_had_it(stopped: Harness) -> None:
    first = stopped.arrived()
    stopped.accept(narrowed({}, None, Earlier(stopped.campaign_id)))
    stopped.run()
    second = stopped.arrived()[len(first) :]
    assert len(first) == 12
    assert sorted(first + second) == [f"user{number:05d}@example.com" for number in range(25)]
    assert "user00003@example.com" in second  # it was refused, so it has not had it


def test_correction_goes_to_those_who_had_it(stopped: Harness) -> None:
    first = stopped.arrived()
    stopped.accept(narrowed({}, Earlier(stopped.campaign_id), None))
    stopped.run()
    assert (sorted(stopped.arrived()[len(first) :]), stopped.progress().planned) == (sorted(first), 12)


def test_text_that_was_corrected_twice_goes_to_nobody_who_had_one_of_the_others(stopped: Harness) -> None:
    stopped.accept(narrowed({"_id": {"$lte": "user00018"}}, None, Earlier(stopped.campaign_id)))
    stopped.run()
    assert 12 < len(stopped.arrived()) < 25
    stopped.accept(narrowed({}, None, Earlier(stopped.campaign_id)))
    stopped.run()
    assert sorted(stopped.arrived()) == [f"user{number:05d}@example.com" for number in range(25)]


def test_query_and_who_may_be_written_to_hold_beside_it(stopped: Harness) -> None:
    with stopped.db.write() as connection:
        connection.execute(update(User).where(User.id == "user00020").values(unsubscribed_at=START))
    before = len(stopped.arrived())
    query = {"_id": {"$gte": "user00010", "$lte": "user00021"}}
    stopped.accept(narrowed(query, None, Earlier(stopped.campaign_id)))
    stopped.run()
    assert sorted(stopped.arrived()[before:]) == [f"user{n:05d}@example.com" for n in (13, 14, 15, 16, 17, 18, 19, 21)]


def test_dry_run_of_the_corrected_text_goes_to_its_sender_alone(stopped: Harness) -> None:
    before = len(stopped.arrived())
    stopped.accept(narrowed({}, None, Earlier(stopped.campaign_id)), dry_run=True)
    stopped.run()
    assert stopped.arrived()[before:] == ["news@example.com"]


def test_those_who_come_to_be_reached_before_their_turn_are_left_out(stopped: Harness) -> None:
    """The batches are cut once, but who is in one is asked when it is sent."""
    earlier, before = stopped.campaign_id, len(stopped.arrived())
    stopped.accept(narrowed({}, None, Earlier(earlier)))
    stopped.plan()
    add_outcomes(stopped.db, {"user00020": "uncertain"}, earlier)
    with stopped.db.write() as connection:
        batch = and_(Batch.campaign_id == earlier, Batch.last_id >= "user00020")
        connection.execute(update(Batch).where(batch).values(uncertain=1))
    stopped.run()
    assert "user00020@example.com" not in stopped.arrived()
    assert len(stopped.arrived()) == before + 12


# who has had it: against a model that asks one user after the other


def model(users: list[dict[str, Any]], outcomes: dict[str, str], wanted: tuple[DeliveryStatus, ...]) -> set[str]:
    """The ids of those who had it: by their own record, or by one of somebody with their address now."""
    had = {user["id"] for user in users if outcomes.get(user["id"]) in wanted}
    addresses = {str(user["email"]).lower() for user in users if user["id"] in had and user["email"]}
    return {u["id"] for u in users if u["email"] and (u["id"] in had or str(u["email"]).lower() in addresses)}


def directory(chance: random.Random) -> list[dict[str, Any]]:
    """Twenty people, some at shared addresses in several spellings, some who may not be written to."""
    found = []
    for number in range(20):
        shared = chance.choice(["desk@example.com", "Desk@Example.com", "info@example.org", None, None, None, None])
        email = None if chance.random() < 0.1 else shared or f"user{number:05d}@example.com"
        changes = {"active": chance.random() < 0.9, "unsubscribed_at": 1 if chance.random() < 0.1 else None}
        found.append(user_row(number, email=email, **changes))
    return found


@pytest.mark.drill
@pytest.mark.ci
def test_whom_it_selects_is_what_a_model_says(db: Database) -> None:
    chance = random.Random(15)
    add_campaign(db)
    for _ in range(rounds(25, 3000)):
        users = directory(chance)
        outcomes = {user["id"]: chance.choice(list(DeliveryStatus)).value for user in chance.sample(users, 9)}
        outcomes["somebody who has left"] = "sent"
        wanted = tuple(chance.sample(list(DeliveryStatus), chance.randint(1, 3))) if chance.random() < 0.5 else USUAL
        query = chance.choice([{}, {"_id": {"$gt": "user00007"}}])
        with db.write() as connection:
            connection.execute(delete(Delivery))
            connection.execute(delete(User))
            connection.execute(insert(User), users)
        add_outcomes(db, outcomes)
        had, earlier = model(users, outcomes, wanted), Earlier("earlier", wanted)
        whom = set(ids(db, audience(query)))
        since = set(ids(db, audience_since(query, START)))
        for asked, expected in (((earlier, None), had), ((None, earlier), {u["id"] for u in users} - had)):
            selector = narrowed(query, *asked)
            assert set(ids(db, audience(selector))) == whom & expected
            assert set(ids(db, audience_since(selector, START))) == since & expected
            assert measure(db, selector).count == len(whom & expected)
            merged = set(ids(db, merged_audience(query)))
            # a shared address has been reached or not, whoever of its users is the one to be written to
            assert set(ids(db, merged_audience(selector))) == merged & expected
            assert measure(db, selector, merge=True).count == len(merged & expected)


def test_somebody_who_came_back_under_another_id_is_known_by_the_address(db: Database) -> None:
    with db.write() as connection:
        old = user_row(1, id="old", email="ann@example.com", active=False)
        connection.execute(insert(User), [old, user_row(2, id="new", email="Ann@example.com"), user_row(3)])
    add_campaign(db)
    add_outcomes(db, {"old": "sent"})
    assert ids(db, audience(narrowed({}, None, Earlier("earlier")))) == ["user00003"]


def test_campaign_of_which_there_is_no_record_reaches_nobody_either_way(
    db: Database, add_users: Callable[..., list[str]]
) -> None:
    add_users(db, 3)
    for asked in ((Earlier("gone"), None), (None, Earlier("gone"))):
        assert measure(db, narrowed({}, *asked)).count == 0


def test_purge_of_the_earlier_campaign_changes_nothing(stopped: Harness) -> None:
    selector = narrowed({}, None, Earlier(stopped.campaign_id))
    before = ids(stopped.db, audience(selector))
    stopped.now += 3 * DAY
    assert purge(stopped.db, DAY).campaigns == 1
    assert ids(stopped.db, audience(selector)) == before
    assert 0 < len(before) < 25
    sent = len(stopped.arrived())
    stopped.accept(selector)
    stopped.run()
    assert len(stopped.arrived()) == sent + len(before)


def test_purge_keeps_whom_a_campaign_was_for_so_that_the_earlier_one_stays_stopped(stopped: Harness) -> None:
    earlier = stopped.campaign_id
    with stopped.db.write() as connection:
        connection.execute(update(Campaign).values(state="paused", finished_at=None, reason="by hand"))
    stopped.accept(narrowed({}, None, Earlier(earlier)))
    stopped.run()
    stopped.now += 3 * DAY
    assert purge(stopped.db, DAY).campaigns == 1
    with pytest.raises(InvalidState, match="instead, so it cannot be resumed"):
        control.resume(stopped.db, earlier)


# what older code makes of it, and what nobody can write


def test_version_that_does_not_know_it_sends_to_nobody() -> None:
    """Older code reads the stored selector as a query, by this function."""
    for asked in ((Earlier("a"), None), (None, Earlier("a"))):
        with pytest.raises(InvalidQuery):
            compile_selector(narrowed({"roles": "news"}, *asked))


def test_stored_selector_is_read_as_it_was_written() -> None:
    reached, not_reached = Earlier("a", (DeliveryStatus.UNCERTAIN, DeliveryStatus.SENT)), Earlier("b")
    plain, asked = divided(json.loads(json.dumps(narrowed({"roles": "x"}, reached, not_reached))))
    assert plain == {"roles": "x"}
    assert {one.campaign_id: set(one.outcomes) for one in asked.values()} == {"a": set(USUAL), "b": set(USUAL)}
    assert narrowed({}, Earlier("a", USUAL[::-1]), None) == narrowed({}, Earlier("a"), None)
    assert divided({"roles": "x"}) == ({"roles": "x"}, {})


# the states of the earlier campaign


def follow(db: Database, campaign_id: str, **options: Any) -> str:
    draft = Draft(
        "News", "news@example.com", "Hi", "Hello [unsubscribe]", narrowed({}, None, Earlier(campaign_id)), False
    )
    return accept(db, "user00000", draft, **options).campaign_id


@pytest.mark.parametrize("state", list(CampaignState))
def test_earlier_campaign_must_not_send_meanwhile(db: Database, state: CampaignState) -> None:
    add_campaign(db, state=state)
    going = state in ("accepted", "planning", "running", "resting")
    for asked in ((Earlier("earlier"), None), (None, Earlier("earlier"))):
        draft = Draft("News", "news@example.com", "Hi", "Hello [unsubscribe]", narrowed({}, *asked), False)
        if going:
            with pytest.raises(InvalidState, match=rf"eached.campaign: The campaign is {state}. Pause or cancel"):
                accept(db, "user00000", draft)
        else:
            assert accept(db, "user00000", draft).campaign_id


def test_checkpoint_that_is_still_in_hand_is_waited_for(db: Database, add_users: Callable[..., list[str]]) -> None:
    add_users(db, 5)
    harness = Harness(db)
    earlier = harness.accept()
    harness.plan()
    with db.write() as connection:
        held = {"state": BatchState.RUNNING, "due_at": START + harness.lease, "attempting": ["user00001"]}
        connection.execute(update(Batch).values(**held))
    control.cancel(db, earlier)
    with pytest.raises(InvalidState, match="not on record yet"):
        follow(db, earlier)

    harness.now += harness.lease + 1
    harness.run()  # whoever held it has died: user00001 may have it

    follow(db, earlier)
    harness.run()
    assert sorted(harness.arrived()) == [f"user{number:05d}@example.com" for number in (0, 2, 3, 4)]


@pytest.mark.parametrize("ended", [False, True], ids=["under way", "ended"])
def test_earlier_campaign_stays_stopped_once_another_goes_to_the_rest(
    db: Database, add_users: Callable[..., list[str]], ended: bool
) -> None:
    add_users(db, 3)
    harness = Harness(db, max_failure_rate=1.0)
    earlier = harness.accept()
    harness.plan()
    control.pause(db, earlier)
    followed = follow(db, earlier)
    if ended:
        harness.run()
    for change, words in ((control.resume, "resumed"), (control.retry_failed, "tried again")):
        with pytest.raises(InvalidState, match=rf"get the campaign {followed} instead, so it cannot be {words}"):
            change(db, earlier)
    control.cancel(db, earlier)


def test_earlier_campaign_goes_on_when_the_other_was_cancelled_before_it_reached_anybody(
    db: Database, add_users: Callable[..., list[str]]
) -> None:
    add_users(db, 3)
    harness = Harness(db)
    earlier = harness.accept()
    harness.plan()
    control.pause(db, earlier)
    control.cancel(db, follow(db, earlier))
    control.resume(db, earlier)
    harness.run()
    assert len(harness.arrived()) == 3


def test_first_campaign_stays_stopped_while_the_second_is_mended(db: Database, add_users) -> None:
    add_users(db, 3)
    add_campaign(db, state="paused")
    add_campaign(db, "second", "cancelled", not_reached="earlier")  # it has reached nobody
    add_campaign(db, "third", "paused", not_reached="second")
    with pytest.raises(InvalidState, match="get the campaign third instead"):
        control.resume(db, "earlier")
    control.cancel(db, "third")
    control.resume(db, "earlier")
    with pytest.raises(InvalidState, match="Pause or cancel it first"):
        verify_now(db, narrowed({}, None, Earlier("second")), None)
    control.pause(db, "earlier")
    verify_now(db, narrowed({}, None, Earlier("second")), None)


def test_campaign_is_mended_so_often_and_no_more(db: Database) -> None:
    add_campaign(db, "c0")
    for number in range(1, MOST_BEFORE + 2):
        add_campaign(db, f"c{number}", not_reached=f"c{number - 1}")
    verify_now(db, narrowed({}, None, Earlier(f"c{MOST_BEFORE}")), None)
    with pytest.raises(InvalidParams, match="mended too often"):
        verify_now(db, narrowed({}, None, Earlier(f"c{MOST_BEFORE + 1}")), None)


def test_dry_run_for_the_rest_and_a_campaign_to_those_who_had_it_stop_nothing(
    db: Database, add_users: Callable[..., list[str]]
) -> None:
    add_users(db, 3)
    harness = Harness(db)
    earlier = harness.accept()
    harness.plan()
    control.pause(db, earlier)
    harness.accept(narrowed({}, None, Earlier(earlier)), dry_run=True)
    harness.accept(narrowed({}, Earlier(earlier), None))
    control.resume(db, earlier)
    assert state_of(db, earlier) == "running"


def test_of_a_resumption_and_a_campaign_for_the_rest_at_the_same_moment_one_is_refused(db: Database) -> None:
    for number in range(rounds(15, 300)):
        earlier = add_campaign(db, f"earlier {number}", state="paused", finished_at=None)

        def tried(change: Callable[[Database, str], object], earlier: str = earlier) -> bool:
            try:
                change(db, earlier)
            except InvalidState:
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            done = list(pool.map(tried, [control.resume, follow]))
        assert done.count(True) == 1


# over HTTP


@pytest.fixture
def client(any_db: Database, add_users: Callable[..., list[str]]) -> Iterator[FlaskClient]:
    add_users(any_db, 5)
    settings = Settings(database_url=any_db.url, secret_key=("k" * 40,), transport="memory:", rate_limit="")
    app = create_app(settings)
    yield app.test_client()
    app.extensions["mailer"].db.close()


def ask(
    client: FlaskClient,
    db: Database,
    what: str = "",
    *,
    caller: str = "user00000",
    permissions: tuple[str, ...] = ("send-mail",),
    key: str | None = None,
    **fields: Any,
) -> TestResponse:
    headers = {"X-User-Id": caller, "X-Auth-Token": Tokens(db).create(caller, permissions)}
    payload = fields if what == "/audience" else {**PAYLOAD, **fields}
    return client.post(
        f"/api/v1/mailer{what}", json=payload, headers={**headers, **({"Idempotency-Key": key} if key else {})}
    )


def campaigns(db: Database) -> int:
    with db.read() as connection:
        return connection.scalar(select(func.count()).select_from(Campaign)) or 0


WHERE = ["", "/audience", "/preview"]


WRONG = [
    ({"campaign": "nowhere"}, ".campaign"),
    ({"campaign": "somebody else's"}, ".campaign"),
    ({"campaign": "dry"}, ".campaign"),
    ({"campaign": ""}, ".campaign"),
    ({"campaign": 5}, ".campaign"),
    ({"campaign": None}, ".campaign"),
    ({"campaign": "a\0"}, ".campaign"),
    ({}, ".campaign"),
    ({"campaign": "earlier", "outcomes": ["arrived"]}, ".outcomes.0"),
    ({"campaign": "earlier", "outcomes": ["sent", "SENT"]}, ".outcomes.1"),
    ({"campaign": "earlier", "outcomes": []}, ".outcomes"),
    ({"campaign": "earlier", "outcomes": "sent"}, ".outcomes"),
    ({"campaign": "earlier", "outcomes": None}, ".outcomes"),
    ({"campaign": "earlier", "outcome": ["sent"]}, ".outcome"),
    ("earlier", ""),
    ('{"campaign": "earlier"}', ""),
    (["earlier"], ""),
    (None, ""),
    (True, ""),
]


@pytest.mark.parametrize("what", WHERE, ids=["POST", "audience", "preview"])
def test_mistake_is_a_refusal_that_names_the_field_and_has_no_effect(
    client: FlaskClient, any_db: Database, what: str
) -> None:
    add_campaign(any_db)
    add_campaign(any_db, "somebody else's", caller_id="user00001")
    add_campaign(any_db, "dry", dry_run=True)
    for field, (value, named) in itertools.product(("reached", "notReached"), WRONG):
        answer = ask(client, any_db, what, **{field: value})
        assert answer.status_code == 400, value
        assert (answer.json or {})["errorType"] == "invalid-params", value
        assert (answer.json or {})["details"]["field"].startswith(field + named), value
    assert campaigns(any_db) == 3


def test_campaign_that_the_caller_may_not_see_is_refused_like_one_that_does_not_exist(
    client: FlaskClient, any_db: Database
) -> None:
    add_campaign(any_db, "theirs", caller_id="user00001")
    for what in WHERE:
        hidden, absent = (
            ask(client, any_db, what, notReached={"campaign": one}).get_data(as_text=True)
            for one in ("theirs", "absent")
        )
        assert hidden.replace("theirs", "absent") == absent
        operator = ask(
            client, any_db, what, permissions=("send-mail", "manage-campaigns"), notReached={"campaign": "theirs"}
        )
        assert operator.status_code == 200


def test_both_fields_are_not_for_the_same_campaign(client: FlaskClient, any_db: Database) -> None:
    add_campaign(any_db)
    add_campaign(any_db, "another")
    for what in WHERE:
        twice = ask(client, any_db, what, reached={"campaign": "earlier"}, notReached={"campaign": "earlier"})
        assert (twice.status_code, (twice.json or {})["details"]["field"]) == (400, "notReached.campaign")
    add_outcomes(any_db, {"user00001": "sent", "user00002": "uncertain"})
    add_outcomes(any_db, {"user00002": "sent"}, "another")
    both = ask(client, any_db, "/audience", reached={"campaign": "earlier"}, notReached={"campaign": "another"})
    assert (both.json or {})["count"] == 1


def test_audience_and_preview_are_those_of_the_campaign(client: FlaskClient, any_db: Database) -> None:
    add_campaign(any_db)
    add_outcomes(any_db, {"user00000": "sent", "user00001": "failed", "user00002": "uncertain"})
    for field, count, first in (("reached", 2, "user00000"), ("notReached", 3, "user00001")):
        assert (ask(client, any_db, "/audience", **{field: {"campaign": "earlier"}}).json or {})["count"] == count
        assert (ask(client, any_db, "/preview", **{field: {"campaign": "earlier"}}).json or {})["userId"] == first
    failed = {"campaign": "earlier", "outcomes": ["failed"]}
    assert (ask(client, any_db, "/audience", reached=failed).json or {})["count"] == 1


def test_campaign_that_still_sends_is_a_conflict_that_names_the_field(client: FlaskClient, any_db: Database) -> None:
    add_campaign(any_db, state="running")
    for what in WHERE:
        answer = ask(client, any_db, what, reached={"campaign": "earlier"})
        assert (answer.status_code, (answer.json or {})["errorType"]) == (409, "error-invalid-state")
        assert (answer.json or {})["details"] == {"field": "reached.campaign", "state": "running"}
    assert campaigns(any_db) == 1


def test_form_has_it_as_json(client: FlaskClient, any_db: Database) -> None:
    add_campaign(any_db)
    headers = {"X-User-Id": "user00000", "X-Auth-Token": Tokens(any_db).create("user00000", ["send-mail"])}
    for text_given, status in (
        ('{"campaign": "earlier"}', 200),
        ("", 400),
        ("earlier", 400),
        ("{}", 400),
        ("null", 400),
    ):
        form = {**PAYLOAD, "notReached": text_given}
        answer = client.post("/api/v1/mailer", data=form, headers=headers)
        assert (text_given, answer.status_code) == (text_given, status)
    with any_db.read() as connection:
        queries = connection.scalars(select(Campaign.query).where(Campaign.not_reached == "earlier")).all()
    assert queries == [{NOT_REACHED: {"campaign": "earlier", "outcomes": ["sent", "uncertain"]}}]


def test_query_cannot_say_it_by_itself(client: FlaskClient, any_db: Database) -> None:
    add_campaign(any_db)
    for name in ("$reached", "$notReached"):
        answer = ask(client, any_db, query=json.dumps({name: {"campaign": "earlier", "outcomes": ["sent"]}}))
        assert (answer.json or {})["errorType"] == "error-invalid-query"


def test_repeat_and_key_tell_campaigns_apart_by_it(client: FlaskClient, any_db: Database) -> None:
    add_campaign(any_db)
    earlier = {"campaign": "earlier"}
    posted = [
        ask(client, any_db, **fields)
        for fields in (
            {},
            {"notReached": earlier},
            {"reached": earlier},
            {"notReached": {**earlier, "outcomes": ["sent"]}},
        )
    ]
    assert len({one.headers["Location"] for one in posted}) == 4
    usual = {**earlier, "outcomes": ["uncertain", "sent"]}
    again = ask(client, any_db, notReached=usual)
    assert (again.headers["Location"], again.headers["Idempotent-Replayed"]) == (posted[1].headers["Location"], "true")

    assert ask(client, any_db, key="k", notReached=earlier).status_code == 200
    assert ask(client, any_db, key="k", notReached=usual).headers["Idempotent-Replayed"] == "true"
    assert ask(client, any_db, key="k").status_code == 422
    assert ask(client, any_db, key="k", reached=earlier).status_code == 422


def test_repeat_of_an_accepted_campaign_is_answered_whatever_became_of_the_earlier_one(
    client: FlaskClient, any_db: Database
) -> None:
    add_campaign(any_db)
    posted = ask(client, any_db, key="k", notReached={"campaign": "earlier"})
    with any_db.write() as connection:
        connection.execute(update(Campaign).where(Campaign.id == "earlier").values(state="running"))
    again = ask(client, any_db, key="k", notReached={"campaign": "earlier"})
    assert (again.status_code, again.headers["Location"]) == (200, posted.headers["Location"])


def test_refused_campaign_uses_up_no_key(client: FlaskClient, any_db: Database) -> None:
    add_campaign(any_db, state="running")
    assert ask(client, any_db, key="k", notReached={"campaign": "earlier"}).status_code == 409
    with any_db.write() as connection:
        connection.execute(update(Campaign).values(state="cancelled"))
    assert "Idempotent-Replayed" not in ask(client, any_db, key="k", notReached={"campaign": "earlier"}).headers


def test_one_refused_post_of_several_at_once_undoes_no_other(db: Database) -> None:
    add_campaign(db)
    add_campaign(db, "going", state="running")

    def post(campaign_id: str) -> str:
        try:
            return follow(db, campaign_id)
        except MailerError:
            return ""

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(post, ["earlier", "going"] * 12))
    assert [bool(one) for one in made] == [True, False] * 12
    assert campaigns(db) == 14


# quick with many


@pytest.fixture
def many(db: Database) -> Database:
    """Two thousand people, of whom half have had a campaign."""
    with db.write() as connection:
        connection.execute(insert(User), [user_row(number) for number in range(2000)])
    add_campaign(db)
    add_outcomes(db, {f"user{number:05d}": "sent" for number in range(1000)})
    return db


def batch_of(first: int, size: int, selector: Any) -> Any:
    """What a worker asks of a batch."""
    mine = and_(Delivery.campaign_id == "new", Delivery.user_id == User.id)
    in_range = (User.id >= f"user{first:05d}", User.id < f"user{first + size:05d}")
    return select(User.id).outerjoin(Delivery, mine).where(*in_range, audience_since(selector, START))


def test_batch_costs_the_same_however_many_have_had_the_earlier_campaign(many: Database) -> None:
    query = batch_of(950, 100, narrowed({}, None, Earlier("earlier")))
    with many.read() as connection:
        if connection.dialect.name == "sqlite":
            with_few = sqlite_work(connection, query)
            plan = connection.execute(text("EXPLAIN QUERY PLAN " + compiled(connection, query))).all()
            told = "\n".join(row[-1] for row in plan)
            assert "ix_users_address" in told
            assert "SCAN deliveries" not in told
            assert with_few < 100  # hundreds of steps, for a hundred people
        else:
            connection.execute(text("ANALYZE"))
            connection.execute(text("SET LOCAL enable_seqscan = off"))
            told = "\n".join(connection.scalars(text("EXPLAIN " + compiled(connection, query))))
            assert "Seq Scan" not in told
            assert "deliveries_pkey" in told


def compiled(connection: Any, query: Any) -> str:
    return str(query.compile(connection, compile_kwargs={"literal_binds": True}))


# the command line


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    folder = tmp_path_factory.mktemp("reached")
    with serve(folder, "memory:") as service:
        yield Shell(folder, service)


@pytest.mark.slow
@pytest.mark.ci
def test_command_line_sends_to_the_rest_and_to_those_who_had_it(shell: Shell, tmp_path: Path) -> None:
    first = json.loads(shell.send("--query", '{"_id": "u1"}', "--watch", "--json").stdout)["_id"]
    for options, planned in (
        (["--not-reached", first], 2),
        (["--reached", first], 1),
        (["--reached", f"{first}:sent,failed"], 1),
        (["--not-reached", f"{first}:failed"], 3),
    ):
        shell.letter(f"{options} [unsubscribe]")
        seen = json.loads(shell.run("audience", *options, "--json").stdout)
        assert seen["count"] == planned
        sent = shell.send(*options, "--watch", "--json")
        assert (sent.returncode, json.loads(sent.stdout)["planned"]) == (0, planned)
    assert "user: u0" in shell.run("preview", *shell.options, "--not-reached", first).stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--not-reached", "x:arrived"], "'arrived' is no outcome; there are sent, failed"),
        (["--not-reached", "x:"], "'' is no outcome"),
        (["--not-reached", ":sent"], "names no campaign"),
        (["--not-reached", ""], "names no campaign"),
        (["--reached", "nowhere", "--yes"], "reached.campaign: There is no campaign nowhere."),
        (["--reached", "nowhere", "--everybody"], "--everybody and --reached contradict each other"),
    ],
)
def test_command_line_says_what_is_wrong(shell: Shell, options: list[str], words: str) -> None:
    done = shell.send(*options)
    assert done.returncode != 0
    assert words in done.stderr
