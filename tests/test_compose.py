"""Writing a campaign on a page: what is saved, checked, shown and sent, and that nothing typed is lost."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, insert, select, update
from werkzeug.test import TestResponse

from app import create_app
from mailer.audience import field_values as known
from mailer.audience.field_values import KnownFieldValues, field_values
from mailer.audience.preview import measure
from mailer.campaigns import saved_drafts
from mailer.campaigns.accept import accept
from mailer.campaigns.checks.message_checks import GMAIL, Text, Warned, about_message, checks
from mailer.campaigns.draft import make_draft
from mailer.campaigns.saved_drafts import DraftSent, StaleDraft, TooManyDrafts, Typed
from mailer.errors import NotFound
from mailer.messages.addresses import Mailbox, parse_mailbox, written
from mailer.pages.compose import prefill
from mailer.pages.compose.query_form import NotReadable, QueryForm, from_text, reconciled, to_text
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import Batch, Campaign, PageSession, RefusedAddress, SavedDraft, SeenWorker, User
from mailer.storage.steps.small_steps import run_steps
from tests.conftest import user_row
from tests.test_signed_in_pages import form_of, sign_in, token_of

BODY = "<p>Hi [name] [unsubscribe]</p>"
NASTY = "\"><img src=x onerror=alert(1)> ' & {{ 7*7 }} </textarea></title><script>alert(1)</script>"
FIRST = {"from": "News <news@example.com>", "subject": "Hello", "body": BODY}


# the query as a form

SHOWN = {
    "": QueryForm(),
    '{"roles": "newsletter"}': QueryForm({"roles": ("newsletter",)}),
    '{"roles": {"$in": ["a", "b"]}}': QueryForm({"roles": ("a", "b")}),
    '{"roles": "user", "language": "de"}': QueryForm({"roles": ("user",), "language": ("de",)}),
    '{"createdAt": {"$gte": {"$date": "2015-01-01T00:00:00.000Z"}}}': QueryForm(since="2015-01-01"),
    '{"emails.address": {"$regex": "@example\\\\.com$", "$options": "i"}}': QueryForm({"domains": ("example.com",)}),
    '{"emails.address": {"$regex": "@(?:a\\\\.org|b\\\\.org)$", "$options": "i"}}': QueryForm(
        {"domains": ("a.org", "b.org")}
    ),
    '{"customFields.department": "sales"}': QueryForm({"customFields.department": ("sales",)}),
    '{"customFields.floor": {"$in": [1, 2.5, true]}}': QueryForm({"customFields.floor": (1, 2.5, True)}),
    '{"$or": [{"language": "de"}, {"customFields.city": "Wien"}]}': QueryForm(
        {"language": ("de",), "customFields.city": ("Wien",)}, any_of=True
    ),
}


@pytest.mark.parametrize(("text", "form"), SHOWN.items(), ids=SHOWN)
def test_form_makes_the_text_and_reads_it_back(text: str, form: QueryForm) -> None:
    assert to_text(form) == text
    found = from_text(text)
    assert found is not None
    assert found.same_as(form)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"roles": {"$ne": "guest"}}',
        '{"roles": {"$in": []}}',
        '{"roles": ["a"]}',
        '{"roles": null}',
        '{"roles": 5}',
        '{"name": "Ann"}',
        '{"customFields.a.b": 1}',
        '{"customFields.a": null}',
        '{"$or": [{"roles": "a"}]}',
        '{"$or": [{"roles": "a"}, {"roles": "b"}]}',
        '{"$or": [{"roles": "a", "language": "de"}, {"language": "en"}]}',
        '{"$and": [{"roles": "a"}, {"language": "b"}]}',
        '{"$nor": [{"roles": "a"}]}',
        '{"$or": [{"roles": "a"}, {"language": "b"}], "roles": "c"}',
        '{"createdAt": {"$gte": {"$date": "2015-01-01T10:00:00.000Z"}}}',
        '{"createdAt": {"$gte": 1420070400000}}',
        '{"createdAt": {"$gt": {"$date": "2015-01-01"}}}',
        '{"emails.address": {"$regex": "@example\\\\.com$"}}',
        '{"emails.address": {"$regex": "example", "$options": "i"}}',
        '{"emails.address": {"$regex": "@example.com$", "$options": "i"}}',
        '{"emails.address": "a@example.com"}',
        '{"services.x": 1}',
    ],
)
def test_text_that_is_not_of_the_forms_kind_is_not_shown_in_it(text: str) -> None:
    assert from_text(text) is None


scalars = st.text(max_size=5) | st.integers(-9, 9) | st.booleans()
domains = st.from_regex(r"\A[a-z0-9]{1,5}(\.[a-z0-9-]{1,5}){1,2}\Z")
forms = st.builds(
    lambda texts, customs, names, since, any_of: QueryForm(
        {**texts, **{f"customFields.{name}": values for name, values in customs.items()}, **names}, since, any_of
    ),
    st.dictionaries(
        st.sampled_from(["roles", "language"]), st.lists(st.text(max_size=5), min_size=1, unique=True).map(tuple)
    ),
    st.dictionaries(
        st.from_regex(r"\A[a-z]{1,6}\Z"),
        st.lists(scalars, min_size=1, max_size=3, unique_by=json.dumps).map(tuple),
        max_size=2,
    ),
    st.fixed_dictionaries({}, optional={"domains": st.lists(domains, min_size=1, max_size=3, unique=True).map(tuple)}),
    st.just("") | st.dates().map(str),
    st.booleans(),
)


@given(forms)
def test_whatever_the_form_asks_is_shown_in_it_again(form: QueryForm) -> None:
    text = to_text(form).replace("\x00", "")
    found = from_text(text)
    if "\\u0000" not in text and from_text(text) is not None:
        assert found is not None
        assert found.same_as(form)
    else:  # a name such as `token`, or a character that no document has: the selector refuses it, and says so
        assert form.chosen


ROLE_A, ROLE_B = QueryForm({"roles": ("a",)}), QueryForm({"roles": ("b",)})
A, B, OTHER = '{"roles": "a"}', '{"roles": "b"}', '{"name": "x"}'


@pytest.mark.parametrize(
    ("text", "shown", "form", "meant"),
    [
        ("", "", QueryForm(), ""),
        (A, A, ROLE_A, A),
        (B, A, ROLE_A, B),  # the text was changed
        (A, A, ROLE_B, B),  # the form was changed
        ("", "", ROLE_A, A),
        (A, A, QueryForm(), ""),
        (OTHER, A, ROLE_A, OTHER),
        (OTHER, OTHER, QueryForm(), OTHER),
        (OTHER, OTHER, ROLE_A, A),
        (B, A, ROLE_B, B),  # both, to the same
        (B, A, QueryForm(), None),
        (OTHER, "", ROLE_A, None),
        ("{", A, ROLE_A, "{"),
    ],
)
def test_side_of_the_query_that_was_changed_counts(text: str, shown: str, form: QueryForm, meant: str | None) -> None:
    assert reconciled(text, shown, form) == meant


@pytest.mark.parametrize(
    ("form", "field"),
    [
        (QueryForm({"domains": ("a b",)}), "domains"),
        (QueryForm({"domains": (".*|x",)}), "domains"),
        (QueryForm(since="tomorrow"), "createdAt"),
    ],
)
def test_what_no_query_can_ask_is_named(form: QueryForm, field: str) -> None:
    with pytest.raises(NotReadable) as raised:
        to_text(form)
    assert raised.value.field == field


# what the directory has, and who is left out


def people(db: Database) -> None:
    rows = [user_row(number) for number in range(12)]
    for number, row in enumerate(rows):
        document: dict[str, Any] = row["document"]  # type: ignore[assignment]
        roles = ["user", *(["news"] if number % 2 else [])]
        custom: dict[str, Any] = {
            "dept": "sales" if number < 4 else "dev",
            "floor": number % 2,
            "a.b": "x",
            "authToken": "x",
        }
        custom["many"] = [1, number // 6, 1, {}]
        document |= {
            "roles": roles,
            "language": "de" if number < 9 else "en",
            "customFields": {**custom, "many": [1, number // 6, 1, {}]},
        }
        row["roles"] = "\n" + "\n".join(roles) + "\n"
    rows[0] |= {"unsubscribed_at": 5}
    rows[1] |= {"active": False}
    rows[2] |= {"active": False, "unsubscribed_at": 5}
    rows[3] |= {"email": None}
    rows[5] |= {"email": "User00004@Example.com"}
    refused = {"address": "user00006@example.com", "campaigns": 3, "campaign_ids": "", "reply": "", "refused_at": 1}
    with db.write() as connection:
        connection.execute(insert(User), rows)
        connection.execute(insert(RefusedAddress).values(**refused, suppressed_at=1))


def test_values_of_fields_are_counted_of_those_who_get_mail(db: Database) -> None:
    people(db)
    found = field_values(db)
    assert found.exact
    assert found.roles == (("user", 8), ("news", 4))
    assert found.languages == (("de", 5), ("en", 3))
    assert found.domains == (("example.com", 8),)
    assert found.custom_fields == {
        "customFields.dept": (("dev", 8),),
        "customFields.floor": ((0, 4), (1, 4)),
        "customFields.many": ((1, 8), (0, 2)),
    }


def test_true_is_another_value_than_one(any_db: Database) -> None:
    rows = [user_row(number) for number in range(5)]
    for row, vip in zip(rows, (True, 1, 1, True, True), strict=True):
        row["document"] |= {"customFields": {"vip": vip}}  # type: ignore[operator]
    with any_db.write() as connection:
        connection.execute(insert(User), rows)
    assert repr(field_values(any_db).custom_fields["customFields.vip"]) == "((True, 3), (1, 2))"


def test_values_of_a_large_directory_are_estimated(db: Database, monkeypatch: pytest.MonkeyPatch, add_users) -> None:
    monkeypatch.setattr(known, "LOOKED_AT", 200)
    add_users(db, 3000)
    found = field_values(db)
    assert not found.exact
    assert found.roles == (("user", 3000),)
    assert found.domains == (("example.com", 3000),)


def test_values_are_looked_at_once_for_a_while(any_db: Database, add_users) -> None:
    kept = KnownFieldValues(any_db)
    assert kept.now().roles == ()
    add_users(any_db, 1)
    assert kept.now().roles == ()


@pytest.mark.parametrize("merge", [False, True])
def test_those_who_are_left_out_are_counted_by_reason(db: Database, merge: bool) -> None:
    people(db)
    found = measure(db, {}, merge=merge)
    assert (found.count, found.shared_address) == ((6, 1) if merge else (7, 0))
    assert (found.suppressed, found.deactivated, found.unsubscribed, found.no_address) == (1, 2, 1, 1)
    sales = measure(db, {"customFields.dept": "sales"}, merge=merge)
    assert (sales.count, sales.deactivated, sales.unsubscribed, sales.no_address) == (0, 2, 1, 1)


# what is looked at before sending


def looked(body: str, **settings: str) -> dict[str, Any]:
    return {one.looked.value: one for one in checks(Settings(**settings), Text("Hi", body))}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "at_fault"),
    [
        (BODY, set()),
        ("Plain [unsubscribe]", set()),
        ("<p>No link</p>", {"unsubscribe"}),
        ('<p style="display:none">[unsubscribe]</p>', {"unsubscribe"}),
        ("<!-- [unsubscribe] --><p>x</p>", {"unsubscribe"}),
        ('<a href="http://example.com/">x</a> [unsubscribe]', {"links"}),
        ('<a href=" HTTP://example.com/">x</a> [unsubscribe]', {"links"}),
        ("<a href='&#104;ttp://example.com/'>x</a> [unsubscribe]", {"links"}),
        ('<img alt="" src="http://example.com/a.png"> [unsubscribe]', {"links"}),
        ("See http://example.com/ [unsubscribe]", {"links"}),
        ('<a href="https://example.com/">http</a> [unsubscribe]', set()),
        ('<img src="https://example.com/a.png"> [unsubscribe]', {"images"}),
        ('<img src="https://example.com/a.png" alt="A"> <img alt src="x"> [unsubscribe]', set()),
        ("<p>[unsubscribe]</p>" + "x" * GMAIL, {"size"}),
        ("<p>[unsubscribe] [fnmae]</p>", {"words"}),
    ],
)
def test_message_is_looked_at_as_a_careful_person_would(body: str, at_fault: set[str]) -> None:
    assert {name for name, one in looked(body).items() if one.sentences} == at_fault


def test_header_and_footer_are_part_of_the_message() -> None:
    around = {"email_header": '<img src="http://a.example/x.png">', "email_footer": "<p>[unsubscribe]</p>"}
    found = looked("<p>[unsubscribe]</p>" + "x" * (GMAIL - 60), **around)
    assert {name for name, one in found.items() if one.sentences} == {"links", "images", "size"}


def test_sentences_name_what_is_wrong_and_how_often() -> None:
    links = "".join(f'<a href="http://example.com/{number}">x</a>' for number in range(5))
    (told,) = about_message(Settings(), Text("Hi", f"{links}[unsubscribe]"))
    assert told.code == "link-not-https"
    assert told.sentence == "Not https: http://example.com/0, http://example.com/1, http://example.com/2 and 2 more."
    assert about_message(Settings(), Text("Hi [fnmae]", "")) == (
        Warned("unknown-placeholder", "[fnmae] is no placeholder and goes out as it stands; did you mean [fname]?"),
    )


# drafts on record


def test_stale_draft_overwrites_nothing(db: Database) -> None:
    draft_id = saved_drafts.new_id()
    assert saved_drafts.save(db, "ann", draft_id, Typed(subject="1"), 0).version == 1
    assert saved_drafts.save(db, "ann", draft_id, Typed(subject="2"), 1).version == 2
    with pytest.raises(StaleDraft) as raised:
        saved_drafts.save(db, "ann", draft_id, Typed(subject="other tab"), 1)
    assert raised.value.version == 2
    assert saved_drafts.save(db, "ann", draft_id, Typed(subject="2"), 1).version == 2  # an answer that was lost
    assert saved_drafts.read(db, "ann", draft_id).typed.subject == "2"


def test_draft_is_its_owners_alone(db: Database) -> None:
    saved = saved_drafts.save(db, "ann", saved_drafts.new_id(), Typed(subject="Secret"), 0)
    with pytest.raises(NotFound):
        saved_drafts.read(db, "bob", saved.id)
    with pytest.raises(NotFound):
        saved_drafts.save(db, "bob", saved.id, Typed(), 1)
    with pytest.raises(NotFound):
        saved_drafts.discard(db, "bob", saved.id)
    saved_drafts.mark_sent(db, "bob", saved.id, "c1")
    assert saved_drafts.newest(db, "bob", 10) == []
    assert saved_drafts.read(db, "ann", saved.id).typed.subject == "Secret"


@pytest.mark.parametrize("draft_id", ["", "x", "A" * 24, "0" * 23, "drafts", "٠" * 24])
def test_draft_has_an_id_of_our_making(any_db: Database, draft_id: str) -> None:
    assert not saved_drafts.is_free(any_db, draft_id)
    with pytest.raises(NotFound):
        saved_drafts.save(any_db, "ann", draft_id, Typed(), 0)


def test_sent_draft_says_nothing_but_what_it_became(db: Database) -> None:
    saved = saved_drafts.save(db, "ann", saved_drafts.new_id(), Typed(subject="Secret", body="Secret"), 0)
    saved_drafts.mark_sent(db, "ann", saved.id, "c1")
    with pytest.raises(DraftSent) as raised:
        saved_drafts.read(db, "ann", saved.id)
    assert raised.value.campaign_id == "c1"
    with db.read() as connection:
        assert "Secret" not in str(connection.execute(select(*SavedDraft.__table__.columns)).all())


def test_drafts_are_listed_page_by_page_the_last_saved_first(db: Database) -> None:
    ids = [saved_drafts.new_id() for _ in range(7)]
    for number, draft_id in enumerate(ids):
        db.clock = lambda _connection, at=number // 2: at  # two at a time
        saved_drafts.save(db, "ann", draft_id, Typed(subject=str(number)), 0)
    found, before = [], None
    while page := saved_drafts.newest(db, "ann", 3, before):
        found += [one.id for one in page]
        before = page[-1].id
    assert sorted(found) == sorted(ids)
    assert found[0] == ids[6]


def test_nobody_has_more_drafts_than_one_can_keep_an_eye_on(any_db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_drafts, "MOST", 2)
    ids = [saved_drafts.new_id() for _ in range(3)]
    for draft_id in ids[:2]:
        saved_drafts.save(any_db, "ann", draft_id, Typed(), 0)
    with pytest.raises(TooManyDrafts):
        saved_drafts.save(any_db, "ann", ids[2], Typed(), 0)
    saved_drafts.save(any_db, "bob", ids[2], Typed(), 0)


def test_old_drafts_are_forgotten_and_sent_ones_sooner(db: Database) -> None:
    day = 86_400_000
    ids = [saved_drafts.new_id() for _ in range(3)]
    for at, draft_id in zip((0, 0, 9 * day), ids, strict=True):
        db.clock = lambda _connection, at=at: at
        saved_drafts.save(db, "ann", draft_id, Typed(), 0)
    db.clock = lambda _connection: 8 * day
    saved_drafts.mark_sent(db, "ann", ids[1], "c1")
    db.clock = lambda _connection: 10 * day
    assert run_steps(saved_drafts.forgetting(db, 5 * day)) == {"drafts": 2}
    assert [one.id for one in saved_drafts.newest(db, "ann", 9)] == [ids[2]]
    task = saved_drafts.draft_retention(db, day // 2, 60_000)
    assert task.run_when_due(__import__("threading").Event()) == {"drafts": 1}


@pytest.mark.parametrize("name", ["", "Ann", "Ann, B.", 'A "B" <C>', "back\\slash"])
def test_mailbox_is_written_as_it_is_read(name: str) -> None:
    assert parse_mailbox(written(Mailbox(name, "a@example.com"))) == Mailbox(name, "a@example.com")


# the pages

SETTINGS: dict[str, Any] = {
    "secret_key": ("k" * 40,),
    "rate_limit": "",
    "audience_rate_limit": "",
    "confirm_above": 2,
    "transport": "memory:",
    "max_body_bytes": 64 * 1024,
}


@pytest.fixture
def make(any_db: Database, add_users: Callable[..., list[str]]) -> Callable[..., Flask]:
    add_users(any_db, 3)
    return lambda **changes: create_app(Settings(database_url=any_db.url, **{**SETTINGS, **changes}))


@pytest.fixture
def app(make: Callable[..., Flask]) -> Flask:
    return make()


@pytest.fixture
def client(app: Flask, any_db: Database) -> FlaskClient:
    return entered(app, any_db)


def entered(app: Flask, db: Database, *permissions: str, user_id: str = "user00000") -> FlaskClient:
    made = app.test_client()
    sign_in(made, user_id, token_of(db, user_id, *permissions))
    return made


class Page:
    """A page with the form, as a browser without JavaScript has it."""

    def __init__(self, client: FlaskClient, answer: TestResponse) -> None:
        self.client, self.answer, self.text = client, answer, answer.text
        self.path = re.search(r'action="[./]*(compose/[0-9a-f]{24})"', self.text)[1]  # type: ignore[index]
        self.fields = {"form": form_of(self.text), **dict(_inputs(self.text))}
        chosen = re.search(r'<option value="(\w+)" selected>', self.text)
        self.fields["priority"] = chosen[1] if chosen else ""
        for name in ("body", "query"):
            found = re.search(rf'<textarea id="{name}"[^>]*>\n(.*?)</textarea>', self.text, re.DOTALL)
            self.fields[name] = html.unescape(found[1]) if found else ""

    def press(self, do: str, **changes: Any) -> TestResponse:
        data = {**self.fields, "do": do, **{name.replace("sender", "from"): value for name, value in changes.items()}}
        data = {name: value for name, value in data.items() if value is not None}
        return self.client.post(f"/mailer/{self.path}", data=data, content_type="multipart/form-data")

    def save(self, **changes: Any) -> Page:
        answer = self.press("save", **changes)
        assert answer.status_code == 303, said(answer)
        return Page(self.client, self.client.get(f"/mailer/{self.path}"))


def _inputs(page: str) -> list[tuple[str, str]]:
    found = []
    for tag in re.findall(r"<input [^>]*>", page):
        attributes = dict(re.findall(r'([\w.-]+)="([^"]*)"', tag))
        ticked = attributes.get("type") not in ("checkbox", "radio") or " checked" in tag
        if "name" in attributes and attributes["name"] != "form" and ticked and attributes.get("type") != "submit":
            found.append((html.unescape(attributes["name"]), html.unescape(attributes.get("value", ""))))
    return found


def opened(client: FlaskClient, arguments: str = "") -> TestResponse:
    return client.get("/mailer/" + client.get(f"/mailer/compose{arguments}").headers["Location"])


def new(client: FlaskClient, arguments: str = "") -> Page:
    return Page(client, opened(client, arguments))


def begun(client: FlaskClient, **changes: Any) -> Page:
    first = {"sender": FIRST["from"], "subject": FIRST["subject"], "body": BODY}
    return new(client).save(**{**first, **changes})


def said(answer: TestResponse) -> str:
    """What the page says of what is wrong: above the form, and at its fields."""
    return " ".join(re.findall(r'<(?:div class="said|span class="wrong)(.*?)</(?:div|span)>', answer.text, re.DOTALL))


def campaigns(db: Database) -> list[Any]:
    with db.read() as connection:
        return list(connection.execute(select(Campaign).order_by(Campaign.created_at)).all())


def count(db: Database, table: Any = SavedDraft) -> int:
    with db.read() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


def confirmed(client: FlaskClient, page: Page, **changes: str) -> TestResponse:
    """Press Send, and confirm what the next page says."""
    assert page.press("send").status_code == 303
    asked = client.get(f"/mailer/{page.path}/send")
    fields = {"form": form_of(asked.text), **dict(_inputs(asked.text)), **changes}
    return client.post(f"/mailer/{page.path}/send", data=fields)


def test_looking_at_an_empty_form_saves_nothing(client: FlaskClient, any_db: Database) -> None:
    page = new(client)
    assert page.fields["version"] == "0"
    assert page.fields["from"] == "user00000@example.com"
    assert count(any_db) == 0
    assert "Not saved yet" in page.text
    assert client.get(f"/mailer/{page.path}").status_code == 200


def test_draft_is_saved_and_there_again(client: FlaskClient, any_db: Database) -> None:
    body = " first\r\n\r\n<b>é</b>\ttail \n"
    page = begun(client, body=body, reply_to="", replyTo="answers@example.com", priority="bulk", dryrun="true")
    assert page.fields["body"] == body.replace("\r\n", "\n")
    assert (page.fields["version"], page.fields["replyTo"], page.fields["dryrun"]) == (
        "1",
        "answers@example.com",
        "true",
    )
    assert 'value="bulk" selected' in page.text
    page.save(subject="Other")
    drafts = client.get("/mailer/compose/drafts").text
    assert f'{page.path}">Other</a>' in drafts
    gone = client.post(f"/mailer/{page.path}/delete", data={"form": page.fields["form"]})
    assert gone.status_code == 303
    assert count(any_db) == 0
    assert "No drafts" in client.get("/mailer/compose/drafts").text


def test_drafts_of_others_are_not_there(app: Flask, client: FlaskClient, any_db: Database) -> None:
    page = begun(client, subject="Secret")
    other = entered(app, any_db, "send-mail", "manage-campaigns", user_id="user00001")
    for path in (page.path, f"{page.path}/send", f"{page.path}/preview", f"{page.path}/preview/html"):
        answer = other.get(f"/mailer/{path}")
        assert answer.status_code == 404, path
        assert "Secret" not in answer.text
    mine = new(other)
    assert other.post(f"/mailer/{page.path}/delete", data={"form": mine.fields["form"]}).status_code == 404
    mine.path = page.path
    answer = mine.press("save", subject="Mine")
    assert answer.status_code == 409
    kept = Page(other, answer)
    assert (kept.fields["subject"], kept.path != page.path, kept.fields["version"]) == ("Mine", True, "0")
    assert Page(client, client.get(f"/mailer/{page.path}")).fields["subject"] == "Secret"


def test_composing_takes_the_permission_to_send(app: Flask, any_db: Database) -> None:
    operator = entered(app, any_db, "manage-campaigns")
    assert operator.get(f"/mailer/compose/{'0' * 24}").status_code == 403
    assert "Compose" not in operator.get("/mailer/").text
    assert "Compose" in entered(app, any_db).get("/mailer/").text


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "no sender": ({"sender": ""}, "from", "Enter the address to send from."),
    "wrong sender": ({"sender": "nobody"}, "from", "Invalid from address"),
    "no subject": ({"subject": ""}, "subject", "Enter a subject."),
    "no link": ({"body": "<p>x</p>"}, "body", "You must provide the [unsubscribe] link."),
    "no body": ({"body": ""}, "body", "You must provide the [unsubscribe] link."),
    "query": ({"query": "{"}, "query", "The query is not JSON."),
    "operator": ({"query": '{"a": {"$where": 1}}'}, "query", "$where"),
    "reply": ({"replyTo": "x"}, "replyTo", "Neither an email address nor"),
    "priority": ({"priority": "soon"}, "priority", "Must be one of"),
    "urgent": ({"priority": "urgent"}, "priority", "This takes the permission send-urgent-mail."),
    "number": ({"minRecipients": "many"}, "minRecipients", "Not a whole number from 0 to"),
    "order": ({"minRecipients": "3", "maxRecipients": "2"}, "maxRecipients", "Is less than minRecipients."),
    "selection": ({"reached": "{"}, "compose", ""),
}


@pytest.mark.parametrize(("changes", "field", "told"), WRONG.values(), ids=WRONG)
def test_what_the_api_refuses_is_told_at_its_field_and_sends_nothing(
    client: FlaskClient, any_db: Database, changes: dict[str, Any], field: str, told: str
) -> None:
    page = begun(client, **changes)
    answer = page.press("send")
    assert answer.status_code == 400
    assert f'href="#{field}"' in said(answer)
    assert html.escape(told, quote=False) in html.unescape(said(answer)).replace("&#39;", "'")
    if field != "compose":
        assert f'id="{field}-wrong"' in answer.text
    assert client.get(f"/mailer/{page.path}/send").status_code == 400
    assert campaigns(any_db) == []


def test_all_that_is_wrong_is_told_at_once(make: Callable[..., Flask], any_db: Database) -> None:
    client = entered(make(allowed_senders=("@example.net",)), any_db)
    wrong = {"sender": "a@example.org", "subject": "", "body": "x", "query": "{", "replyTo": "x", "priority": "urgent"}
    answer = begun(client, **wrong).press("send")
    assert set(re.findall(r'<li><a href="#(\w+)"', answer.text)) == {"from", *wrong} - {"sender"}
    assert campaigns(any_db) == []


def test_only_senders_that_are_allowed_are_offered_and_taken(make: Callable[..., Flask], any_db: Database) -> None:
    client = entered(make(allowed_senders=("news@example.org", "@example.net")), any_db)
    page = new(client)
    assert page.fields["from"] == "news@example.org"
    assert "You may send as news@example.org, @example.net." in page.text
    assert re.findall(r'<option value="([^"]+@[^"]+)">', page.text) == ["news@example.org"]
    for sender, status in (("x@example.net", 303), ("X <news@example.org>", 303), ("user00000@example.com", 400)):
        assert begun(client, sender=sender).press("send").status_code == status, sender
    refused = begun(client).press("test-own", sender="")
    assert refused.status_code == 400


def test_campaign_is_confirmed_and_sent_once(client: FlaskClient, any_db: Database) -> None:
    page = begun(client, query='{"username": {"$in": ["user00000", "user00001"]}}')
    assert "Send this to 2 people?" in client.get(f"/mailer/{page.path}/send").text
    first = confirmed(client, page)
    (sent,) = campaigns(any_db)
    assert first.headers["Location"].endswith(f"campaigns/{sent.id}")
    assert (sent.caller_id, sent.sender, sent.sender_name) == ("user00000", "news@example.com", "News")
    assert (sent.subject, sent.body, sent.dry_run) == ("Hello", BODY, False)
    for again in ("", "/send", "/preview"):  # the back button
        assert client.get(f"/mailer/{page.path}{again}").headers["Location"].endswith(f"campaigns/{sent.id}")
    fields = {"form": page.fields["form"], "version": "1", "people": "2"}
    twice = client.post(f"/mailer/{page.path}/send", data=fields)
    assert twice.headers["Location"].endswith(f"campaigns/{sent.id}")
    assert len(campaigns(any_db)) == 1
    late = page.press("save", subject="More")
    assert late.status_code == 409
    assert Page(client, late).path != page.path
    assert "More" in late.text


def test_page_that_asks_names_another_campaign_for_the_same_people(client: FlaskClient, any_db: Database) -> None:
    first = begun(client)
    assert "most of the same people" not in client.get(f"/mailer/{first.path}/send").text
    fields = {"form": first.fields["form"], "version": "1", "people": "3", "typed": "3"}
    assert client.post(f"/mailer/{first.path}/send", data=fields).status_code == 303
    (sent,) = campaigns(any_db)
    asked = client.get(f"/mailer/{begun(client).path}/send").text
    assert f"Campaign {sent.id} of user00000, accepted less than an hour ago, reaches most of the same people." in asked


def test_two_clicks_at_once_send_once(client: FlaskClient, any_db: Database) -> None:
    page = begun(client, query='{"username": "user00001"}')
    confirmed(client, page)
    with any_db.write() as connection:  # as if the second had been read before the first was marked
        saved = {"subject": "Hello", "sent_as": None, "said": {"sender": FIRST["from"], "body": BODY}}
        saved["said"] |= {"query": '{"username": "user00001"}'}
        connection.execute(update(SavedDraft).values(**saved))
    assert confirmed(client, page).status_code == 303
    assert len(campaigns(any_db)) == 1


@pytest.mark.parametrize("typed", ["", "2", "4", "three", "-3", "3.5", "٣"])
def test_many_people_are_written_to_only_by_typing_their_number(
    client: FlaskClient, any_db: Database, typed: str
) -> None:
    page = begun(client)
    assert "Type the number of people: 3" in client.get(f"/mailer/{page.path}/send").text
    answer = confirmed(client, page, typed=typed)
    assert answer.status_code == 400
    assert "Type the number of people who will receive it." in answer.text
    assert campaigns(any_db) == []
    assert confirmed(client, page, typed=" 3 ").status_code == 303
    assert len(campaigns(any_db)) == 1


def test_number_that_has_grown_is_confirmed_anew(client: FlaskClient, any_db: Database) -> None:
    page = begun(client)
    asked = client.get(f"/mailer/{page.path}/send")
    with any_db.write() as connection:
        connection.execute(insert(User), [user_row(number) for number in range(50, 60)])
    fields = {"form": form_of(asked.text), **dict(_inputs(asked.text)), "typed": "3"}
    answer = client.post(f"/mailer/{page.path}/send", data=fields)
    assert answer.status_code == 400
    assert "There are more people now" in answer.text
    assert "Send this to 13 people?" in answer.text
    assert campaigns(any_db) == []


def test_draft_that_was_changed_after_the_question_is_not_sent(client: FlaskClient, any_db: Database) -> None:
    page = begun(client, query='{"username": "user00001"}')
    asked = client.get(f"/mailer/{page.path}/send")
    page.save(query="")
    fields = {"form": form_of(asked.text), **dict(_inputs(asked.text))}
    answer = client.post(f"/mailer/{page.path}/send", data=fields)
    assert answer.status_code == 400
    assert "The draft was changed" in answer.text
    assert campaigns(any_db) == []


def test_nobody_is_nobody(client: FlaskClient, any_db: Database) -> None:
    page = begun(client, query='{"username": "none"}')
    assert "Nobody would get this" in client.get(f"/mailer/{page.path}/send").text
    assert confirmed(client, page, people="0").status_code == 400
    assert campaigns(any_db) == []


def test_dry_run_goes_to_from_alone_and_leaves_the_draft(client: FlaskClient, any_db: Database) -> None:
    page = begun(client, dryrun="true")
    assert "Send one message to news@example.com?" in client.get(f"/mailer/{page.path}/send").text
    for _ in range(2):
        assert confirmed(client, page).status_code == 303
    (sent,) = campaigns(any_db)
    assert sent.dry_run
    page = page.save(dryrun=None, query='{"username": "user00001"}')
    assert confirmed(client, page).status_code == 303
    assert [one.dry_run for one in campaigns(any_db)] == [True, False]


def test_test_goes_to_oneself(client: FlaskClient, any_db: Database) -> None:
    page = begun(client)
    for do, to in (("test", None), ("test-own", ["user00000@example.com"])):
        for _ in range(2):  # a double click
            answer = page.press(do)
            assert answer.status_code == 303
        sent = campaigns(any_db)[-1]
        assert (sent.sender, sent.dry_run, sent.test_recipients) == ("news@example.com", True, to)
        assert f"?tested={sent.id}" in answer.headers["Location"]
        after = client.get(f"/mailer/{page.path}?tested={sent.id}").text
        assert "The test is on its way" in after
        assert f"campaigns/{sent.id}" in after
    assert len(campaigns(any_db)) == 2
    assert (
        Page(client, client.get(f"/mailer/{page.path}")).press("test").status_code == 303
    )  # another page, another test
    assert len(campaigns(any_db)) == 3


def test_test_to_oneself_is_from_an_allowed_sender(make: Callable[..., Flask], any_db: Database) -> None:
    client = entered(make(allowed_senders=("news@example.org",)), any_db)
    page = begun(client, sender="News <news@example.org>")
    assert "Send a test to user00000@example.com" in page.text
    assert page.press("test-own").status_code == 303
    (sent,) = campaigns(any_db)
    assert (sent.sender, sent.test_recipients) == ("news@example.org", ["user00000@example.com"])


def test_who_has_no_address_is_told_so(client: FlaskClient, any_db: Database) -> None:
    with any_db.write() as connection:
        connection.execute(update(User).where(User.id == "user00000").values(email=None))
    page = begun(client)
    assert 'value="test-own"' not in page.text
    refused = page.press("test-own")
    assert (refused.status_code, campaigns(any_db)) == (400, [])
    assert "The directory has no address of yours." in refused.text


def test_many_values_stand_in_the_text_alone_so_that_a_browser_can_send_the_page(client: FlaskClient) -> None:
    many = {f"customFields.t{field}": {"$in": [f"v{one}" for one in range(400)]} for field in range(3)}
    page = begun(client, query=json.dumps(many))
    assert "The form cannot show the query" in page.text
    assert page.save(subject="More").fields["subject"] == "More"


def test_test_goes_to_those_who_are_named_and_the_campaign_does_not(client: FlaskClient, any_db: Database) -> None:
    page = begun(client, to="ann@example.org, ben@example.org", query='{"username": "user00001"}')
    assert page.fields["to"] == "ann@example.org, ben@example.org"
    assert page.press("test").status_code == 303
    assert page.press("test-own").status_code == 303
    assert confirmed(client, page).status_code == 303
    named = [(one.dry_run, one.test_recipients) for one in campaigns(any_db)]
    assert named == [(True, ["ann@example.org", "ben@example.org"]), (True, ["user00000@example.com"]), (False, None)]


def test_named_dry_run_says_to_whom_it_goes(client: FlaskClient, any_db: Database) -> None:
    page = begun(client, to="ann@example.org,ben@example.org", dryrun="true")
    asked = client.get(f"/mailer/{page.path}/send").text
    assert "Send one message to ann@example.org, ben@example.org?" in asked
    assert confirmed(client, page).status_code == 303
    wrong = begun(client, to="nobody").press("test")
    assert (wrong.status_code, 'id="to-wrong"' in wrong.text) == (400, True)
    assert len(campaigns(any_db)) == 1


def test_campaign_for_another_number_than_the_draft_expects_is_not_sent(client: FlaskClient, any_db: Database) -> None:
    page = begun(client, query='{"username": "user00001"}', minRecipients="2", maxRecipients="")
    refused = confirmed(client, page)
    said = "The draft expects at least 2 people."
    assert (refused.status_code, said in refused.text) == (400, True)
    assert said in client.get(f"/mailer/{page.path}/send").text, "before anybody presses the button"
    page = page.save(minRecipients="1", maxRecipients="1")
    assert confirmed(client, page).status_code == 303
    (sent,) = campaigns(any_db)
    assert sent.query["$recipients"] == {"min": 1, "max": 1}
    again = new(client, f"?from-campaign={sent.id}")
    assert (again.fields["minRecipients"], again.fields["maxRecipients"]) == ("1", "1")
    assert "$recipients" not in again.fields["query"]
    rest = new(client, f"?from-campaign={sent.id}&not-reached={sent.id}")
    assert (rest.fields["minRecipients"], rest.fields["maxRecipients"]) == ("", "")


def test_page_says_how_long_it_takes_or_why_that_is_not_known(client: FlaskClient, any_db: Database) -> None:
    page = begun(client)
    for place in ("?look=1", "/send"):
        shown = client.get(f"/mailer/{page.path}{place}").text
        assert "How long it takes cannot be told now: no worker is running." in shown
    with any_db.write() as connection:
        now = any_db.clock(connection)
        seen = {"id": "w", "host": "h", "pid": 1, "engine": "local", "role": "web", "version": "0", "doing": ""}
        connection.execute(insert(SeenWorker), {**seen, "started_at": now, "seen_at": now})
        times = {"started_at": now - 20_000, "finished_at": now - 10_000, "created_at": now, "due_at": now, "fence": 0}
        what = {"id": "c", "caller_id": "x", "sender_name": "", "sender": "n@example.com", "subject": "s", "body": "b"}
        one = {**what, "query": {}, "dry_run": False, "state": "completed", **times}
        connection.execute(insert(Campaign), one)
        counts = {"planned": 100, "sent": 100, "failed": 0, "deferred": 0, "uncertain": 0, "skipped": 0}
        place = {"campaign_id": "c", "number": 0, "first_id": "a", "last_id": "b", "due_at": 1, "fence": 0}
        connection.execute(insert(Batch), {**place, "state": "done", "attempting": [], **counts})
    for at in ("?look=1", "/send"):
        assert "Sending it takes about 1 s." in client.get(f"/mailer/{page.path}{at}").text


def test_draft_without_the_later_fields_is_stored_as_before(client: FlaskClient, any_db: Database) -> None:
    begun(client)
    with any_db.read() as connection:
        (stored,) = connection.scalars(select(SavedDraft.said)).all()
    assert not {"min_recipients", "max_recipients", "to"} & stored.keys()


def test_tick_inlines_css_in_the_preview_and_in_the_campaign(client: FlaskClient, any_db: Database) -> None:
    body = "<style>p { color: red }</style><p>Hi [unsubscribe]</p>"
    page = begun(client, body=body, inlineCss="true")
    assert page.press("preview").status_code == 303
    shown = client.get(f"/mailer/{page.path}/preview/html").text

    assert page.fields.get("inlineCss") == "true"
    assert "color:red" in shown
    assert confirmed(client, page, typed="3").status_code == 303
    assert [one.inline_css for one in campaigns(any_db)] == [True]


def test_styles_that_cannot_be_inlined_are_told_at_the_tick(client: FlaskClient) -> None:
    body = "<style>p { color: red }</style>[unsubscribe]" + "<div>" * 1000
    answer = begun(client, body=body, inlineCss="true").press("send")

    assert answer.status_code == 400
    assert 'id="inlineCss-wrong">inlineCss: This cannot be done: the body has more than 256' in answer.text


def test_test_of_what_cannot_be_sent_says_why(client: FlaskClient, any_db: Database) -> None:
    answer = begun(client, body="x").press("test")
    assert answer.status_code == 400
    assert 'id="body-wrong"' in answer.text
    assert campaigns(any_db) == []


def test_rate_is_that_of_the_api_and_the_text_stays(make: Callable[..., Flask], any_db: Database) -> None:
    client = entered(make(rate_limit="2/minute"), any_db)
    page = begun(client, query='{"username": "user00001"}', subject="Kept")
    assert [new_test.status_code for new_test in (page.press("test"), page.press("test"))] == [303, 303]
    slow = page.press("test")
    assert (slow.status_code, slow.mimetype) == (429, "text/html")
    assert int(slow.headers["Retry-After"]) > 0
    assert Page(client, slow).fields["subject"] == "Kept"
    answer = confirmed(client, page)
    assert answer.status_code == 429
    assert "nothing is lost" in answer.text
    assert "Send this to 1 person?" in answer.text
    assert not [one for one in campaigns(any_db) if not one.dry_run]


def test_looks_have_the_rate_of_looks(make: Callable[..., Flask], any_db: Database) -> None:
    client = entered(make(audience_rate_limit="1/minute"), any_db)
    page = begun(client, subject="Kept")
    assert page.press("look").headers["Location"].endswith("?look=1#audience")
    assert client.get(f"/mailer/{page.path}?look=1").status_code == 200
    slow = client.get(f"/mailer/{page.path}?look=1")
    assert slow.status_code == 429
    assert Page(client, slow).fields["subject"] == "Kept"
    assert client.get(f"/mailer/{page.path}?part=1&look=1").status_code == 429
    page = page.save(body=BODY)
    assert client.get(f"/mailer/{page.path}/send").status_code == 429


@pytest.mark.parametrize("size", [20_000, 60_000])
def test_form_takes_what_the_api_takes(client: FlaskClient, any_db: Database, size: int) -> None:
    page = begun(client, body="[unsubscribe]" + "x" * size, query='{"username": "user00001"}')
    assert confirmed(client, page).status_code == 303
    assert len(campaigns(any_db)[0].body) == size + 13


@pytest.mark.parametrize("do", ["save", "send", "preview", "test"])
def test_text_that_is_too_large_is_413_and_stays(client: FlaskClient, any_db: Database, do: str) -> None:
    page = begun(client)
    large = "[unsubscribe]" + "ä" * 40_000
    answer = page.press(do, body=large, subject="Kept")
    assert (answer.status_code, answer.mimetype) == (413, "text/html")
    kept = Page(client, answer)
    assert (kept.fields["body"], kept.fields["subject"]) == (large, "Kept")
    assert "neither saved nor sent" in said(answer)
    assert kept.press("save", body=BODY).status_code == 303
    assert campaigns(any_db) == []


def test_form_beyond_all_measure_is_413_and_leads_to_what_was_saved(client: FlaskClient) -> None:
    page = begun(client)
    answer = page.press("save", body="x" * (64 * 1024 * 5))
    assert (answer.status_code, answer.mimetype) == (413, "text/html")
    assert f'{page.path}">' in answer.text


def test_other_forms_stay_small(client: FlaskClient) -> None:
    form = new(client).fields["form"]
    large = {"form": form, "x": "y" * 20_000}
    answer = client.post("/mailer/sign-out", data=large, content_type="multipart/form-data")
    assert answer.status_code == 413


def end_session(db: Database) -> None:
    with db.write() as connection:
        connection.execute(update(PageSession).values(expires_at=1))


@pytest.mark.parametrize("do", ["save", "send", "look", "test"])
def test_session_that_ends_while_one_writes_loses_nothing(
    app: Flask, client: FlaskClient, any_db: Database, do: str
) -> None:
    page = begun(client)
    end_session(any_db)
    answer = page.press(do, body=f"{BODY} & more", subject=NASTY)
    assert (answer.status_code, answer.mimetype) == (401, "text/html")
    assert "You have been signed out" in answer.text
    assert "<script>alert" not in answer.text
    assert "send-mail" not in answer.text
    carried = {name: value for name, value in _inputs(answer.text) if name != "form"}
    body = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", answer.text, re.DOTALL)
    assert body is not None
    carried |= {"body": html.unescape(body[1]), "form": ""}
    assert (carried["subject"], carried["body"]) == (NASTY, f"{BODY} & more")

    sign_in(client, "user00000", token_of(any_db, "user00000"))
    again = client.post(f"/mailer/{page.path}", data=carried, content_type="multipart/form-data")
    kept = Page(client, again)
    assert (kept.fields["subject"], kept.fields["body"]) == (NASTY, f"{BODY} & more")
    assert "Nothing is lost" in again.text
    assert campaigns(any_db) == []
    assert kept.save().fields["subject"] == NASTY


@pytest.mark.parametrize("ended", [True, False])
def test_answer_to_the_question_of_a_session_before_sends_nothing_and_empties_nothing(
    client: FlaskClient, any_db: Database, ended: bool
) -> None:
    page = begun(client, query='{"username": "user00001"}')
    asked = client.get(f"/mailer/{page.path}/send")
    fields = {"form": form_of(asked.text), **dict(_inputs(asked.text))}
    end_session(any_db) if ended else sign_in(client, "user00000", token_of(any_db, "user00000"))
    answer = client.post(f"/mailer/{page.path}/send", data=fields)
    assert answer.status_code == (303 if ended else 400)
    assert 'name="version"' not in answer.text
    sign_in(client, "user00000", token_of(any_db, "user00000"))
    assert Page(client, client.get(f"/mailer/{page.path}")).fields["body"] == BODY
    assert campaigns(any_db) == []


def test_page_of_the_session_before_is_taken_by_pressing_again(client: FlaskClient, any_db: Database) -> None:
    page = begun(client, query='{"username": "user00001"}')
    sign_in(client, "user00000", token_of(any_db, "user00000"))
    answer = page.press("send", subject="Newer")
    kept = Page(client, answer)
    assert kept.fields["subject"] == "Newer"
    assert kept.press("send").status_code == 303
    assert campaigns(any_db) == []


def test_form_of_another_site_does_nothing(client: FlaskClient, any_db: Database) -> None:
    page = begun(client)
    for path in (page.path, f"{page.path}/send", f"{page.path}/delete"):
        answer = client.post(
            f"/mailer/{path}", data={"form": "0" * 64, "subject": "Theirs", "people": "3", "typed": "3"}
        )
        assert answer.mimetype == "text/html"
    assert campaigns(any_db) == []
    assert Page(client, client.get(f"/mailer/{page.path}")).fields["subject"] == "Hello"


def as_script(page: Page, **changes: Any) -> TestResponse:
    headers = {"Accept": "application/json"}
    data = {**page.fields, **changes}
    return page.client.post(f"/mailer/{page.path}", data=data, headers=headers, content_type="multipart/form-data")


def test_script_saves_and_learns_what_it_must_show(client: FlaskClient, any_db: Database) -> None:
    page = begun(client)
    answer = as_script(page, **{"is.roles": '"user"', "subject": "Two"})
    assert answer.get_json() | {"savedAt": 0} == {
        "version": 2,
        "savedAt": 0,
        "query": '{"roles": "user"}',
        "problems": {},
    }
    stale = as_script(page, subject="Three")
    assert (stale.status_code, "elsewhere" in stale.get_json()["said"]) == (409, True)
    assert as_script(page, body="ä" * 40_000).status_code == 413
    assert as_script(page, body="x" * 400_000).get_json() == {"tooLarge": True}
    now = {"version": "2", "subject": "Two", "query": '{"roles": "user"}', "shown": '{"roles": "user"}'}
    unreadable = as_script(page, since="tomorrow", **now)
    assert "createdAt" in unreadable.get_json()["problems"]
    sign_in(client, "user00000", token_of(any_db, "user00000"))
    other = as_script(page)
    assert (other.status_code, set(other.get_json())) == (400, {"form"})
    end_session(any_db)
    assert (as_script(page).status_code, as_script(page).get_json()) == (401, {"signedOut": True})


def test_two_tabs_do_not_overwrite_each_other(client: FlaskClient) -> None:
    first = begun(client)
    second = Page(client, client.get(f"/mailer/{first.path}"))
    first.save(subject="First")
    stale = second.press("save", subject="Second")
    assert stale.status_code == 409
    kept = Page(client, stale)
    assert (kept.fields["subject"], kept.fields["version"]) == ("Second", "2")
    assert "Nothing was overwritten" in said(stale)
    assert Page(client, client.get(f"/mailer/{first.path}")).fields["subject"] == "First"
    copied = kept.press("copy")
    assert copied.status_code == 303
    place = copied.headers["Location"].rpartition("/")[2]
    assert Page(client, client.get(f"/mailer/compose/{place}")).fields["subject"] == "Second"
    assert kept.save().fields["subject"] == "Second"  # now it is meant


def test_form_of_the_query_is_made_from_the_directory_and_makes_the_text(
    client: FlaskClient, any_db: Database, app: Flask
) -> None:
    page = begun(client)
    assert (
        "name=\"is.roles\" value='&#34;user&#34;'" in page.text or 'name="is.roles" value="&#34;user&#34;"' in page.text
    )
    assert re.search(r'class="label">user</span>\s*<span class="hint number">3</span>', page.text)
    shown = page.save(**{"is.roles": '"user"', "other.domains": "Example.com", "since": "2014-05-06"})
    assert json.loads(shown.fields["query"]) == {
        "roles": "user",
        "emails.address": {"$regex": "@example\\.com$", "$options": "i"},
        "createdAt": {"$gte": {"$date": "2014-05-06T00:00:00.000Z"}},
    }
    assert (shown.fields["is.roles"], shown.fields["is.domains"], shown.fields["since"]) == (
        '"user"',
        '"example.com"',
        "2014-05-06",
    )
    any_of = shown.save(match="any")
    assert list(json.loads(any_of.fields["query"])) == ["$or"]
    free = any_of.save(query='{"name": {"$ne": "x"}}')
    assert "The form cannot show the query" in free.text
    assert "is.roles" not in free.fields
    replaced = free.save(**{"is.roles": '"user"'})
    assert replaced.fields["query"] == '{"roles": "user"}'
    both = replaced.press("save", query='{"language": "de"}', **{"is.roles": '"other"'})
    assert both.status_code == 400
    assert Page(client, both).fields["query"] == '{"language": "de"}'
    assert "both changed" in said(both)


def test_field_of_the_query_form_that_is_wrong_is_told_and_stays(client: FlaskClient, any_db: Database) -> None:
    page = begun(client)
    answer = page.press("send", **{"other.domains": "a b", "is.roles": '"user"'})
    assert answer.status_code == 400
    assert "is no domain" in answer.text
    kept = Page(client, answer)
    assert kept.fields["is.domains"] == '"a b"'
    assert kept.fields["is.roles"] == '"user"'
    assert kept.press("send").status_code == 400
    assert campaigns(any_db) == []


@pytest.mark.parametrize(
    ("typed", "asked"),
    [("42", 42), ("-1.5", -1.5), ("042", "042"), ("NaN", "NaN"), ("1e9", "1e9"), ("true", "true"), ("two", "two")],
)
def test_what_is_typed_for_a_field_of_numbers_is_a_number(
    client: FlaskClient, any_db: Database, typed: str, asked: object
) -> None:
    with any_db.write() as connection:
        document = {**user_row(0)["document"], "customFields": {"floor": 7, "room": "7"}}  # type: ignore[dict-item]
        connection.execute(update(User).where(User.id == "user00000").values(document=document))
    page = begun(client)
    assert {"number.customFields.floor", "other.customFields.room"} <= set(page.fields)
    shown = page.save(**{"number.customFields.floor": typed, "other.customFields.room": typed})
    assert json.loads(shown.fields["query"]) == {"customFields.floor": asked, "customFields.room": typed}


def test_audience_is_told_with_what_is_left_out(client: FlaskClient, any_db: Database) -> None:
    with any_db.write() as connection:
        connection.execute(update(User).where(User.id == "user00002").values(unsubscribed_at=5))
    page = begun(client)
    looked_at = client.get(f"/mailer/{page.path}?look=1").text
    assert re.search(r"<strong>2</strong> people get it now", looked_at)
    assert re.search(r"<dt>unsubscribed</dt><dd>1</dd>", looked_at)
    assert "u***@example.com" in looked_at
    assert "user00001@example.com" not in looked_at
    part = client.get(f"/mailer/{page.path}?part=1&look=1").text
    assert part.lstrip().startswith("<fieldset")
    assert "Nobody has been counted yet" in page.text  # no look at all unless it is asked for
    odd = page.save(query='{"xyzzy": 1}')
    assert "No user has the field" in html.unescape(client.get(f"/mailer/{odd.path}?look=1").text)
    wrong = page.press("save", version=odd.fields["version"], query="{").status_code
    assert wrong == 303
    assert "The query cannot be read yet" in client.get(f"/mailer/{odd.path}?look=1").text


def test_preview_is_of_the_message_and_runs_nothing(client: FlaskClient, any_db: Database) -> None:
    with any_db.write() as connection:
        connection.execute(update(User).where(User.id == "user00001").values(name=NASTY))
    page = begun(client, body="<p>Hi [name]</p><script>alert(1)</script> [unsubscribe]", replyTo="r@example.com")
    shown = client.get(f"/mailer/{page.path}/preview?user=user00001")
    assert shown.status_code == 200
    assert "<script>alert" not in shown.text
    assert "<img src=x" not in shown.text
    assert 'sandbox title="' in shown.text
    assert "r@example.com" in shown.text
    assert "frame-src 'self'" in shown.headers["Content-Security-Policy"]
    assert "unsafe" not in shown.headers["Content-Security-Policy"]

    framed = client.get(f"/mailer/{page.path}/preview/html?user=user00001")
    policy = dict(part.partition(" ")[::2] for part in framed.headers["Content-Security-Policy"].split("; "))
    assert "sandbox" in policy
    assert policy["sandbox"] == ""
    assert policy["default-src"] == "'none'"
    assert "script-src" not in policy
    assert policy["frame-ancestors"] == "'self'"
    assert framed.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert html.escape(NASTY).replace("&#x27;", "'")[:20].replace("'", "") in framed.text.replace("&#x27;", "")
    assert "color-scheme:dark" not in framed.text
    assert "color-scheme:dark" in client.get(f"/mailer/{page.path}/preview/html?scheme=dark").text

    text = client.get(f"/mailer/{page.path}/preview?user=user00000&view=text").text
    assert "Hi Ann 0" in text
    source = client.get(f"/mailer/{page.path}/preview?view=source").text
    assert "List-Unsubscribe: &lt;http://127.0.0.1:8000/" in source
    assert client.get(f"/mailer/{page.path}/preview?user=nobody").status_code == 404
    assert "There is nobody to show it for." in client.get(f"/mailer/{page.path}/preview?user=nobody").text


def test_preview_of_what_cannot_be_sent_says_what_is_missing(client: FlaskClient) -> None:
    page = begun(client, body="No link")
    answer = client.get(f"/mailer/{page.path}/preview")
    assert answer.status_code == 400
    assert 'id="body-wrong"' in answer.text
    assert client.get(f"/mailer/{page.path}/preview/html").status_code == 400


def test_what_was_typed_stays_text(client: FlaskClient) -> None:
    page = begun(client, subject=NASTY, sender=NASTY, replyTo=NASTY, body=NASTY, query=NASTY, reached=NASTY)
    for path in ("", "?look=1", "?part=1", "/preview", "/send"):
        answer = client.get(f"/mailer/{page.path}{path}")
        assert "<img" not in answer.text, path
        assert "alert(1)</script>" not in answer.text, path
    assert page.fields["body"] == NASTY
    assert page.fields["subject"] == NASTY
    assert "<img" not in client.get("/mailer/compose/drafts").text
    strange = page.save(**{"is.customFields.<b>": '"<i>"', "query": "", "shown": ""})
    assert "<b>" not in strange.text
    assert "<i>" not in strange.text


def test_nul_is_replaced_as_no_database_keeps_it(client: FlaskClient) -> None:
    assert begun(client, subject="a\0b", body="[unsubscribe]\0").fields["subject"] == "a\N{REPLACEMENT CHARACTER}b"


def test_campaign_is_written_again_from_what_it_said(app: Flask, client: FlaskClient, any_db: Database) -> None:
    said_before = make_draft(
        Settings(),
        sender='"A <B>" <news@example.com>',
        subject="Before",
        body=BODY,
        query='{"roles": "user"}',
        reply_to=Mailbox("", "r@example.com"),
    )
    campaign_id = accept(any_db, "user00000", said_before).campaign_id
    page = new(client, f"?from-campaign={campaign_id}")
    fields = {"from": '"A <B>" <news@example.com>', "subject": "Before", "body": BODY, "query": '{"roles": "user"}'}
    assert {name: page.fields[name] for name in fields} == fields
    assert page.fields["replyTo"] == "r@example.com"
    assert page.save().press("send").status_code == 303
    other = entered(app, any_db, user_id="user00001")
    assert opened(other, f"?from-campaign={campaign_id}").status_code == 404
    assert opened(client, "?from-campaign=none").status_code == 404


@pytest.mark.parametrize("first_named", ["from-campaign", "not-reached"])
def test_selection_that_is_asked_for_is_in_the_form_whatever_stands_beside_it(
    client: FlaskClient, any_db: Database, first_named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefill, "FIELDS", prefill.FIELDS | {"reached", "notReached"})
    said_before = make_draft(Settings(), sender="news@example.com", subject="Before", body=BODY)
    campaign_id = accept(any_db, "user00000", said_before).campaign_id
    names = sorted(["from-campaign", "not-reached"], key=lambda name: name != first_named)
    page = new(client, "?" + "&".join(f"{name}={campaign_id}" for name in names))
    assert json.loads(page.fields["notReached"]) == {"campaign": campaign_id, "outcomes": ["sent", "uncertain"]}
    assert page.fields["reached"] == ""
    with any_db.write() as connection:
        narrowed = {"roles": "user", "$notReached": {"campaign": "other", "outcomes": ["sent"]}}
        connection.execute(update(Campaign).values(query=narrowed))
    again = new(client, f"?from-campaign={campaign_id}")
    assert json.loads(again.fields["notReached"]) == {"campaign": "other", "outcomes": ["sent"]}
    assert json.loads(again.fields["query"]) == {"roles": "user"}
    mended = new(client, f"?from-campaign={campaign_id}&not-reached={campaign_id}")
    assert json.loads(mended.fields["notReached"]) == {"campaign": campaign_id, "outcomes": ["sent", "uncertain"]}
    with any_db.write() as connection:
        others = {"$notReached": {"campaign": "other", "outcomes": ["failed"]}}
        connection.execute(update(Campaign).values(query=others))
    assert opened(client, f"?from-campaign={campaign_id}&not-reached={campaign_id}").status_code == 400
    monkeypatch.setattr(prefill, "FIELDS", prefill.FIELDS - {"reached", "notReached"})
    assert opened(client, f"?not-reached={campaign_id}").status_code == 404


def test_selection_by_an_earlier_campaign_is_never_lost(client: FlaskClient, any_db: Database) -> None:
    """It goes to the API as it is: what the API does not take is refused, and nobody is written to by mistake."""
    page = begun(client, notReached='{"campaign": "none", "outcomes": ["sent"]}')
    assert page.fields["notReached"] == '{"campaign": "none", "outcomes": ["sent"]}'
    assert page.press("send").status_code in (400, 404)
    assert campaigns(any_db) == []


# the same by the API


def test_values_of_fields_and_those_left_out_are_told_by_the_api(app: Flask, any_db: Database) -> None:
    with any_db.write() as connection:
        connection.execute(update(User).where(User.id == "user00002").values(unsubscribed_at=5))
    headers = {"X-User-Id": "user00000", "X-Auth-Token": token_of(any_db, "user00000")}
    api = app.test_client()
    found = api.get("/api/v1/mailer/audience/fields", headers=headers).get_json()
    assert found == {
        "success": True,
        "exact": True,
        "roles": [{"value": "user", "count": 2}],
        "languages": [],
        "domains": [{"value": "example.com", "count": 2}],
        "customFields": {},
    }
    assert api.get("/api/v1/mailer/audience/fields").status_code == 401
    audience = api.post("/api/v1/mailer/audience", json={"body": "<img src='http://x/'>"}, headers=headers).get_json()
    counted = {"count": 2, "suppressed": 0, "deactivated": 0, "unsubscribed": 1, "noAddress": 0, "sharedAddress": 0}
    assert {name: audience[name] for name in counted} == counted
    assert audience["sample"][0]["userId"] == "user00000"
    assert len(audience["warnings"]) == 3  # no [unsubscribe], no https, no alt text
