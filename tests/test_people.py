"""People: found, shown with why they get no mail and what they got, acted upon with a note, exported and erased."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import insert, select, text
from werkzeug.test import TestResponse

from app import create_app
from mailer.audience.search import CHUNK, search
from mailer.audit.actor import Actor, Via, acting
from mailer.audit.log import Act, entries
from mailer.callers.tokens import PERMISSIONS, Tokens
from mailer.campaigns.accept import accept
from mailer.campaigns.draft import make_draft
from mailer.campaigns.people import outcomes
from mailer.campaigns.people.actions import Action, act, possible
from mailer.campaigns.people.erasure import erase
from mailer.campaigns.people.export import export_person
from mailer.campaigns.people.outcomes import outcomes_of, page_of_outcomes
from mailer.campaigns.people.person import Because, person
from mailer.cli import main
from mailer.directory.imports import upsert_documents
from mailer.errors import InvalidState, NotFound
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import Campaign, Delivery, User
from mailer.suppression.list_files import ListedPerson
from mailer.suppression.unsubscribe_lists import unsubscribe_listed
from mailer.suppression.unsubscribes import unsubscribe
from tests.conftest import user_row
from tests.harness import Harness
from tests.test_signed_in_pages import form_of, sign_in

API = "/api/v1/mailer/users"
ODD = {
    "a/b": "with a slash",
    "x y?&#%": "with signs",
    "<script>alert(1)</script>": "<img src=x onerror=alert(2)>",
    "quote\"'": 'O\'Brien "Bo"',
    "ünï": "Özge Ünal",
}
OPERATOR = Actor("desk", Via.API, "192.0.2.7")


def add(db: Database, *rows: dict[str, object]) -> None:
    with db.write() as connection:
        connection.execute(insert(User), rows)


def found(db: Database, wanted: str, **more: Any) -> list[str]:
    return [one.id for one in search(db, wanted, **more).people]


@pytest.fixture
def known(db: Database) -> Database:
    """Some people, one of them with the id that is another's user name."""
    add(
        db,
        user_row(1, id="ada", name="Ada Lovelace", email="Ada@Analytic.example", username="countess"),
        user_row(2, id="u2", name="Grace Hopper", email="grace@navy.example", username="hopper"),
        user_row(3, id="u3", name="Özge Ünal", email="oz_ge@x.example", username="ozge"),
        user_row(4, id="u4", name="50% off_er", email=None, username=None),
        user_row(5, id="hop", name="Hop", email="hop@x.example", username="ada2"),
    )
    return db


@pytest.mark.parametrize(
    ("wanted", "ids"),
    {
        "by id": ("ada", ["ada"]),
        "by user name": ("countess", ["ada"]),
        "by address in another case": ("ADA@analytic.EXAMPLE", ["ada"]),
        "by a part of the name": ("lovel", ["ada"]),
        "by a part of the name in another case": ("LOVEL", ["ada"]),
        "by the surname of several": ("hopp", ["u2"]),
        "by a part of the id": ("U", ["ada", "u2", "u3", "u4"]),
        "by a domain": ("x.example", ["hop", "u3"]),
        "by letters beyond ASCII": ("özge", ["u3"]),
        "by a sign of LIKE": ("50%", ["u4"]),
        "by another sign of LIKE": ("off_", ["u4"]),
        "which is not any character": ("%", ["u4"]),
        "nobody": ("nobody", []),
        "what no database holds": ("a\0b", []),
        "half a character": ("\ud800", []),
        "blanks around it": ("  countess ", ["ada"]),
        "exactly before partly": ("hop", ["hop"]),
    }.values(),
)
def test_people_are_found(known: Database, wanted: str, ids: list[str]) -> None:
    assert sorted(found(known, wanted)) == sorted(ids)


def test_who_has_exactly_what_was_typed_comes_alone_and_the_others_after_them(known: Database) -> None:
    first = search(known, "hop")
    assert ([one.id for one in first.people], first.following, first.cut_short) == (["hop"], "", False)
    assert found(known, "hop", after=first.following) == ["u2"]


def test_everybody_is_listed_page_by_page(db: Database, add_users: Callable[..., list[str]]) -> None:
    ids = add_users(db, 7)
    seen: list[str] = []
    after: str | None = None
    for size in (3, 3, 1):
        page = search(db, "", after=after, count=3)
        assert len(page.people) == size
        seen += [one.id for one in page.people]
        after = page.following
    assert (seen, after) == (ids, None)
    pages = [search(db, "ANN", after=one, count=4) for one in (None, "user00003")]
    assert [[one.id for one in page.people] for page in pages] == [ids[:4], ids[4:]]


def test_search_ends_in_time_and_goes_on_where_it_was(db: Database) -> None:
    rows = [user_row(number, name="Zoe" if number == 2 * CHUNK else "Ann") for number in range(2 * CHUNK + 1)]
    add(db, *rows)
    ticking = count(0.0, 1.0)
    page = search(db, "zoe", seconds=0.5, clock=lambda: next(ticking))
    assert (page.people, page.following, page.cut_short) == ([], f"user{CHUNK - 1:05d}", True)
    assert [one.id for one in search(db, "zoe", after=page.following).people] == [f"user{2 * CHUNK:05d}"]
    assert found(db, "zoe") == [f"user{2 * CHUNK:05d}"]


def campaigns_for(db: Database, user_id: str, number: int) -> list[str]:
    """Campaigns with an outcome of the person, and as many without, by id."""
    made: dict[str, Any] = {"caller_id": "c", "sender_name": "", "sender": "n@x", "body": "b", "query": {}}
    made |= {"dry_run": False, "state": "completed", "created_at": 1, "due_at": 1, "fence": 1}
    ids = [f"c{each:05d}" for each in range(2 * number)]
    outcome: dict[str, Any] = {"batch": 0, "status": "sent", "address": "a@x.example", "attempts": 1}
    outcome |= {"uncertain_attempts": 0, "reply": "ok", "first_at": 1, "updated_at": 1, "due_at": None}
    others = [f"o{each:03d}" for each in range(100)]
    with db.write() as connection:
        connection.execute(insert(Campaign), [{**made, "id": one, "subject": one} for one in ids])
        mine = [{**outcome, "campaign_id": one, "user_id": user_id} for one in ids[::2]]
        theirs = [{**outcome, "campaign_id": one, "user_id": other} for one in ids for other in others]
        connection.execute(insert(Delivery), [*mine, *theirs])
    return ids[::2]


def test_outcomes_of_a_person_come_newest_first_page_by_page_and_by_indexes(db: Database) -> None:
    """No index of deliveries by user is needed, and none is kept for every message: the primary keys serve it."""
    ids = campaigns_for(db, "ada", 60)
    pages = [page_of_outcomes(db, "ada", before=one, count=25) for one in (None, ids[35], ids[10])]
    assert [[one.campaign_id for one in page] for page in pages] == [ids[:34:-1], ids[34:9:-1], ids[9::-1]]
    with db.write() as connection:
        connection.execute(text("ANALYZE"))
    statement, constants = outcomes._NEWEST_FIRST._make(db.engine.dialect.name)
    wanted = {**constants, "user_id": "ada", "before": "x", "count": 25}
    explain = "EXPLAIN QUERY PLAN " if db.engine.dialect.name == "sqlite" else "EXPLAIN "
    with db.read() as connection:
        driver: Any = connection.connection.driver_connection
        plan = "\n".join(str(row) for row in driver.execute(explain + statement, wanted).fetchall())
    assert not re.search(r"Seq Scan on deliveries|SCAN deliveries|SCAN campaigns\b(?! USING)", plan), plan
    assert "TEMP B-TREE" not in plan
    assert "Sort" not in plan
    assert re.search(r"deliveries_pkey|SEARCH deliveries USING PRIMARY KEY \(campaign_id=\? AND user_id=\?\)", plan), (
        plan
    )


def test_person_is_shown_with_every_campaign_and_its_answer(db: Database, add_users: Callable[..., list[str]]) -> None:
    add_users(db, 3)
    harness = Harness(db)
    first = harness.accept()
    harness.run()
    unsubscribe(db, "user00001")
    harness.now += 1000
    second = harness.accept()
    harness.run()
    with db.read() as connection:
        shown = outcomes_of(connection, "user00001")
        assert [(one.campaign_id, one.status) for one in outcomes_of(connection, "user00002")] == [
            (second, "sent"),
            (first, "sent"),
        ]
    (one,) = shown
    assert (one.campaign_id, one.subject, one.status, one.reply) == (first, "Hi [fname]", "sent", "memory: sent")


def bring(db: Database, *documents: dict[str, Any]) -> None:
    upsert_documents(db, list(enumerate(documents, 1)))


def by_link(db: Database) -> None:
    with acting(Actor("recipient", Via.LINK, "")):
        unsubscribe(db, "ada")


UNSUBSCRIBED: dict[str, tuple[Callable[[Database], object], tuple[Because, str | None, str | None]]] = {
    "by the link": (by_link, (Because.PERSON, None, None)),
    "by an operator": (lambda db: unsubscribe(db, "ada"), (Because.OPERATOR, "desk", None)),
    "by a list with the address": (
        lambda db: unsubscribe_listed(db, [ListedPerson(None, "ada@x.example")], by="desk", source="left.csv"),
        (Because.LIST, "desk", "left.csv"),
    ),
    "by a list with the id": (
        lambda db: unsubscribe_listed(db, [ListedPerson("ada", None)], by="desk", source="left.csv"),
        (Because.LIST, "desk", "left.csv"),
    ),
    "by the directory": (
        lambda db: bring(db, {"_id": "ada", "mailer": {"unsubscribed": True}}),
        (Because.DIRECTORY, "desk", None),
    ),
}


@pytest.mark.parametrize(("done", "why"), UNSUBSCRIBED.values(), ids=UNSUBSCRIBED)
def test_person_is_shown_with_why_and_since_when_they_have_unsubscribed(
    db: Database, done: Callable[[Database], object], why: tuple[Because, str | None, str | None]
) -> None:
    with acting(OPERATOR):
        bring(db, {"_id": "ada", "emails": [{"address": "ada@x.example"}]})
        assert person(db, "ada").unsubscription is None
        moment = 1_700_000_000_000
        db.clock = lambda _connection: moment
        done(db)
        db.clock = lambda _connection: moment + 5
        bring(db, {"_id": "b"})
    shown = person(db, "ada").unsubscription
    assert shown is not None
    assert (shown.since, (shown.because, shown.who, shown.source)) == (moment, why)


def test_acts_about_a_person_take_effect_and_keep_their_notes(db: Database) -> None:
    bring(db, {"_id": "ada", "username": "countess", "emails": [{"address": "Ada@x.example"}]})
    steps = [
        (Action.UNSUBSCRIBE, "by telephone", "unsubscribed", {Action.SUBSCRIBE, Action.BLOCK}),
        (Action.SUBSCRIBE, "wrote from ada@x.example again", "subscribed", {Action.UNSUBSCRIBE, Action.BLOCK}),
        (Action.BLOCK, "court order", "suppressed", {Action.UNSUBSCRIBE, Action.LIFT}),
        (Action.LIFT, "", "subscribed", {Action.UNSUBSCRIBE, Action.BLOCK}),
    ]
    with acting(OPERATOR):
        for action, note, state, then in steps:
            assert act(db, "countess", action, note) == "ada"
            shown = person(db, "ada")
            assert (shown.user.state.value, possible(shown)) == (state, then)
    notes = [(one.who, one.act, one.note) for one in person(db, "ada").notes]
    assert notes == [
        ("desk", "block-addresses", "court order"),
        ("desk", "subscribe-again", "wrote from <address> again"),
        ("desk", "unsubscribe", "by telephone"),
    ]
    assert [one.note for one in entries(db)][:4] == [None, *(note for _, _, note in notes)]
    assert "@" not in str([(one.details, one.about, one.note) for one in entries(db)])


def test_who_has_no_address_cannot_be_blocked(db: Database) -> None:
    bring(db, {"_id": "ada"})
    assert possible(person(db, "ada")) == {Action.UNSUBSCRIBE}
    for action in (Action.BLOCK, Action.LIFT):
        with pytest.raises(InvalidState, match="no address"):
            act(db, "ada", action, "x")
    with pytest.raises(NotFound):
        act(db, "nobody", Action.BLOCK, "x")


@pytest.fixture
def app(any_db: Database) -> Flask:
    add(
        any_db,
        *(
            user_row(number, id=one, name=name, email=f"odd{number}@x.example")
            for number, (one, name) in enumerate(ODD.items())
        ),
        user_row(1, id="ada", name="Ada Lovelace", email="ada@x.example"),
        user_row(2, id="desk", name="Desk", email="desk@x.example"),
    )
    return create_app(Settings(database_url=any_db.url, secret_key=("k" * 40,), rate_limit=""))


@pytest.fixture
def client(app: Flask, any_db: Database) -> FlaskClient:
    """The browser of somebody who manages users and sees campaigns."""
    made = app.test_client()
    sign_in(made, "desk", Tokens(any_db).create("desk", ["manage-users", "manage-campaigns"]))
    return made


@pytest.fixture
def api(app: Flask, any_db: Database) -> Callable[..., TestResponse]:
    """Calls of the API, by default of somebody who manages users."""

    def call(method: str, path: str, body: Any = None, *permissions: str) -> TestResponse:
        token = Tokens(any_db).create_for_service("desk", permissions or ["manage-users"])
        headers = {"X-User-Id": "service:desk", "X-Auth-Token": token}
        given = {} if body is None else {"json": body}
        return app.test_client().open(API + path, method=method, headers=headers, **given)

    return call


def test_api_finds_shows_and_changes_a_person(api: Callable[..., TestResponse]) -> None:
    assert api("GET", "?search=lovel").json == {
        "success": True,
        "users": [
            {"_id": "ada", "username": "ada", "name": "Ada Lovelace", "address": "ada@x.example", "state": "subscribed"}
        ],
        "count": 1,
        "next": None,
        "cutShort": False,
    }
    assert len(api("GET", "?count=2").json["users"]) == 2
    shown = api("POST", "/ada/block", {"note": "by telephone"}).json["person"]
    assert (shown["state"], shown["suppressed"]["reason"]) == ("suppressed", "by telephone")
    assert shown["suppressed"]["blockedBy"] == "service:desk"
    assert [one["note"] for one in shown["notes"]] == ["by telephone"]
    assert api("POST", "/ada/lift", {}).json["person"]["state"] == "subscribed"
    shown = api("POST", "/ada/unsubscribe", {"note": "by post"}).json["person"]
    assert (shown["unsubscribed"]["because"], shown["unsubscribed"]["by"]) == ("operator", "service:desk")
    assert api("GET", "/ada").json["person"] == shown
    assert api("POST", "/ada/subscribe", {"note": ""}).json["person"]["unsubscribed"] is None
    assert api("GET", "/ada/campaigns").json == {"success": True, "campaigns": [], "count": 0, "next": None}


def test_api_erases_who_is_named_twice_and_then_keeps_them_away(
    api: Callable[..., TestResponse], any_db: Database
) -> None:
    assert api("POST", "/ada/erase", {"_id": "desk"}).status_code == 400
    assert api("POST", "/ada/erase", {}).status_code == 400
    assert api("GET", "/ada").status_code == 200
    assert api("POST", "/ada/erase", {"_id": "ada"}).json == {"success": True, "_id": "ada", "campaigns": 0}
    assert api("GET", "/ada").status_code == 404
    assert api("POST", "/ada/erase", {"_id": "ada"}).status_code == 404
    refused = api("PUT", "/ada", {"name": "Ada"})
    assert (refused.status_code, refused.json["errorType"]) == (409, "error-user-erased")
    again = api("PUT", "/other", {"emails": [{"address": "ADA@x.example"}]})
    assert (again.status_code, "ada" in again.text.lower()) == (409, False)
    assert [one.act for one in entries(any_db, about=["ada"])] == [Act.ERASE_USER]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        *(("GET", path, None) for path in ("", "/ada", "/ada/campaigns", "/ada/export")),
        *(("POST", f"/ada/{action}", {"note": "x"}) for action in ("unsubscribe", "subscribe", "block", "lift")),
        ("POST", "/ada/erase", {"_id": "ada"}),
    ],
)
def test_people_are_for_those_who_manage_users(
    api: Callable[..., TestResponse], any_db: Database, method: str, path: str, body: Any
) -> None:
    others = [one for one in PERMISSIONS if one != "manage-users"]
    answer = api(method, path, body, *others)
    assert answer.status_code == 403
    assert "ada@x.example" not in answer.text
    assert person(any_db, "ada").user.state == "subscribed"


def test_export_has_all_that_there_is_about_one_person(db: Database) -> None:
    bring(db, {"_id": "ada", "name": "Ada", "emails": [{"address": "ada@x.example"}], "customFields": {"plan": "pro"}})
    harness = Harness(db)
    campaign_id = harness.accept()
    harness.run()
    with acting(OPERATOR):
        act(db, "ada", Action.BLOCK, "court order")
        act(db, "ada", Action.UNSUBSCRIBE, "by post")
        exported = export_person(db, "ada")
    assert exported["document"]["customFields"] == {"plan": "pro"}
    assert (exported["unsubscribed"]["because"], exported["suppressed"]["reason"]) == ("operator", "court order")
    assert [one["note"] for one in exported["notes"]] == ["by post", "court order"]
    (one,) = exported["campaigns"]
    assert (one["campaignId"], one["status"], one["address"]) == (campaign_id, "sent", "ada@x.example")
    assert [entry.who for entry in entries(db, act=Act.EXPORT_USER)] == ["desk"]
    told = [(one["act"], one["by"], one["about"]) for one in exported["acts"]]
    assert told[:2] == [("unsubscribe", "desk", "ada"), ("block-addresses", "desk", None)]
    assert "keyed:" not in json.dumps(exported)


def test_export_leaves_out_none_of_many_notes_and_events(db: Database) -> None:
    """A page shows the latest hundred of each; the law gives all."""
    bring(db, {"_id": "ada", "name": "Ada", "emails": [{"address": "ada@x.example"}]})
    for number in range(60):
        act(db, "ada", Action.UNSUBSCRIBE, f"note {number}")
        act(db, "ada", Action.SUBSCRIBE, f"and back {number}")
    exported = export_person(db, "ada")
    assert len(exported["notes"]) == len(exported["history"]) == 120
    assert len(person(db, "ada").notes) == 100


def post(client: FlaskClient, path: str, **more: str) -> TestResponse:
    return client.post(path, data={"form": form_of(client.get("/mailer/people/").text), **more})


def test_page_lists_finds_and_shows_people(client: FlaskClient) -> None:
    everybody = client.get("/mailer/people/").text
    assert "ada@x.example" in everybody
    one = client.get("/mailer/people/?q=lovelace").text
    assert "ada@x.example" in one
    assert "desk@x.example" not in one
    assert "Nobody has this" in client.get("/mailer/people/?q=nobody%20at%20all").text
    assert "Look for it within names" in client.get("/mailer/people/?q=ada").text
    shown = client.get("/mailer/people/ada").text
    assert "Ada Lovelace" in shown
    assert "No campaign yet" in shown


@pytest.mark.parametrize("user_id", ODD, ids=[str(number) for number in range(len(ODD))])
def test_page_of_somebody_with_an_odd_id_or_name_is_found_by_its_link(client: FlaskClient, user_id: str) -> None:
    listed = client.get("/mailer/people/").text
    links = re.findall(r'href="\.\./(people/[^"?]+)"', listed)
    pages = [client.get(f"/mailer/{link}") for link in links]
    assert {page.status_code for page in pages} == {200}
    shown = [page.text for page in pages if json_id(page.text) == user_id]
    assert len(shown) == 1
    for page in (listed, *shown):
        assert "<script>alert" not in page
        assert "<img" not in page
    place = re.search(r'href="(?:\.\./)*(people/[^"]+)/erase"', shown[0])
    assert place is not None
    assert client.get(f"/mailer/{place[1]}/erase").status_code == 200
    answer = post(client, f"/mailer/{place[1]}/block", note="x")
    assert answer.status_code == 303
    assert "blocked by desk" in client.get(f"/mailer/{place[1]}").text


def json_id(page: str) -> str:
    document = re.search(r"<pre[^>]*>(.*?)</pre>", page, re.DOTALL)
    assert document is not None
    return str(json.loads(html.unescape(document[1]))["_id"])


def test_page_acts_with_a_note_and_says_why(client: FlaskClient, any_db: Database) -> None:
    for action, said in (
        ("unsubscribe", "done for them by desk"),
        ("subscribe", "Gets every campaign"),
        ("block", "The address is blocked by desk"),
        ("lift", "Gets every campaign"),
    ):
        answer = post(client, f"/mailer/people/ada/{action}", note=f"{action}: asked by &lt;b&gt; x@y.example")
        assert (answer.status_code, answer.headers["Location"]) == (303, "../../people/ada")
        shown = client.get("/mailer/people/ada").text
        assert said in shown
        assert f"{action}: asked by" in shown
        assert "x@y.example" not in shown.partition("Notes")[2]
    assert [(one.who, one.via) for one in entries(any_db, about=["ada"])] == [("desk", "page")] * 2


def test_page_erases_only_when_the_id_is_typed(client: FlaskClient, any_db: Database) -> None:
    asked = client.get("/mailer/people/ada/erase").text
    assert "What stays" in asked
    wrong = post(client, "/mailer/people/ada/erase", typed="Ada")
    assert (wrong.status_code, "Nothing was erased" in wrong.text) == (400, True)
    done = post(client, "/mailer/people/ada/erase", typed="ada")
    assert done.status_code == 303
    assert "Outcomes in 0 campaigns stay" in client.get("/mailer/people/?erased=0").text
    assert client.get("/mailer/people/ada").status_code == 404
    with any_db.read() as connection:
        assert "ada" not in connection.scalars(select(User.id)).all()


def test_page_says_why_somebody_cannot_be_erased_yet(client: FlaskClient, any_db: Database) -> None:
    draft = make_draft(Settings(), sender="ada@x.example", subject="s", body="[unsubscribe]")
    campaign_id = accept(any_db, "desk", draft).campaign_id
    answer = post(client, "/mailer/people/ada/erase", typed="ada")
    assert (answer.status_code, campaign_id in answer.text) == (409, True)
    assert person(any_db, "ada").user.name == "Ada Lovelace"


def test_page_exports_a_person_as_a_file(client: FlaskClient) -> None:
    answer = client.get("/mailer/people/ada/export")
    assert answer.mimetype == "application/json"
    assert "attachment" in answer.headers["Content-Disposition"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json["document"]["name"] == "Ada Lovelace"


@pytest.mark.parametrize("path", ["people/", "people/ada", "people/ada/erase", "people/ada/export"])
def test_pages_of_people_are_403_as_a_page_for_others(app: Flask, any_db: Database, path: str) -> None:
    client = app.test_client()
    sign_in(client, "desk", Tokens(any_db).create("desk", ["send-mail", "manage-campaigns"]))
    answer = client.get(f"/mailer/{path}")
    assert (answer.status_code, answer.mimetype) == (403, "text/html")
    assert "<code>manage-users</code>" in answer.text
    assert "ada@x.example" not in answer.text
    assert "people/" not in client.get("/mailer/").text
    posted = client.post(f"/mailer/{path}", data={"form": form_of(client.get("/mailer/").text), "typed": "ada"})
    assert posted.status_code in (403, 405)
    assert person(any_db, "ada").user.name == "Ada Lovelace"


@pytest.mark.parametrize("action", ["unsubscribe", "subscribe", "block", "lift", "erase"])
def test_form_that_is_not_ours_does_nothing_to_anybody(client: FlaskClient, any_db: Database, action: str) -> None:
    answer = client.post(f"/mailer/people/ada/{action}", data={"form": "0" * 64, "typed": "ada", "note": "x"})
    assert answer.status_code == 400
    assert person(any_db, "ada").user.state == "subscribed"


def test_page_of_a_person_shows_older_campaigns_and_links_only_what_its_reader_may_see(
    app: Flask, any_db: Database
) -> None:
    ids = campaigns_for(any_db, "ada", 30)
    operator, manager = app.test_client(), app.test_client()
    sign_in(operator, "desk", Tokens(any_db).create("desk", ["manage-users", "manage-campaigns"]))
    sign_in(manager, "desk", Tokens(any_db).create("desk", ["manage-users", "send-mail"]))
    first = operator.get("/mailer/people/ada").text
    assert f'href="../campaigns/{ids[-1]}"' in first
    older = re.search(r'href="\.\./(people/ada\?before=[^"]+)"', first)
    assert older is not None
    last = operator.get(f"/mailer/{older[1]}").text
    assert ids[0] in last
    assert ids[-1] not in last
    theirs = manager.get("/mailer/people/ada").text
    assert ids[-1] in theirs  # its subject
    assert "campaigns/c" not in theirs


@pytest.fixture
def mailer(tmp_path: Path, sqlite_db: Database, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `mailer users …`."""
    add(sqlite_db, user_row(1, id="ada", name="Ada Lovelace", username="countess"), user_row(2, id="bo", name="Bo"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILER_DATABASE_URL", sqlite_db.url)
    monkeypatch.setenv("MAILER_SECRET_KEY", "k" * 40)
    return lambda *arguments, **more: CliRunner().invoke(main, ["users", *arguments], **more)


def test_command_line_finds_shows_and_changes_a_person(mailer: Callable[..., Result]) -> None:
    assert "Ada Lovelace" in mailer("find", "lovel").stdout
    assert "Bo" not in mailer("find", "lovel").stdout
    assert mailer("unsubscribe", "countess", "--note", "by telephone").stdout == "unsubscribed: ada\n"
    shown = mailer("show", "ada").stdout
    assert "state: unsubscribed" in shown
    assert re.search(r"by: operator \(\w+\)", shown)
    assert "unsubscribe: by telephone" in shown
    assert mailer("subscribe", "ada").stdout == "subscribed: ada\n"
    assert mailer("block", "ada", "--note", "court order").stdout == "blocked: ada\n"
    assert "reason: court order" in mailer("show", "ada").stdout
    assert mailer("lift", "ada").stdout == "lifted: ada\n"
    assert mailer("campaigns", "ada").stdout.split() == ["campaign", "at", "status", "reported", "subject", "answer"]
    assert json.loads(mailer("export", "countess").stdout)["document"]["name"] == "Ada Lovelace"
    assert mailer("block", "nobody").exit_code == 1


def test_command_line_asks_before_it_erases(mailer: Callable[..., Result], sqlite_db: Database) -> None:
    for given in ("n\n", "countess\n", ""):
        answer = mailer("erase", "countess", input=given)
        assert answer.exit_code != 0
        assert person(sqlite_db, "ada").user.name == "Ada Lovelace"
    done = mailer("erase", "countess", input="ada\n")
    assert done.exit_code == 0
    assert "erased: ada; outcomes in 0 campaigns stay" in done.stdout
    assert mailer("erase", "ada", "--yes").exit_code == 1
    assert mailer("erase", "bo", "--yes").exit_code == 0
    assert "2 of the people have been erased" in mailer("list").stderr
    Path("back.csv").write_text("_id,name\nada,Ada\n")
    assert "1 more have been erased, and stay so" in mailer("import", "back.csv").stdout


def test_exports_say_how_many_were_erased(any_db: Database, app: Flask) -> None:
    harness = Harness(any_db)
    campaign_id = harness.accept({"_id": {"$in": ["ada", "desk"]}})
    harness.run()
    token = Tokens(any_db).create_for_service("desk", PERMISSIONS)
    headers = {"X-User-Id": "service:desk", "X-Auth-Token": token}
    paths = (f"campaigns/{campaign_id}/export", "unsubscribes/export", "suppressed-addresses/export")

    def told() -> list[str]:
        client = app.test_client()
        return [client.get(f"/api/v1/mailer/{path}", headers=headers).headers["Mailer-Erased"] for path in paths]

    assert told() == ["0", "0", "0"]
    erase(any_db, "ada", spool_path=Path("/nonexistent"))
    erase(any_db, "a/b", spool_path=Path("/nonexistent"))
    assert told() == ["1", "2", "2"]
    lines = app.test_client().get(f"/api/v1/mailer/{paths[0]}", headers=headers).text
    assert "ada,,sent" in lines
    assert "ada@x.example" not in lines
