"""The languages of the pages for recipients, by Flask-Babel.

The templates are in English, and `translations/` has a folder for every other language. `make translations` finds new
texts and compiles them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import request
from flask.sansio.app import App
from flask_babel import Babel, force_locale
from werkzeug.datastructures import LanguageAccept

from mailer.pages.base import ROOM

LANGUAGES = ("en", "de", "pt-BR", "fr", "es")
"""As HTML and HTTP name them (BCP 47)."""


def add_translations(app: App) -> None:
    """Let the templates of `app` be translated, if they are not yet."""
    if "babel" not in app.extensions:
        Babel(app, default_translation_directories=str(ROOM / "translations"))


def reader_language(own: object = None) -> str:
    """The best of `LANGUAGES` for who reads the page that is asked for.

    `own` is the reader's language in the directory, such as `pt-BR`, or whatever stands there. If it is none of ours,
    the browser's Accept-Language decides (RFC 9110 section 12.5.4).
    """
    of_the_reader = LanguageAccept([(own, 1)]) if isinstance(own, str) else LanguageAccept()
    return of_the_reader.best_match(LANGUAGES) or request.accept_languages.best_match(LANGUAGES, LANGUAGES[0])


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Translate what is rendered meanwhile into one of `LANGUAGES`."""
    with force_locale(language.replace("-", "_")):
        yield
