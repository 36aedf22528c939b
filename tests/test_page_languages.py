"""The recipient's page in the recipient's language: the directory's, else the browser's, else English."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from flask import Flask
from sqlalchemy import text, update

from mailer.messages.links import Links
from mailer.pages.base import ROOM
from mailer.pages.languages import LANGUAGES
from mailer.pages.unsubscribe import make_blueprint
from mailer.storage.database import Database
from mailer.storage.models import User

LINKS = Links(["a key of some length " * 2], "http://127.0.0.1")
PAGE = "/mailer/unsubscribe/" + LINKS.link("user00000").rpartition("/")[2]
TITLES = {
    "en": "Stop these e-mails?",
    "de": "Diese E-Mails abbestellen?",
    "pt-BR": "Parar de receber estes e-mails?",
    "fr": "Ne plus recevoir ces e-mails\N{NO-BREAK SPACE}?",
    "es": "¿Dejar de recibir estos correos?",
}
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


def test_there_is_a_catalogue_for_each_language_but_english() -> None:
    found = {path.parts[-3].replace("_", "-") for path in CATALOGUES}
    assert found == set(LANGUAGES) - {"en"}


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parts[-3])
def test_catalogue_is_complete_and_compiled(path) -> None:
    with path.open("rb") as file:
        catalogue = read_po(file, locale=path.parts[-3])
    texts = {found[2] for found in extract_from_dir(str(ROOM), method_map=[("templates/unsubscribe.html", "jinja2")])}
    assert {message.id for message in catalogue if message.id} == texts
    for message in catalogue:
        assert message.string
        assert not message.fuzzy
        assert not list(message.check(catalogue))
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    assert path.with_suffix(".mo").read_bytes() == compiled.getvalue(), "run `make translations`"
