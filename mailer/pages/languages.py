"""The languages of the pages, by Flask-Babel: five for recipients, two for those who sign in.

The texts are in English, and `translations/` has a folder for every other language. `make translations` finds new ones
and compiles them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from flask import g, request
from flask.sansio.app import App
from flask_babel import Babel, force_locale, refresh
from werkzeug.datastructures import LanguageAccept

from mailer.pages.base import ROOM

LANGUAGES = ("en", "de", "pt-BR", "fr", "es")
"""As HTML and HTTP name them (BCP 47)."""
SIGNED_IN_LANGUAGES = ("en", "de")


def add_translations(app: App) -> None:
    """Let the templates of `app` be translated, if they are not yet."""
    if "babel" not in app.extensions:
        Babel(app, default_translation_directories=str(ROOM / "translations"), locale_selector=signed_in_language)


def reader_language(own: object = None, languages: Sequence[str] = LANGUAGES) -> str:
    """The best of `languages` for who reads the page that is asked for.

    `own` is the reader's language in the directory, such as `pt-BR`, or whatever stands there. If it is none of ours,
    the browser's Accept-Language decides (RFC 9110 section 12.5.4).
    """
    wanted = [own] if isinstance(own, str) else []
    wanted += [name for name, quality in request.accept_languages if quality > 0]
    found = (_best_of(languages, one) for one in wanted)  # one by one, so that de-AT is de
    return next(filter(None, found), languages[0])


def _best_of(languages: Sequence[str], wanted: str) -> str | None:
    """The one that is wanted, or one of the same language: who reads pt-PT reads pt-BR rather than English."""
    general = re.split("[-_]", wanted)[0]
    return LanguageAccept([(wanted, 1)]).best_match(languages) or LanguageAccept([(general, 1)]).best_match(languages)


def signed_in_language() -> str:
    """The language of the pages for those who sign in, in this request."""
    return reader_language(g.get("own_language"), SIGNED_IN_LANGUAGES)


def prefer_language(own: object) -> None:
    """What the directory says of the language of who has signed in; it holds for the rest of this request."""
    g.own_language = own
    refresh()


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Translate what is rendered meanwhile into one of `LANGUAGES`."""
    with force_locale(language.replace("-", "_")):
        yield
