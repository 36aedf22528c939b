"""What a careful person looks at before a message goes out, looked at by the service. None is a reason to refuse it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from mailer.campaigns.checks.lint import about_placeholders
from mailer.messages.bodies import shows_link
from mailer.messages.html_part.linkify import URL
from mailer.messages.html_part.markup import Token, is_html, tokens
from mailer.messages.placeholders import UNSUBSCRIBE
from mailer.settings import Settings

GMAIL = 102 * 1024  # bytes of HTML after which Gmail cuts a message, and with it the link at its end
SHOWN = 3  # of the links that are not encrypted
LONGEST = 80  # characters of such a link

_URL = re.compile(URL)
_LOADED = {"a": "href", "area": "href", "img": "src", "link": "href"}


class Looked(StrEnum):
    """What was looked at."""

    UNSUBSCRIBE = "unsubscribe"
    LINKS = "links"
    SIZE = "size"
    IMAGES = "images"
    WORDS = "words"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `number` is how many are at fault, or how large it is in bytes; `found` are some.

    `sentences` say what is wrong; none: nothing is.
    """

    looked: Looked
    number: int = 0
    found: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()


def checks(settings: Settings, subject: str, body: str) -> tuple[Check, ...]:
    """Look at a message, with the header and footer that go around its body."""
    around = (settings.email_header, settings.email_footer)
    marked_up = [*around, body] if is_html(body) else [*around]
    plain = "" if is_html(body) else body
    return (
        _unsubscribe(settings, body),
        _links([*_addresses(marked_up), *(found[0] for found in _URL.finditer(plain))]),
        _size(sum(len(text.encode("utf-8", "surrogatepass")) for text in (*around, body))),
        _images(marked_up),
        _words(subject, body),
    )


def about_message(settings: Settings, subject: str, body: str) -> tuple[str, ...]:
    """A sentence for each thing that is wrong with a message; without a body only for words of its subject."""
    looked = checks(settings, subject, body) if body else (_words(subject, body),)
    return tuple(one for check in looked for one in check.sentences)


def _unsubscribe(settings: Settings, body: str) -> Check:
    site = {"Site_Name": settings.site_name, "Site_URL": settings.site_url}
    if UNSUBSCRIBE not in body:
        return Check(Looked.UNSUBSCRIBE, 1, (), ("The body has no [unsubscribe].",))
    if shows_link(settings.email_header, body, settings.email_footer, site) is False:
        hidden = "The unsubscribe link is hidden or cannot be clicked; a paragraph with one is added at the end."
        return Check(Looked.UNSUBSCRIBE, 2, (), (hidden,))
    return Check(Looked.UNSUBSCRIBE)


def _links(addresses: Iterable[str]) -> Check:
    plain = list(dict.fromkeys(one for one in addresses if one.lower().startswith("http:")))
    if not plain:
        return Check(Looked.LINKS)
    some = tuple(one[:LONGEST] for one in plain[:SHOWN])
    rest = f" and {len(plain) - SHOWN} more" if len(plain) > SHOWN else ""
    return Check(Looked.LINKS, len(plain), some, (f"Not https: {', '.join(some)}{rest}.",))


def _size(size: int) -> Check:
    if size <= GMAIL:
        return Check(Looked.SIZE, size)
    cut = f"The HTML has about {size // 1024} KB; Gmail cuts a message at 102 KB, and hides what comes after."
    return Check(Looked.SIZE, size, (), (cut,))


def _images(marked_up: Iterable[str]) -> Check:
    number = sum(map(_lacks_text, _starts(marked_up)))
    told = f"{number} image{'s have' if number > 1 else ' has'} no alt text for who sees no images."
    return Check(Looked.IMAGES, number, (), (told,) if number else ())


def _words(subject: str, body: str) -> Check:
    told = about_placeholders(subject, body)
    return Check(Looked.WORDS, len(told), told, told)


def _starts(marked_up: Iterable[str]) -> Iterator[Token]:
    for source in marked_up:
        yield from (token for token in tokens(source) if token.kind == "start")


def _lacks_text(token: Token) -> bool:
    return token.name == "img" and not any(one.name == "alt" for one in token.attributes)


def _addresses(marked_up: Iterable[str]) -> Iterator[str]:
    """What is loaded or led to."""
    for source in marked_up:
        for token in _starts([source]):
            for one in token.attributes:
                if one.value and one.name == _LOADED.get(token.name):
                    yield html.unescape(source[slice(*one.value)]).strip()
