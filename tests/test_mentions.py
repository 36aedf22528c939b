"""Somebody who is erased goes from what others have written, in whatever spelling; who is somebody else stays."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from html import escape
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select

from mailer.campaigns import control
from mailer.campaigns.people.actions import Action, act
from mailer.campaigns.people.erasure import erase
from mailer.campaigns.people.mentions.elsewhere import APART, texts_of
from mailer.campaigns.people.mentions.spellings import GONE, NAMELESS, Traces
from mailer.errors import InvalidState
from mailer.interception.redirected import redirected
from mailer.mailbox.arriving import KeptTransport
from mailer.mailbox.sorting import sort_in_all
from mailer.mailbox.store import MailboxStore
from mailer.messages.template import delivery_id
from mailer.storage.database import Database
from mailer.storage.models import AuthToken, Base, Campaign, CampaignText, Delivery, RefusedAddress, SavedDraft, Wish
from tests.harness import Harness
from tests.test_erasure import ADDRESS, DOCUMENT, ID, NOWHERE, SECOND, bring, kept, left, user
from transports.base import Message
from transports.memory import MemoryTransport

LOWER = ADDRESS.lower()
WRITTEN = {
    "as it is": f"Ask {ADDRESS}.",
    "in capitals": f"<{ADDRESS.upper()}>",
    "a link": f'<a href="mailto:{ADDRESS}?subject=x">',
    "percent-encoded": f"https://x.example/?to={quote(LOWER)}&x=1",
    "percent-encoded, dots too": f"https://x.example/?to={quote(LOWER).replace('.', '%2E')}",
    "percent-encoded twice, behind a colon": f"https://x.example/?u=mailto%3A{quote(quote(LOWER))}",
    "character references": f"{LOWER.replace('@', '&#64;').replace('.', '&#x2e;')}",
    "named references": LOWER.replace("@", "&commat;").replace(".", "&period;"),
    "all characters as references": "".join(f"&#{ord(char)};" for char in LOWER),
    "quoted-printable": LOWER.replace("@", "=40"),
    "a pattern": "^quinta\\.zorilla@example\\.net$",
    "a pattern with brackets": "quinta[.]zorilla[@]example[.]net",
    "JSON": json.dumps({"a": f"x\n{LOWER}"}).replace("@", "\\u0040"),
    "base64": f"https://x.example/?u={base64.b64encode(LOWER.encode()).decode()}",
    "base64 of more": f"https://x.example/?u={base64.urlsafe_b64encode(f'{{1: {ADDRESS}}}'.encode()).decode()}",
    "the name of a list": f"{ADDRESS}.csv",
    "the name": "Thanks to Quinta Zorilla!",
    "the name, over two lines": "Thanks to QUINTA\n  ZORILLA",
    "the name in a link": "https://x.example/?n=Quinta%20Zorilla",
    "the name in HTML": "Quinta&nbsp;Zorilla",
    "the user name, mentioned": "ask @qzorilla, please",
}
OTHERS = [
    f"x.{LOWER}",
    f"new+{LOWER}",
    f"{LOWER}.au",
    f"{LOWER}-work",
    "Quinta",
    "Mr Zorilla",
    "Quinta and Zorilla",
    "qzorilla",
    "qzorilla@example.org",
    base64.b64encode(b"an image, say").decode(),
]
TRACES = Traces([ADDRESS, LOWER, SECOND], "Quinta Zorilla", "qzorilla")


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_text_is_without_them_in_any_spelling(text: str) -> None:
    assert TRACES.within(text)
    without = TRACES.without(text)
    assert GONE in without or NAMELESS in without
    assert not TRACES.within(without)
    assert any(piece in text.lower() for piece in TRACES.looked_for)


@pytest.mark.parametrize("text", OTHERS)
def test_who_is_only_called_alike_stays(text: str) -> None:
    assert TRACES.without(text) == text


LOCAL = st.from_regex(r"[a-z0-9]{1,9}([.+_-][a-z0-9]{1,9}){0,2}", fullmatch=True)


@given(LOCAL, st.sampled_from(["example.net", "xn--bcher-kva.example"]), st.text(" ,;:<>\"'=&?", max_size=3))
def test_any_address_is_found_however_it_is_encoded(local: str, domain: str, around: str) -> None:
    address = f"{local}@{domain}"
    traces = Traces([address])
    plain = f"{around}{address}{around}"
    octets = around.encode() + address.encode() + around.encode()
    for text in (
        plain,
        quote(plain, safe=""),
        quote(plain, safe="").lower(),
        escape(plain).replace("@", "&#64;"),
        "".join(f"&#x{ord(char):x};" for char in plain),
        json.dumps(plain),
        base64.b64encode(octets).decode(),
    ):
        assert not traces.within(traces.without(text))
        assert traces.within(text)
        assert any(piece in text.lower() for piece in traces.looked_for)


def test_domain_is_found_in_both_its_forms() -> None:
    traces = Traces(["ida@xn--bcher-kva.example"])
    for text in ("ida@bücher.example", quote("ida@bücher.example"), "ida@xn--bcher-kva.example"):
        assert traces.without(f"to {text} now") == f"to {GONE} now"


def test_query_loses_names_where_it_asks_for_names() -> None:
    query = {
        "$or": [{"username": {"$in": ["qzorilla", "other"]}}, {"name": "quinta zorilla"}, {"username": "^qzorilla$"}],
        "roles": "qzorilla",
        "emails.address": {"$regex": "quinta\\.zorilla@", "$not": {"$regex": LOWER.replace(".", "\\.")}},
    }
    assert TRACES.without_all(query) == {
        "$or": [{"username": {"$in": [NAMELESS, "other"]}}, {"name": NAMELESS}, {"username": NAMELESS}],
        "roles": "qzorilla",
        "emails.address": {"$regex": "quinta\\.zorilla@", "$not": {"$regex": GONE}},
    }
    draft = {"query": json.dumps({"username": "qzorilla"}), "body": "qzorilla"}
    assert TRACES.without_all(draft) == {"query": json.dumps({"username": NAMELESS}), "body": "qzorilla"}


def rows(written: str) -> dict[Any, dict[str, Any]]:
    """A row in each table in which somebody may have written something, with it in each text."""
    text = {"subject": written, "body": written}
    delivery = {"campaign_id": "c1", "user_id": "user00001", "status": "failed", "attempts": 1, "uncertain_attempts": 0}
    refused = {"address": "o@x.example", "campaigns": 1, "campaign_ids": "", "refused_at": 1}
    wish = {"kind": "address", "value": "w@x.example", "unsubscribed_at": 1, "kept_at": 1}
    tables = Base.metadata.tables
    act_of = {"id": 900, "at": 1, "who": "x", "via": "cli", "origin": "h", "act": "create-token"}
    left_by = {"id": 900, "at": 1, "event": "unsubscribed", "means": "list", "user_id": "user00001"}
    draft = {"id": "d", "caller_id": "user00001", "version": 1, "created_at": 1, "saved_at": 1}
    return {
        CampaignText.__table__: {"campaign_id": "c1", "version": 1, "made_at": 1, "made_by": "x", **text},
        Delivery.__table__: {**delivery, "first_at": 1, "updated_at": 1, "reply": written, "bounce_reply": written},
        RefusedAddress.__table__: {**refused, "reply": written, "block_reason": written},
        Wish.__table__: {**wish, "kept_by": "x", "source": written},
        AuthToken.__table__: {
            "digest": "z",
            "user_id": "user00001",
            "permissions": [],
            "created_at": 1,
            "label": written,
        },
        tables["scheduled_tasks"]: {"name": "sync", "due_at": 1, "fence": 1, "failures": 1, "error": written},
        tables["audit_log"]: {**act_of, "details": {"label": written}},
        tables["events"]: {"id": 900, "at": 1, "campaign_id": None, "kind": "held", "details": {"reason": written}},
        tables["unsubscribe_history"]: {**left_by, "address": None, "source": written},
        tables["same_refusals"]: {"campaign_id": "c1", "replies": [written], "known": [written]},
        tables["drafts"]: {**draft, "subject": written, "said": {"body": written, "query": written}},
        tables["sending_hold"]: {"id": 1, "reason": written, "since": 1, "held_by": "x"},
        tables["transport_health"]: {"id": 1, "reason": written, "since": 1, "failures": 1, "retry_at": 1},
        tables["person_notes"]: {
            "entry": 1,
            "user_id": "user00001",
            "at": 1,
            "who": "x",
            "act": "block",
            "note": written,
        },
    }


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
def test_nothing_of_them_is_left_in_what_others_wrote(
    db: Database, add_users: Callable[..., list[str]], written: str
) -> None:
    add_users(db, 3)
    bring(db, DOCUMENT)
    harness = Harness(db)
    harness.accept({"_id": "user00001"})
    control.cancel(db, harness.campaign_id)
    said = {"subject": written, "body": written, "sender_name": "News", "reason": written, "query": {"bio": written}}
    with db.write() as connection:
        connection.execute(Campaign.__table__.update().values(**said))
        for table, row in rows(written).items():
            connection.execute(insert(table), row)

    erase(db, ID, spool_path=NOWHERE)

    assert left(db) == []
    with db.read() as connection:
        for table in Base.metadata.tables.values():
            for row in connection.execute(select(table)):
                assert not TRACES.within(json.dumps([str(value) for value in row], ensure_ascii=False)), table.name
        assert connection.scalar(select(SavedDraft.version)) == 2  # who has it open is told


def test_each_text_that_others_write_is_looked_into() -> None:
    """The test above has a row in each table with a text that somebody types or a mail server says."""
    looked = {table.name for table in Base.metadata.tables.values() if table.name not in APART and texts_of(table)}
    of_the_service = {"batches", "erased", "idempotency_keys", "login_links", "served_versions", "workers"}
    assert looked - of_the_service == {table.name for table in rows("")} - APART


def test_nobody_is_erased_while_a_campaign_that_says_their_name_is_not_over(db: Database) -> None:
    bring(db, DOCUMENT)
    harness = Harness(db)
    harness.accept({"_id": "nobody"})
    with db.write() as connection:
        connection.execute(Campaign.__table__.update().values(body="Ask Quinta Zorilla. [unsubscribe]"))
    with pytest.raises(InvalidState, match="has their name or address in what it says"):
        erase(db, ID, spool_path=NOWHERE)
    assert user(db).name == "Quinta Zorilla"
    control.cancel(db, harness.campaign_id)
    erase(db, ID, spool_path=NOWHERE)
    assert left(db) == []


@pytest.mark.parametrize("name", ["Quinta", "Quinta Zorilla"], ids=["a single word", "a name that two have"])
def test_name_that_tells_nobody_apart_is_left_alone(db: Database, name: str) -> None:
    bring(db, {**DOCUMENT, "name": name}, {"_id": "b", "name": "quinta zorilla", "emails": []})
    harness = Harness(db)
    harness.accept({"_id": "nobody"})
    with db.write() as connection:
        connection.execute(Campaign.__table__.update().values(body=f"Ask {name}. [unsubscribe]"))
    erase(db, ID, spool_path=NOWHERE)
    with db.read() as connection:
        assert connection.scalar(select(Campaign.body)) == f"Ask {name}. [unsubscribe]"


def keep(db: Database, *messages: Message) -> None:
    list(KeptTransport(MemoryTransport(), MailboxStore(db, 100)).send(messages))


def test_messages_that_say_their_address_leave_the_mailbox_whoever_they_were_for(
    db: Database, add_users: Callable[..., list[str]]
) -> None:
    add_users(db, 2)
    bring(db, DOCUMENT)
    transport = KeptTransport(MemoryTransport(), MailboxStore(db, 100))
    for body in (f"Ask {quote(LOWER)} [unsubscribe]", "Hello [unsubscribe]"):
        harness = Harness(db, transport)
        harness.accept({"_id": {"$in": ["user00000", "user00001"]}})
        with db.write() as connection:
            mine = Campaign.__table__.c.id == harness.campaign_id
            connection.execute(Campaign.__table__.update().where(mine).values(body=body))
        harness.run()
    sort_in_all(db, None)
    assert len(kept(db)) == 4
    erase(db, ID, spool_path=NOWHERE)
    assert kept(db) == ["user00000@example.com", "user00001@example.com"]


def test_redirected_message_that_was_on_its_way_is_not_kept(db: Database) -> None:
    bring(db, DOCUMENT, {"_id": "b", "emails": [{"address": "b@x.example"}]})
    content = b"From: n@example.com\r\nTo: Somebody <x@x.example>\r\nSubject: x\r\n\r\nx\r\n"
    erase(db, ID, spool_path=NOWHERE)
    for user_id, address in ((ID, ADDRESS), ("b", "b@x.example")):
        message = Message(delivery_id("c", user_id), "n@example.com", address, content)
        keep(db, redirected(message, "team@example.com"))
    sort_in_all(db, None)
    assert left(db) == []
    assert len(kept(db)) == 1


def test_message_to_who_shares_the_address_of_somebody_erased_is_kept(db: Database) -> None:
    bring(db, DOCUMENT, {"_id": "b", "emails": [{"address": ADDRESS}]})
    erase(db, ID, spool_path=NOWHERE)
    content = b"From: n@example.com\r\nSubject: x\r\n\r\nx\r\n"
    for user_id in (ID, "b"):
        keep(db, Message(delivery_id("c", user_id), "n@example.com", ADDRESS, content))
    sort_in_all(db, None)
    assert kept(db) == [ADDRESS]


def test_note_about_somebody_else_loses_the_name(db: Database, add_users: Callable[..., list[str]]) -> None:
    add_users(db, 2)
    bring(db, DOCUMENT)
    act(db, "user00001", Action.UNSUBSCRIBE, "a friend of Quinta Zorilla")
    erase(db, ID, spool_path=NOWHERE)
    with db.read() as connection:
        assert connection.scalar(select(Base.metadata.tables["person_notes"].c.note)) == f"a friend of {NAMELESS}"
