"""The pages in their reader's language: the directory's, else the browser's, else English."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from flask import Flask
from sqlalchemy import text, update

from app import create_app
from mailer.callers.tokens import Tokens
from mailer.messages.links import Links
from mailer.pages.base import ROOM
from mailer.pages.languages import LANGUAGES
from mailer.pages.unsubscribe import make_blueprint
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import User
from tests.test_signed_in_pages import form_of, sign_in

LINKS = Links(["a key of some length " * 2], "http://127.0.0.1")
PAGE = "/mailer/unsubscribe/" + LINKS.link("user00000").rpartition("/")[2]
TITLES = {
    "en": "Stop these e-mails?",
    "de": "Diese E-Mails abbestellen?",
    "pt-BR": "Parar de receber estes e-mails?",
    "fr": "Ne plus recevoir ces e-mails\N{NO-BREAK SPACE}?",
    "es": "¿Dejar de recibir estos correos?",
}
JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
CODE = re.compile(r'\bKB\b|<?[a-z]+@example\.com>?|\{"\w.*|[?&]\w+=')  # units, examples, and the query of an address
ATTRIBUTE = re.compile(r'[a-z-]+="[^"]*"')
READ_OUT = ("aria-label", "alt", "placeholder", "title")
TEMPLATES = sorted((ROOM / "templates").rglob("*.html"))
CATALOGUES = sorted((ROOM / "translations").rglob("messages.po"))


@pytest.fixture
def app(any_db: Database, add_users: Callable[..., list[str]]) -> Flask:
    add_users(any_db, 1)
    app = Flask(__name__, static_folder=None)
    app.register_blueprint(make_blueprint(LINKS, any_db, "100 % <b>Tom</b> & %(site)s"))
    return app


def set_language(db: Database, language: object) -> None:
    with db.write() as connection:
        connection.execute(update(User).values(document={"language": language}))


@pytest.mark.parametrize(
    ("own", "accepted", "shown"),
    [
        (None, None, "en"),
        (None, "de", "de"),
        (None, "de-AT,de;q=0.9,en;q=0.8", "de"),
        (None, "pt", "pt-BR"),
        (None, "pt-PT, en;q=0.5", "pt-BR"),
        ("pt_PT", "fr", "pt-BR"),
        ("zh-CN", "fr", "fr"),
        (None, "nl, fr-CA;q=0.5", "fr"),
        (None, "nl", "en"),
        (None, ";;,q=;", "en"),
        ("es", "de", "es"),
        ("pt-BR", "de", "pt-BR"),
        ("de-AT", "es", "de"),
        ("pt_BR", "es", "pt-BR"),
        ("nl", "es", "es"),
        ("", "es", "es"),
        ("../de", "es", "es"),
        (["de"], "es", "es"),
        (7, None, "en"),
    ],
)
def test_page_is_in_the_language_of_its_reader(
    app: Flask, any_db: Database, own: object, accepted: str | None, shown: str
) -> None:
    set_language(any_db, own)
    headers = {} if accepted is None else {"Accept-Language": accepted}
    answer = app.test_client().get(PAGE, headers=headers)

    assert answer.headers["Content-Language"] == shown
    assert f'<html lang="{shown}">' in answer.text
    assert f"<h1>{TITLES[shown]}</h1>" in answer.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_state_is_translated_and_the_sites_name_stays_text(app: Flask, any_db: Database, language: str) -> None:
    set_language(any_db, language)
    client = app.test_client()
    pages = [client.get(PAGE), client.post(PAGE), client.post(PAGE, data={"action": "subscribe"})]
    by_browser = {"Accept-Language": language}
    pages.append(client.get("/mailer/unsubscribe/none", headers=by_browser))
    pages.append(client.put(PAGE, headers=by_browser))

    titles = [re.findall("<h1>(.*)</h1>", page.text) for page in pages]
    assert len({title for (title,) in titles}) == len(pages)
    for page in pages:
        assert f'<html lang="{language}">' in page.text
        assert "<b>" not in page.text
    for page in pages[:3]:
        assert (
            page.text.count("100 % &lt;b&gt;Tom&lt;/b&gt; &amp; %(site)s") == 3
        )  # in the title, above and in a sentence


def test_page_is_shown_while_the_directory_cannot_be_read(app: Flask, any_db: Database) -> None:
    set_language(any_db, "de")
    with any_db.write() as connection:
        connection.execute(text("ALTER TABLE users RENAME TO gone"))

    answer = app.test_client().get(PAGE, headers={"Accept-Language": "fr"})

    assert (answer.status_code, answer.headers["Content-Language"]) == (200, "fr")


@pytest.mark.parametrize(
    ("own", "accepted", "shown"),
    [
        (None, None, "en"),
        (None, "de-AT,en;q=0.5", "de"),
        (None, "fr", "en"),
        (None, "fr, de;q=0.1", "de"),
        ("de", "en", "de"),
        ("en", "de", "en"),
        ("fr", "de", "de"),
        (7, "de", "de"),
    ],
)
def test_pages_behind_a_login_are_in_the_language_of_their_reader(
    any_db: Database, add_users: Callable[..., list[str]], own: object, accepted: str | None, shown: str
) -> None:
    add_users(any_db, 1)
    set_language(any_db, own)
    client = create_app(Settings(database_url=any_db.url, secret_key=("k" * 40,))).test_client()
    headers = {} if accepted is None else {"Accept-Language": accepted}
    sign_in(client, "user00000", Tokens(any_db).create("user00000", ["manage-campaigns"]))
    titles = {"": ("Campaigns", "Kampagnen"), "nowhere": ("There is nothing here", "Hier ist nichts")}
    titles["system/settings"] = ("System", "System")
    for path, title in titles.items():
        page = client.get(f"/mailer/{path}", headers=headers)
        assert page.headers["Content-Language"] == shown
        assert f'<html lang="{shown}">' in page.text
        assert f"<h1>{title[shown == 'de']}</h1>" in page.text
    assert ("not shown" in page.text) == (shown == "en")


def test_refusal_at_the_form_is_in_the_browsers_language(any_db: Database) -> None:
    client = create_app(Settings(database_url=any_db.url, secret_key=("k" * 40,))).test_client()
    form = form_of(client.get("/mailer/sign-in").text)
    answer = client.post("/mailer/sign-in", data={"form": form}, headers={"Accept-Language": "de"})
    assert answer.status_code == 401
    assert "gehören nicht zusammen" in answer.text


class Texts(HTMLParser):
    """All that a reader sees of a template, or has read out, but for what is code."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self._within: list[str] = []
        self.feed(JINJA.sub(" ", source))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._within.append(tag)
        self.found += [value or "" for name, value in attributes if name in READ_OUT]

    def handle_endtag(self, tag: str) -> None:
        while tag in self._within and self._within.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not {"code", "style", "script"} & set(self._within):
            self.found.append(ATTRIBUTE.sub("", data))  # of a macro that gives attributes


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_template_has_no_text_that_cannot_be_translated(path: Path) -> None:
    texts = [CODE.sub("", text) for text in Texts(path.read_text("utf-8")).found]
    assert [text for text in texts if re.search("[A-Za-z]{2}", text)] == []


def test_text_that_cannot_be_translated_is_found() -> None:
    source = '{{ _("One") }} <p{% if x %} class="two"{% endif %}>Three <code>four</code><br>{# five #}<a title="Six">'
    assert "".join(Texts(source).found).split() == ["Three", "Six"]


def test_there_is_a_catalogue_for_each_language_but_english() -> None:
    found = {path.parts[-3].replace("_", "-") for path in CATALOGUES}
    assert found == set(LANGUAGES) - {"en"}


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parts[-3])
def test_catalogue_is_complete_and_compiled(path) -> None:
    with path.open("rb") as file:
        catalogue = read_po(file, locale=path.parts[-3])
    everything, of_recipients = [("**.py", "python"), ("templates/**.html", "jinja2")], "templates/unsubscribe.html"
    wanted = everything if path.parts[-3] == "de" else [(of_recipients, "jinja2")]
    keywords = {**DEFAULT_KEYWORDS, "lazy_gettext": None}
    rooms = [ROOM, ROOM.parent / "mailbox"] if wanted is everything else [ROOM]
    found = [one for room in rooms for one in extract_from_dir(str(room), method_map=wanted, keywords=keywords)]
    texts = {one[2] for one in found}
    assert {message.id for message in catalogue if message.id} == texts
    for message in catalogue:
        assert message.string
        assert all(message.string) or isinstance(message.string, str)
        assert not message.fuzzy
        assert not list(message.check(catalogue))
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    assert path.with_suffix(".mo").read_bytes() == compiled.getvalue(), "run `make translations`"
