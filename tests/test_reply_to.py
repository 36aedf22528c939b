"""`replyTo`: where the answers to a campaign go, from the POST to the header of each message."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.headerregistry import AddressHeader
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from app import create_app
from mailer.callers.tokens import Tokens
from mailer.campaigns.accept import accept
from mailer.campaigns.draft import Draft
from mailer.errors import IdempotencyConflict
from mailer.messages.addresses import Mailbox
from mailer.messages.layout import TemplateSource
from mailer.messages.recipient import Recipient
from mailer.messages.template import UnusableText, compile_message
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import Campaign
from tests.calling import calling
from tests.harness import Harness
from tests.service import PAYLOAD

ANSWERS = "Ann's Büro, 2nd floor <answers@example.org>"
DRAFT = Draft("News", "news@example.com", "Hi", "Hello [unsubscribe]", {"roles": "user"}, False)
SOURCE = TemplateSource(
    "c1", Mailbox("", "news@example.org"), "Hello", "[unsubscribe]", "Site", "https://mail.example.org"
)
ANN = Recipient("u1", "Ann Lee", "ann@example.org")
FORBIDDEN = ("\n", "\r", "\r\nBcc: x@example.org", "\t", "\x00", "\x0b", "\x7f", "\x85", "\u2028", "\u2029", "\ud800")


def rendered(reply_to: Mailbox | None) -> bytes:
    template = compile_message(replace(SOURCE, reply_to=reply_to))
    return template.render(ANN, "https://mail.example.org/u", 1_700_000_000_000).content


def answers_of(content: bytes) -> list[tuple[str, str]]:
    """Names and addresses in the Reply-To of a message, as a mail program reads them."""
    header = email.message_from_bytes(content, policy=email.policy.default)["Reply-To"]
    assert isinstance(header, AddressHeader)
    return [(one.display_name, one.addr_spec) for one in header.addresses]


# --- the message ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "line"),
    [
        pytest.param("", b"Reply-To: a@b.org", id="bare"),
        pytest.param("Ann Lee", b"Reply-To: Ann Lee <a@b.org>", id="words"),
        pytest.param("Lee, Ann", b'Reply-To: "Lee, Ann" <a@b.org>', id="comma"),
        pytest.param("Büro", b"Reply-To: =?utf-8?b?QsO8cm8=?= <a@b.org>", id="outside ASCII"),
    ],
)
def test_message_has_the_header_after_from(name: str, line: bytes) -> None:
    lines = rendered(Mailbox(name, "a@b.org")).split(b"\r\n")

    assert lines[:2] == [b"From: news@example.org", line]
    assert answers_of(rendered(Mailbox(name, "a@b.org"))) == [(name, "a@b.org")]


def test_message_without_it_has_no_such_header() -> None:
    assert b"Reply-To" not in rendered(None)


@pytest.mark.parametrize("character", FORBIDDEN, ids=ascii)
@pytest.mark.parametrize("part", ["name", "address"])
def test_header_cannot_be_injected_past_the_api(part: str, character: str) -> None:
    text = f"a{character}b"
    mailbox = Mailbox(text, "a@b.org") if part == "name" else Mailbox("", f"{text}@b.org")

    with pytest.raises(UnusableText, match="reply-to"):
        compile_message(replace(SOURCE, reply_to=mailbox))


@pytest.mark.parametrize("address", ["", "nobody", "a@b.org, c@d.org", "a@b.org>", "a b@c.org"])
def test_address_that_no_header_may_hold_is_refused(address: str) -> None:
    with pytest.raises(UnusableText, match="reply-to: not a valid address"):
        compile_message(replace(SOURCE, reply_to=Mailbox("", address)))


@given(name=st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=200))
def test_any_name_leaves_one_address_and_no_header_more(name: str) -> None:
    content = rendered(Mailbox(name, "a@b.org"))
    with_it, without = (email.message_from_bytes(made).keys() for made in (content, rendered(None)))

    assert with_it == ["From", "Reply-To", *without[1:]]
    assert [address for _, address in answers_of(content)] == ["a@b.org"]


# --- the request ------------------------------------------------------------------------------------------------------


@pytest.fixture
def client(db: Database, add_users: Callable[..., Any]) -> Iterator[FlaskClient]:
    """A client that calls as the first of two users."""
    add_users(db, 2)
    with calling(db) as made:
        yield made


def on_record(db: Database) -> list[tuple[str | None, str | None]]:
    with db.read() as connection:
        return [tuple(row) for row in connection.execute(select(Campaign.reply_to_name, Campaign.reply_to))]


TAKEN: dict[str, tuple[Any, tuple[str | None, str | None]]] = {
    "bare": ("answers@Example.ORG", ("", "answers@example.org")),
    "with a name": (ANSWERS, ("Ann's Büro, 2nd floor", "answers@example.org")),
    "another domain in letters": ("<a@münchen.example>", ("", "a@xn--mnchen-3ya.example")),
    "null": (None, (None, None)),
}


@pytest.mark.parametrize(("given", "kept"), TAKEN.values(), ids=TAKEN)
def test_address_is_kept_in_its_envelope_form(db: Database, client: FlaskClient, given: Any, kept: Any) -> None:
    answer = client.post("/api/v1/mailer", json={**PAYLOAD, "replyTo": given})

    assert (answer.status_code, answer.json) == (200, {"success": True})
    assert on_record(db) == [kept]


def test_form_has_it_too(db: Database, client: FlaskClient) -> None:
    assert client.post("/api/v1/mailer", data={**PAYLOAD, "replyTo": ANSWERS}).status_code == 200
    assert on_record(db) == [("Ann's Büro, 2nd floor", "answers@example.org")]


REFUSED = ["", " ", "nobody", "a@b@c.org", "a@b.org, c@d.org", "<a@b.org", 'A "b <a@b.org>', 5, True, [], {}]
REFUSED += [{"address": "a@b.org"}, f"{'a' * 300}@b.org", *(f"Ann{bad}Lee <a@b.org>" for bad in FORBIDDEN)]
REFUSED += [f"a{bad}@b.org" for bad in FORBIDDEN] + [f"a@b.org{bad}" for bad in FORBIDDEN]


@pytest.mark.parametrize("path", ["/api/v1/mailer", "/api/v1/mailer/preview"])
def test_anything_else_is_refused_and_the_field_named(db: Database, client: FlaskClient, path: str) -> None:
    for value in REFUSED:
        answer = client.post(path, json={**PAYLOAD, "replyTo": value})
        assert (answer.status_code, answer.json["errorType"]) == (400, "invalid-params"), value
        assert answer.json["details"]["field"] == "replyTo"
        assert answer.json["error"].startswith("replyTo: ")
    assert on_record(db) == []


def test_allowed_senders_do_not_bind_it(db: Database, add_users: Callable[..., Any]) -> None:
    add_users(db, 1)
    app = create_app(Settings(database_url=db.url, secret_key=("k" * 40,), allowed_senders=("@example.com",)))
    token = Tokens(db).create("user00000", ("send-mail",))
    headers = {"X-User-Id": "user00000", "X-Auth-Token": token}
    answer = app.test_client().post("/api/v1/mailer", json={**PAYLOAD, "replyTo": ANSWERS}, headers=headers)
    app.extensions["mailer"].db.close()

    assert answer.status_code == 200


def test_preview_shows_it(client: FlaskClient) -> None:
    def preview(**more: Any) -> Any:
        return client.post("/api/v1/mailer/preview", json={**PAYLOAD, **more})

    assert preview(replyTo=ANSWERS).json["replyTo"] == ANSWERS
    assert preview(replyTo="<answers@example.org>").json["replyTo"] == "answers@example.org"
    assert preview().json["replyTo"] is None


def test_preview_as_message_has_the_header(client: FlaskClient) -> None:
    headers = {"Accept": "message/rfc822"}
    answer = client.post("/api/v1/mailer/preview", json={**PAYLOAD, "replyTo": ANSWERS}, headers=headers)

    assert answers_of(answer.data) == [("Ann's Büro, 2nd floor", "answers@example.org")]


# --- the campaign -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dry_run", [False, True], ids=["campaign", "dry run"])
def test_delivered_messages_have_it(db: Database, add_users: Callable[..., Any], dry_run: bool) -> None:
    add_users(db, 2)
    harness = Harness(db)
    draft = replace(DRAFT, query={}, dry_run=dry_run, reply_to_name="Büro", reply_to="answers@example.org")
    accept(db, "user00000", draft)
    harness.run()

    sent = [answers_of(message.content) for message in harness.store.messages]

    assert sent == [[("Büro", "answers@example.org")]] * (1 if dry_run else 2)


OTHERS = {
    "address": replace(DRAFT, reply_to_name="", reply_to="a@b.org"),
    "name": replace(DRAFT, reply_to_name="Ann", reply_to="a@b.org"),
    "other address": replace(DRAFT, reply_to_name="Ann", reply_to="c@d.org"),
    "none": DRAFT,
}


def test_campaigns_that_differ_in_it_are_different_ones(db: Database) -> None:
    for draft in OTHERS.values():
        assert not accept(db, "ann", draft, repeat_window=60_000).replayed
        assert accept(db, "ann", draft, repeat_window=60_000).replayed
    with db.read() as connection:
        assert connection.scalar(select(func.count()).select_from(Campaign)) == len(OTHERS)


def test_key_with_another_address_is_a_conflict(db: Database) -> None:
    accept(db, "ann", DRAFT, "k")
    with pytest.raises(IdempotencyConflict):
        accept(db, "ann", OTHERS["address"], "k")


@pytest.mark.parametrize(
    ("draft", "as_repeat", "as_key"),
    [
        pytest.param(
            DRAFT,
            "75068e7146ebf552079566b8e5f4356d64b44996c9e1980e0978c0b43c7ff4b0",
            "18fe1b15b66a553f72b2cb15e0701388dfc69e8fe1f32c2d51417e063c7642c6",
            id="campaign",
        ),
        pytest.param(
            replace(DRAFT, sender_name="Büro", query={"roles": "user", "active": True}, dry_run=True),
            "a489e34060b9e71b2ae6417b990f9702add16c3aba0ac792170f19237aa57eaf",
            "42c3132780dd35664d9821485cb6d66db19452d25fab1c9da3b7681f06aa3070",
            id="dry run",
        ),
    ],
)
def test_fingerprint_without_it_is_that_of_earlier_versions(draft: Draft, as_repeat: str, as_key: str) -> None:
    assert draft.fingerprint() == as_repeat
    assert draft.fingerprint(sort_keys=True) == as_key
