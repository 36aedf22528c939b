"""By what people came to be unsubscribed: the link names its campaign, and a history keeps what happened."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import DBAPIError

from app import create_app
from mailer.audit.actor import Actor, Via, acting
from mailer.audit.retention import forgetting
from mailer.callers.tokens import PERMISSIONS, Tokens
from mailer.campaigns.people.erasure import erase
from mailer.campaigns.people.export import export_person
from mailer.campaigns.people.person import Because, person
from mailer.campaigns.progress import progress
from mailer.cli import main
from mailer.directory.imports import upsert_documents
from mailer.directory.users import put_user
from mailer.messages.links import Links
from mailer.pages.unsubscribe import make_blueprint
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import UnsubscribeEvent, User, Wish
from mailer.storage.steps.small_steps import run_steps
from mailer.suppression import history
from mailer.suppression.history import Cause, Means, PastEvent
from mailer.suppression.list_files import ListedPerson
from mailer.suppression.unsubscribe_lists import all_unsubscribed_users_and_wishes, unsubscribe_listed
from mailer.suppression.unsubscribes import resubscribe, resubscribe_address, unsubscribe, unsubscribe_matching
from tests.harness import START, Harness
from tests.test_unsubscribe import APPENDED, WRAPPED

KEY, OLD = "k" * 40, "an old key of some length " * 2
LINKS = Links((KEY,), "http://x")
CAMPAIGN = "018bcfe568000aabbccddee"[:23]
OPERATOR = Actor("desk", Via.CLI, "host")
CREATED = 1_420_070_400_000


def token(links: Links = LINKS, user_id: str = "user00000", campaign_id: str = CAMPAIGN) -> str:
    return links.link(user_id, links.cause(campaign_id)).rpartition("/")[2]


def events(db: Database, user_id: str | None = "user00000", address: str | None = None) -> list[tuple[Any, ...]]:
    """What the history has of them, the first first: event, means, campaign, who, list."""
    with db.read() as connection:
        found = history.events_of(connection, user_id, address)
    return [(one.event, one.means, one.campaign_id, one.who, one.source) for one in reversed(found)]


# ---- the link


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30), st.binary(min_size=12))
def test_link_names_its_campaign_and_the_same_user_as_ever(user_id: str, octets: bytes) -> None:
    campaign_id = octets[:12].hex()[1:]
    link = LINKS.link(user_id, LINKS.cause(campaign_id))
    assert link.startswith(LINKS.link(user_id))  # so that every version reads it
    assert len(link) == len(LINKS.link(user_id)) + 25
    said = link.rpartition("/")[2]
    assert (LINKS.read(said), LINKS.campaign(said)) == (user_id, campaign_id)


@pytest.mark.parametrize("campaign_id", ["c", "campaign-1_x", "x" * 64, "0" * 23, "f" * 23, "F" * 23, "a" * 24])
def test_link_names_campaigns_with_any_id(campaign_id: str) -> None:
    assert LINKS.campaign(token(campaign_id=campaign_id)) == campaign_id


def test_old_links_name_no_campaign_and_are_valid() -> None:
    old = LINKS.link("u1").rpartition("/")[2]
    assert (LINKS.read(old), LINKS.campaign(old)) == ("u1", None)


@pytest.mark.parametrize("keep", range(1, 26))
def test_link_that_was_cut_short_loses_the_campaign_alone(keep: int) -> None:
    whole = token()
    assert (LINKS.read(whole[:-keep]), LINKS.campaign(whole[:-keep])) == ("user00000", None)


@pytest.mark.parametrize("appended", APPENDED, ids=repr)
def test_link_names_its_campaign_whatever_programs_append(appended: str) -> None:
    assert (LINKS.read(token() + appended), LINKS.campaign(token() + appended)) == ("user00000", CAMPAIGN)


@pytest.mark.parametrize("change", WRAPPED.values(), ids=WRAPPED)
def test_link_names_its_campaign_however_it_was_wrapped(change: Callable[[str], str]) -> None:
    said = change(token(user_id="rbAXPnMktTFbNpwtJ" * 3))
    assert (LINKS.read(said), LINKS.campaign(said)) == ("rbAXPnMktTFbNpwtJ" * 3, CAMPAIGN)


@given(st.data())
def test_campaign_that_was_not_signed_is_none(data: st.DataObject) -> None:
    said = token()
    place = data.draw(st.integers(len(said) - 24, len(said) - 1))
    other = data.draw(st.sampled_from("ABab01-_").filter(lambda character: character != said[place]))
    changed = said[:place] + other + said[place + 1 :]
    assert (LINKS.read(changed), LINKS.campaign(changed)) == ("user00000", None)


def test_campaign_is_read_with_every_key_that_is_known() -> None:
    said = token(Links((OLD,), "http://x"))
    rotated = Links((KEY, OLD), "http://x")
    assert rotated.campaign(said) == CAMPAIGN
    assert LINKS.campaign(said) is None
    forged = said.rpartition(".")[0] + LINKS.cause(CAMPAIGN)
    assert LINKS.campaign(forged) is None  # the user's part counts as well


def test_users_link_is_no_campaigns_signature() -> None:
    plain = LINKS.link("user00000").rpartition("/")[2]
    assert LINKS.campaign(f"{plain}.{plain.rpartition('.')[2]}") is None


# ---- from a message to the history


@pytest.fixture
def sent(db: Database, add_users: Callable[..., list[str]]) -> Harness:
    add_users(db, 3)
    made = Harness(db)
    made.accept()
    made.run()
    return made


@pytest.fixture
def client(sent: Harness) -> FlaskClient:
    app = Flask(__name__, static_folder=None)
    app.register_blueprint(make_blueprint(LINKS, sent.db, "Site"))
    return app.test_client()


def link_in(harness: Harness, user_id: str) -> str:
    """The path of the link in the header of the message to them, which stands in the body too."""
    (content,) = (one.content for one in harness.store.messages if one.recipient == f"{user_id}@example.com")
    found = re.search(rb"^List-Unsubscribe: <([^>]+)>", content, re.MULTILINE)
    assert found is not None
    assert found[1] in content.replace(b"=\r\n", b"").partition(b"\r\n\r\n")[2]
    return urlsplit(found[1].decode()).path


HOW = {"link": {"action": "unsubscribe"}, "one-click": {"List-Unsubscribe": "One-Click"}}


@pytest.mark.parametrize("means", HOW)
def test_reader_leaves_by_a_message_and_comes_back(sent: Harness, client: FlaskClient, means: str) -> None:
    path = link_in(sent, "user00001")
    assert client.get(path).status_code == 200
    assert events(sent.db, "user00001") == []  # scanners follow links
    for _ in range(2):  # the second time it is done already
        assert client.post(path, data=HOW[means]).status_code == 200
    left = ("unsubscribed", means, sent.campaign_id, None, None)
    assert events(sent.db, "user00001") == [left]
    assert sent.progress().unsubscribed == 1
    shown = person(sent.db, "user00001")
    assert shown.unsubscription is not None
    assert (shown.unsubscription.because, shown.unsubscription.campaign_id) == (Because.PERSON, sent.campaign_id)

    assert client.post(path, data={"action": "subscribe"}).status_code == 200

    assert events(sent.db, "user00001") == [left, ("subscribed", "link", sent.campaign_id, None, None)]
    assert sent.progress().unsubscribed == 1  # they did leave by it
    client.post(path, data=HOW[means])
    assert sent.progress().unsubscribed == 1  # people are counted
    assert (events(sent.db, "user00000"), events(sent.db, "user00002")) == ([], [])


def test_campaign_that_never_wrote_to_them_is_not_named(sent: Harness, client: FlaskClient) -> None:
    """Somebody has put two links together."""
    path = LINKS.link("user00001", LINKS.cause("0" * 23)).removeprefix("http://x")
    assert client.post(path).status_code == 200
    assert events(sent.db, "user00001") == [("unsubscribed", "link", None, None, None)]


def test_reader_who_leaves_before_the_outcome_is_on_record_is_counted(sent: Harness) -> None:
    from mailer.storage.models import Batch, Delivery

    with sent.db.write() as connection:
        connection.execute(delete(Delivery).where(Delivery.user_id == "user00001"))
        assert not history.is_recipient(connection, sent.campaign_id, "user00001")
        connection.execute(update(Batch).values(state="running"))
        assert history.is_recipient(connection, sent.campaign_id, "user00001")
        assert not history.is_recipient(connection, sent.campaign_id, "user00009")


# ---- every other way


def by(actor: Actor, act: Callable[[Database], object]) -> Callable[[Database], None]:
    def do(db: Database) -> None:
        with acting(actor):
            act(db)

    return do


LISTED = [ListedPerson(None, "User00000@example.com", CREATED)]
MARKED = [(1, {"_id": "user00000", "mailer": {"unsubscribed": True}})]
API, PAGE = (Actor("desk", via, "192.0.2.1") for via in (Via.API, Via.PAGE))
WAYS: dict[str, tuple[Callable[[Database], None], tuple[Any, ...]]] = {
    "operator": (by(OPERATOR, lambda db: unsubscribe(db, "user00000")), ("operator", None, "desk", None)),
    "api": (by(API, lambda db: unsubscribe_matching(db, "user00000", CREATED)), ("api", None, "desk", None)),
    "page": (by(PAGE, lambda db: unsubscribe(db, "user00000")), ("page", None, "desk", None)),
    "list": (
        by(API, lambda db: unsubscribe_listed(db, LISTED, by="desk", source="left.csv")),
        ("list", None, "desk", "left.csv"),
    ),
    "import": (by(OPERATOR, lambda db: upsert_documents(db, MARKED)), ("directory", None, "desk", None)),
    "put": (
        by(API, lambda db: put_user(db, "user00000", {"mailer": {"unsubscribed": True}})),
        ("directory", None, "desk", None),
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_is_told_from_the_others(db: Database, add_users: Callable[..., list[str]], way: str) -> None:
    add_users(db, 2, created_at=CREATED)
    done, told = WAYS[way]
    for _ in range(2):
        done(db)
    assert events(db) == [("unsubscribed", *told)]
    assert events(db, "user00001") == []
    with acting(OPERATOR):
        assert resubscribe(db, "user00000")
        assert resubscribe(db, "user00000")
    assert events(db) == [("unsubscribed", *told), ("subscribed", "operator", None, "desk", None)]


def test_list_is_in_the_history_of_those_who_come_later_and_of_their_addresses(db: Database) -> None:
    people = [ListedPerson(None, "Later@example.com", 7), ListedPerson("later", None)]
    for _ in range(2):
        unsubscribe_listed(db, people, by="desk", source="left.csv")
    listed = ("unsubscribed", "list", None, "desk", "left.csv")
    assert events(db, None, "LATER@example.com") == [listed]
    assert events(db, "later") == [listed]

    with acting(OPERATOR):
        upsert_documents(db, [(1, {"_id": "ann", "emails": [{"address": "later@example.com"}]})])
    assert events(db, "ann") == [("unsubscribed", "directory", None, "desk", None)]
    with acting(OPERATOR):
        assert resubscribe_address(db, "later@example.com") == 1
    back = ("subscribed", "operator", None, "desk", None)
    assert events(db, "ann")[-1] == back
    assert events(db, None, "later@example.com") == [listed, back]


def test_merged_users_come_back_together(db: Database, add_users: Callable[..., list[str]]) -> None:
    add_users(db, 2, email="one@example.com")
    unsubscribe(db, "user00000")
    unsubscribe(db, "user00001")
    assert resubscribe(db, "user00001", merged=True)
    assert [events(db, one)[-1][0] for one in ("user00000", "user00001")] == ["subscribed", "subscribed"]


# ---- what nobody knows


def test_marks_of_before_are_told_as_unknown(db: Database, add_users: Callable[..., list[str]]) -> None:
    """Also those that a process of the version before makes and takes beside this one."""
    add_users(db, 1)
    with db.write() as connection:
        connection.execute(update(User).values(unsubscribed_at=5))
    one = person(db, "user00000")
    assert one.history == [PastEvent(5, "unsubscribed", "unknown", "user00000", "user00000@example.com", *[None] * 3)]
    assert one.unsubscription is not None
    assert one.unsubscription.means is Means.UNKNOWN
    resubscribe(db, "user00000")
    unsubscribe(db, "user00000")
    with db.write() as connection:
        connection.execute(update(User).values(unsubscribed_at=None))
    told = person(db, "user00000").history
    assert [(one.event, one.means) for one in told][:2] == [("subscribed", "unknown"), ("unsubscribed", "operator")]
    assert told[0].at is None
    exported = export_person(db, "user00000")
    assert exported["history"][0] | {"address": None} == {
        **dict.fromkeys(("at", "campaignId", "address", "by", "list")),
        **{"event": "subscribed", "means": "unknown"},
    }


def test_history_is_append_only(db: Database, add_users: Callable[..., list[str]]) -> None:
    add_users(db, 1)
    unsubscribe(db, "user00000")
    with pytest.raises(DBAPIError, match="append-only"), db.write() as connection:
        connection.execute(update(UnsubscribeEvent).values(at=1))


# ---- erasing, forgetting, exporting


def test_erasing_keeps_from_what_they_left_and_nothing_that_names_them(sent: Harness, client: FlaskClient) -> None:
    db = sent.db
    client.post(link_in(sent, "user00001"))
    unsubscribe_listed(db, [ListedPerson(None, "nobody@example.com")], by="desk", source="user00001@example.com.csv")
    with db.write() as connection:
        history.add(connection, 1, history.Event.UNSUBSCRIBED, Cause(Means.LIST), [(None, "user00001@example.com")])
        other = Cause(Means.LIST, "desk", None, "user00001@example.com.csv")
        history.add(connection, 2, history.Event.SUBSCRIBED, other, [("user00001", "user00001@example.com")])

    erase(db, "user00001", spool_path=Path("/nonexistent"))

    assert sent.progress().unsubscribed == 1
    assert events(db, "user00001") == [
        ("unsubscribed", "link", sent.campaign_id, None, None),
        ("subscribed", "list", None, "desk", None),
    ]
    assert events(db, None, "user00001@example.com") == []
    with db.read() as connection:
        assert not connection.scalars(
            select(UnsubscribeEvent.address).where(UnsubscribeEvent.address == "user00001@example.com")
        ).all()
    assert unsubscribe(db, "user00001")  # the wish holds


def test_past_events_go_with_the_audit_log_and_the_last_of_each_person_stays(
    db: Database, add_users: Callable[..., list[str]]
) -> None:
    add_users(db, 2)
    now = START
    db.clock = lambda _connection: now
    for act in (unsubscribe, resubscribe, unsubscribe):
        act(db, "user00000")
    unsubscribe(db, "user00001")
    unsubscribe_listed(db, [ListedPerson(None, "x@example.com")], by="desk", source="a list")
    resubscribe_address(db, "x@example.com")
    now += 1000
    assert run_steps(forgetting(db, 500))["unsubscribe_history"] == 3
    assert [one[0] for one in events(db)] == ["unsubscribed"]
    assert [one[0] for one in events(db, "user00001")] == ["unsubscribed"]
    assert [one[0] for one in events(db, None, "x@example.com")] == ["subscribed"]
    assert not run_steps(forgetting(db, 500))


def test_exports_name_the_campaign_and_are_read_again(sent: Harness, client: FlaskClient) -> None:
    client.post(link_in(sent, "user00001"))
    unsubscribe(sent.db, "user00002")
    rows = {one.user_id: one for one in all_unsubscribed_users_and_wishes(sent.db)}
    assert {name: one.campaign_id for name, one in rows.items()} == {"user00001": sent.campaign_id, "user00002": None}
    assert rows["user00001"].cells()[-1] == sent.campaign_id
    assert replace(rows["user00002"], campaign_id=None).cells()[-1] is None


def test_api_and_command_line_tell_the_campaign(
    sent: Harness, client: FlaskClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client.post(link_in(sent, "user00001"))
    db = sent.db
    app = create_app(Settings(database_url=db.url, secret_key=(KEY,), transport="memory:", rate_limit=""))
    headers = {"X-User-Id": "service:desk", "X-Auth-Token": Tokens(db).create_for_service("desk", PERMISSIONS)}

    def get(path: str) -> Any:
        return app.test_client().get(f"/api/v1/mailer/{path}", headers=headers)

    assert get(f"campaigns/{sent.campaign_id}").json["campaign"]["unsubscribed"] == 1
    assert get("campaigns?all=true").json["campaigns"][0]["unsubscribed"] == 1
    assert get("unsubscribes").json["unsubscribes"][0]["campaign"] == sent.campaign_id
    exported = get("unsubscribes/export?format=csv").text.splitlines()
    assert exported[0] == "_id,address,unsubscribedAt,campaign"
    assert exported[1].endswith(f",{sent.campaign_id}")
    found = get("users/user00001").json["person"]
    assert found["unsubscribed"]["campaignId"] == sent.campaign_id
    assert [(one["event"], one["means"]) for one in found["history"]] == [("unsubscribed", "link")]
    app.extensions["mailer"].db.close()

    monkeypatch.setenv("MAILER_DATABASE_URL", db.url)
    monkeypatch.setenv("MAILER_SECRET_KEY", KEY)
    listed = CliRunner().invoke(main, ["unsubscribes", "export"])
    assert sent.campaign_id in listed.output
    with db.write() as connection:  # the file is read again, and the column is passed over
        connection.execute(update(User).values(unsubscribed_at=None))
        connection.execute(delete(Wish))
    (tmp_path / "left.csv").write_text(listed.output)
    again = CliRunner().invoke(main, ["unsubscribes", "import", str(tmp_path / "left.csv")])
    assert "1 unsubscribed" in again.output
    shown = CliRunner().invoke(main, ["users", "show", "user00001"]).output
    assert f"unsubscribed, by link, from the campaign {sent.campaign_id}" in shown
    assert "unsubscribed, by list (" in shown


def test_progress_of_many_campaigns_counts_each_for_itself(sent: Harness) -> None:
    first, second = sent.campaign_id, sent.accept()
    sent.run()
    row = {"at": 1, "event": "unsubscribed", "means": "link"}
    with sent.db.write() as connection:
        rows = [(first, "a"), (second, "a"), (second, "b"), (second, "b")]
        connection.execute(
            insert(UnsubscribeEvent), [{**row, "campaign_id": campaign, "user_id": one} for campaign, one in rows]
        )
    assert [progress(sent.db, one).unsubscribed for one in (first, second)] == [1, 2]
