"""What the rooms below the pages say is shown in the reader's language; what others have said is left as it is."""

from __future__ import annotations

import ast
import html
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_babel import force_locale

from app import create_app
from mailer.callers.tokens import PERMISSIONS
from mailer.campaigns import control
from mailer.delivery import circuit_breaker
from mailer.pages.from_below.template import Template
from mailer.pages.from_below.translation import LONGEST, SENTENCES, translated
from mailer.pages.languages import add_translations
from mailer.settings import Settings
from mailer.storage.database import Database
from tests.harness import Harness
from tests.test_signed_in_pages import form_of, sign_in, token_of
from transports.base import Status

ROOT = Path(__file__).resolve().parent.parent
# where sentences are made that pages show; a folder means all that is in it
SOURCES = (
    "mailer/api/requests/earlier.py",
    "mailer/api/requests/fields.py",
    "mailer/audience",
    "mailer/bounces/complaints.py",
    "mailer/campaigns",
    "mailer/delivery",
    "mailer/dns_records/alignment.py",
    "mailer/engines/celery/engine.py",
    "mailer/engines/external.py",
    "mailer/engines/local.py",
    "mailer/errors.py",
    "mailer/interception/rules.py",
    "mailer/mailbox/reading.py",
    "mailer/mailbox/search.py",
    "mailer/messages/template.py",
    "mailer/operation",
    "mailer/selector",
    "mailer/settings/advice.py",
    "mailer/settings/names.py",
    "mailer/settings/secret_files.py",
    "mailer/settings/send_window.py",
    "mailer/settings/site_address.py",
    "mailer/storage/database_errors.py",
    "mailer/storage/health.py",
    "transports/network_errors.py",
    "transports/rate.py",
    "transports/shared_limit.py",
    "transports/slots.py",
    "transports/smtp/auth.py",
    "transports/smtp/connection.py",
    "transports/smtp/dialogue.py",
    "transports/smtp/pipeline.py",
    "transports/smtp/session.py",
    "transports/smtp/transactions.py",
)
# modules of these folders whose words are for terminals, logs and the API alone
ELSEWHERE = (
    "mailer/campaigns/checks/message_checks.py",  # the page tells by itself what was looked at
    "mailer/campaigns/invariants.py",
    "mailer/campaigns/recovery/reconciliation.py",
    "mailer/delivery/flight/folder.py",
    "mailer/delivery/flight/trial.py",
)
# calls whose words nobody sees on a page
UNSEEN = {"ConfigError", "TransportConfigError", "ValueError", "RuntimeError", "TypeError", "compile", "Statement"}
UNSEEN |= {"debug", "info", "warning", "error", "exception", "Timer", "Thread", "text"}
NOT_WHOLE = {  # parts of a sentence, and names
    "; did you mean ",
    "The campaign ‹1› is not over, and has their name or address in what it says or as its sender.",
    "You must wait ‹1› seconds before trying this endpoint again.",
    "Error, too many requests. Please slow down. ‹1›",
    "‹0› Cancel it, or wait until it has ended.",
    "‹0› ‹2› messages a day for ‹4› is used up until ‹6› ‹8›",
    "the quota of",
    "the warm-up's share of",
    "words in brackets are no placeholders",
    "such as 08:00-20:00 or Mon-Fri 08:00-20:00",
    "campaign id: more than letters, digits, - and _",
    "batches of ‹1›",
    "domains of ‹1›",
    "draft retention",
    "site name",
    "wrapped link",
    "recent mails",
    "frequency cap",
    "minRecipients, maxRecipients",
    "It is not planned yet.‹1›",
    "Their turn has not come yet.‹1›",
    " The campaign is ‹1›‹2›.",
    "Their address was suppressed since ‹1›, ‹3›",
    "refused in ‹1› campaigns: ‹3›",
    "blocked by ‹1›: ‹3›",
    "as somebody there marked a message as spam ‹1›.",
    "refused or bounced",
    "It was sent, and bounced ‹1›, ‹3›, because of ‹5›‹6›",
    "for good",
    "for now",
    "They had unsubscribed: ‹1›, by ‹3›‹4›.",
    ", in a message of the campaign ‹1›",
    "‹0› users have the address, and each got the campaign ‹2›.",
    "‹0› MAILER_MERGE_ADDRESSES sends one message to all.",
    "Up to ‹1› copies of the campaign ‹3›: a try had no answer, and was made again.",
    "‹0› All have the Message-ID ‹2›.",
    "unsubscribe links of up to ‹1›‹2›",
    ", the last at ‹1›",
    # how a sentence begins, to be found by
    "The address is suppressed",
    "Another user with the address",
    "Somebody at the address",
    # bounds that nobody can miss
    "any number",
    # an estimate as the API and the command line tell it: the page has words of its own
    "cannot be told now: ‹1›",
    "‹0›, so it begins in about ‹2›",
    "one other campaign",
    "‹0› other campaigns",
    "‹0› more not planned yet",
    # of the command line alone
    "This key is in MAILER_SECRET_KEY; take it out there first.",
    "There is no key with the fingerprint ‹1›.",
    "The journal's hashes are not of this database: the backup is older than the journal.",
    "has no line of Postfix's log, and no Message-ID on a line of its own; nothing was recorded",
    "in hand",  # of a recipient, where the pages have words of their own
    # to providers alone
    "What proves this request could not be fetched from the provider.",
    # kinds of an end of a connection, in code
    "the server closed it",
    "nothing came in time",
    "anything else",
    # the page has words of its own
    "no valid address",
    # of the API's description
    "Absent: `sent` and `uncertain`, all who may have the message.",
    "Of those whom `query` selects, only who had the campaign, paused or ended by now.",
    "Of those whom `query` selects, nobody who had the campaign, or whose address had it. Paused or ended by now.",
}
WORDS = re.compile(r"[A-Za-z]{2,},? [a-z]{2,}")
SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE) ")


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__, static_folder=None)
    add_translations(app)
    return app


def modules() -> Iterator[Path]:
    for source in SOURCES:
        found = sorted((ROOT / source).rglob("*.py")) if not source.endswith(".py") else [ROOT / source]
        yield from (path for path in found if str(path.relative_to(ROOT)) not in ELSEWHERE)


def sentences(node: ast.AST) -> Iterator[str]:
    """All texts of a module that somebody could read, with `‹1›` and so on for what is only known when it runs."""
    match node:
        case ast.Expr(value=ast.Constant()):
            return  # a docstring
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in UNSEEN:
            return
        case ast.Constant(value=str() as text):
            yield text
        case ast.JoinedStr(values=parts):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else f"‹{number}›"
                for number, part in enumerate(parts)
            )
        case _:
            for inner in ast.iter_child_nodes(node):
                yield from sentences(inner)


def said(path: Path) -> list[str]:
    found = sentences(ast.parse(path.read_text("utf-8")))
    return [one for one in found if WORDS.search(one) and one not in NOT_WHOLE and not SQL.search(one)]


@pytest.mark.parametrize("path", list(modules()), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_sentence_of_a_room_below_is_said_in_german(app: Flask, path: Path) -> None:
    with app.test_request_context(headers={"Accept-Language": "de"}):
        english = [one for one in said(path) if translated(one) == one]
    assert english == [], "add a template to mailer/pages/from_below, and run `make translations`"


def test_sentence_without_a_translation_is_found(tmp_path: Path) -> None:
    path = tmp_path / "one.py"
    path.write_text(
        '"""A docstring here."""\nlog.info("not for pages")\nraise InvalidState(f"It has {number} legs.")\n'
    )
    assert said(path) == ["It has ‹1› legs."]


@pytest.mark.parametrize("text", SENTENCES)
def test_values_of_a_sentence_stand_in_its_translation(app: Flask, text: str) -> None:
    names = Template.of(text).names
    sentence = text % {name: f"‹{name}›" for name in names}
    with app.test_request_context(headers={"Accept-Language": "de"}):
        german = translated(sentence)
    assert german != sentence
    assert [f"‹{name}›" in german for name in names] == [True] * len(names)


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("paused by a person", "von einem Menschen pausiert"),
        ("3 paused, 1 resting", "3 pausiert, 1 ruhend"),
        (
            "transport: smtp://mail.example.com: timed out",
            "transport: smtp://mail.example.com: keine Antwort in der Zeit",
        ),
        (
            "resumed by a person; was paused: 7 of 9 recipients failed, more than MAILER_MAX_FAILURE_RATE allows",
            "von einem Menschen fortgesetzt; war pausiert: 7 von 9 Empfängern fehlgeschlagen, mehr als "
            "MAILER_MAX_FAILURE_RATE erlaubt",
        ),
        (
            "The campaign is paused, so it cannot be resumed.",
            "Die Kampagne ist im Zustand „pausiert“, daher geht das nicht: fortsetzen.",
        ),
        ('No user has the field "open"; did you mean "roles"?', "Niemand hat das Feld „open“; meinten Sie „roles“?"),
        ("Not sent: address: not in its envelope form", "Nicht gesendet: Adresse: nicht in der Form für den Umschlag"),
    ],
)
def test_sentences_in_sentences_are_translated_too(app: Flask, english: str, german: str) -> None:
    with app.test_request_context(headers={"Accept-Language": "de"}):
        assert translated(english) == german
    with app.test_request_context(headers={"Accept-Language": "en"}):
        assert translated(english) == english


@pytest.mark.parametrize(
    "foreign",
    [
        "",
        "550 5.1.1 no such user here",
        "550 5.7.1 it fails; open",
        "mail.example.com: 421 4.3.2 closed",
        "the sender was refused, said somebody else",
        "%(name)s %s {0} \\1",
        "x" * 100_000,
    ],
)
def test_words_of_others_stay_as_they_are(app: Flask, foreign: str) -> None:
    with app.test_request_context(headers={"Accept-Language": "de"}):
        assert translated(foreign) == foreign
        held = "all sending is held since 2026-11-29T13:54:00Z: closed, by root"
        assert ": closed, von root" in translated(held)


def test_no_sentence_takes_long(app: Flask) -> None:
    """Whatever it is made of: a mail server's answer may be anything."""
    joints = ["the sender was refused: ", "; ", ", ", ": ", " of ", " was answered ", "a "]
    with app.test_request_context(), force_locale("de"):
        for joint in joints:
            began = time.process_time()
            translated((joint * LONGEST)[:LONGEST])
            assert time.process_time() - began < 1


@pytest.fixture
def service(any_db: Database, add_users: Callable[..., list[str]]) -> tuple[Flask, FlaskClient]:
    """A service, and the browser of somebody who reads German and may see everything."""
    add_users(any_db, 3)
    settings = Settings(database_url=any_db.url, secret_key=("k" * 40,), redirect_to="team@example.com", rate_limit="")
    app = create_app(settings)
    client = app.test_client()
    client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "de"
    sign_in(client, "user00000", token_of(any_db, "user00000", *PERMISSIONS))
    return app, client


def test_pages_say_in_german_what_is_on_record_and_what_is_refused(
    service: tuple[Flask, FlaskClient], any_db: Database
) -> None:
    _, client = service
    clock = any_db.clock
    harness = Harness(any_db)
    harness.store.answer("user00001@example.com", Status.REFUSED, reply="550 5.1.1 paused")
    campaign_id = harness.accept()
    harness.plan()
    control.pause(any_db, campaign_id)
    place = f"/mailer/campaigns/{campaign_id}"
    assert "von einem Menschen pausiert" in client.get(place).text
    form = form_of(client.get("/mailer/").text)
    refused = client.post(f"{place}/retry", data={"form": form})
    assert refused.status_code in (303, 409)
    control.resume(any_db, campaign_id)
    harness.run()
    again = client.post(f"{place}/resume", data={"form": form})
    assert "daher geht das nicht: fortsetzen." in again.text
    outcomes = client.get(f"{place}/outcomes").text
    assert "550 5.1.1 paused" in outcomes  # the words of a mail server
    any_db.clock = clock
    with any_db.write() as connection:
        now = any_db.clock(connection)
        circuit_breaker.trip(connection, "smtp://mail.example.com: timed out", now, half_open=False)
    system = client.get("/mailer/system").text
    assert "smtp://mail.example.com: keine Antwort in der Zeit" in system
    assert "Jede Nachricht geht an eine einzige Adresse" in system
    assert "MAILER_SITE_URL ist nicht https" in client.get("/mailer/system/settings").text
    assert "Suche: Nach before: steht kein Datum" in client.get("/mailer/mailbox/?q=before:x").text


def test_form_of_a_campaign_says_in_german_what_the_api_refuses(service: tuple[Flask, FlaskClient]) -> None:
    _, client = service
    draft = client.get("/mailer/compose").headers["Location"]
    place = f"/mailer/{draft}"
    given = {"form": form_of(client.get(place).text), "version": "0", "do": "send", "from": "nonsense", "subject": "x"}
    answer = client.post(place, data={**given, "body": "x", "query": '{"a": {"$near": 1}}'})
    for said in (
        "Ungültige Absenderadresse",
        "Der Text muss den Link [unsubscribe] enthalten.",
        "gibt es hier nicht.",
    ):
        assert said in html.unescape(answer.text), said
