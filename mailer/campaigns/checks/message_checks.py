"""What a careful person looks at before a message goes out, looked at by the service. None is a reason to refuse it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from mailer.campaigns.checks.known_hosts import is_shortener
from mailer.campaigns.checks.lint import about_placeholders
from mailer.campaigns.checks.senders import about_sender, sender_domain
from mailer.dns_records.alignment import alignment_warnings
from mailer.messages.bodies import compile_bodies, shows_link, with_styles_inlined
from mailer.messages.html_part.linkify import URL
from mailer.messages.html_part.markup import Token, is_html, tokens
from mailer.messages.inlining.marked_copy import TooMuch
from mailer.messages.placeholders import UNSUBSCRIBE
from mailer.settings import Settings

GMAIL = 102 * 1024  # bytes of HTML after which Gmail cuts a message, and with it the link at its end
FAR_BELOW = GMAIL // 4  # what is written is not more than this: then it need not be compiled to know what is sent
VALUE = 100  # bytes that a placeholder becomes, about as many as an unsubscribe link has
SHOWN = 3  # of the links that are not encrypted, or shortened
LONGEST = 80  # characters of such a link

_URL = re.compile(URL)
_IN_STYLE = re.compile(r"""(?:\burl\(\s*+["']?|@import\s++["'])\s*+(https?:[^\s"')]+)""", re.IGNORECASE)
_LOADED = {"a": "href", "area": "href", "img": "src", "link": "href"}


class Looked(StrEnum):
    """What was looked at."""

    UNSUBSCRIBE = "unsubscribe"
    LINKS = "links"
    SIZE = "size"
    IMAGES = "images"
    SHORTENED = "shortened"
    SENDER = "sender"
    WORDS = "words"


CODES = {
    Looked.UNSUBSCRIBE: "unsubscribe-link",
    Looked.LINKS: "link-not-https",
    Looked.SIZE: "message-too-large",
    Looked.IMAGES: "image-without-alt",
    Looked.SHORTENED: "link-shortened",
    Looked.SENDER: "sender-not-allowed",
    Looked.WORDS: "unknown-placeholder",
}
"""By what a program knows a warning."""


@dataclass(frozen=True, slots=True)
class Text:
    """What is looked at. `sender` is bare or as `Name <address>`; empty: nobody has said it."""

    subject: str
    body: str
    sender: str = ""
    inline_css: bool = False


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning: the code by which a program knows it, and its sentence."""

    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `number` is how many are at fault, or how large it is in bytes; `found` are some.

    `sentences` say what is wrong; none: nothing is.
    """

    looked: Looked
    number: int = 0
    found: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()


def checks(settings: Settings, text: Text) -> tuple[Check, ...]:
    """Look at a message, with the header and footer that go around its body."""
    around, body = (settings.email_header, settings.email_footer), text.body
    marked_up = [*around, body] if is_html(body) else [*around]
    plain = "" if is_html(body) else body
    addresses = [*_addresses(marked_up), *(found[0] for found in _URL.finditer(plain))]
    return (
        _unsubscribe(settings, body),
        _links(addresses),
        _size(_html_size(settings, text)),
        _images(marked_up),
        _shortened(addresses),
        _sender(settings, text.sender),
        _words(text.subject, body),
    )


def about_message(settings: Settings, text: Text) -> tuple[Warned, ...]:
    """A warning for each thing that is wrong with a message; without a body only for its subject and its sender."""
    few = (_sender(settings, text.sender), _words(text.subject, text.body))
    looked = checks(settings, text) if text.body else few
    return tuple(Warned(CODES[check.looked], one) for check in looked for one in check.sentences)


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


def _html_size(settings: Settings, text: Text) -> int:
    """How many bytes the HTML has that is sent, about; what is far below the limit is not looked at so closely."""
    around = (settings.email_header, text.body, settings.email_footer)
    written = sum(len(one.encode("utf-8", "surrogatepass")) for one in around)
    if written <= FAR_BELOW:
        return written
    site = {"Site_Name": settings.site_name, "Site_URL": settings.site_url}
    try:
        made = compile_bodies(*(with_styles_inlined(*around) if text.inline_css else around), site).html
    except TooMuch:  # then it is refused, and not sent
        return written
    fixed = sum(len(one.encode("utf-8", "surrogatepass")) for one in made[::2])
    return fixed + VALUE * len(made[1::2])


def _shortened(addresses: Iterable[str]) -> Check:
    short = list(dict.fromkeys(one for one in addresses if is_shortener(_host(one))))
    if not short:
        return Check(Looked.SHORTENED)
    rest = f" and {len(short) - SHOWN} more" if len(short) > SHOWN else ""
    some = tuple(one[:LONGEST] for one in short[:SHOWN])
    return Check(Looked.SHORTENED, len(short), some, (f"Shortened, as spam has it: {', '.join(some)}{rest}.",))


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def about_author(settings: Settings, sender: str) -> tuple[str, ...]:
    """A sentence for each reason for which mail from `sender` may not arrive, or not be sent. It asks no DNS."""
    domain = sender_domain(sender)
    told = about_sender(sender, settings.transport) if sender else ()
    return told + (alignment_warnings(settings, f"@{domain}") if domain else ())


def _sender(settings: Settings, sender: str) -> Check:
    told = about_author(settings, sender)
    return Check(Looked.SENDER, len(told), told, told)


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
    """What is loaded or led to, by style sheets too."""
    for source in marked_up:
        for token in tokens(source):
            if token.kind == "raw" and token.name == "style":
                yield from _IN_STYLE.findall(source[token.start : token.end])
            for one in token.attributes if token.kind == "start" else ():
                if one.value:
                    yield from _in_attribute(token.name, one.name, html.unescape(source[slice(*one.value)]))


def _in_attribute(element: str, name: str, value: str) -> Iterable[str]:
    if name == "style":
        return _IN_STYLE.findall(value)
    return (value.strip(),) if name in (_LOADED.get(element), "background") else ()
