"""Text with gaps for the placeholders, and how a gap's value is encoded where it stands.

Such a text is a list: literals at even places, gaps at odd ones.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from urllib.parse import quote

from mailer.messages.headers import quoted_printable, soft_wrapped
from mailer.messages.placeholders import PLACEHOLDER

PLAIN, IN_URL, IN_MAILTO = "", " in URL", " in mailto"
"""A gap is a placeholder's name followed by one of these forms, which says how its value is encoded.

In a URL all but the unreserved characters of RFC 3986 are percent-encoded; in a mailto: URL the @ stays as well.
"""

UNCLICKABLE = " unclickable"
"""Added to the gap of an unsubscribe link that its reader cannot click. `bodies` takes it off again."""

_INERT = re.compile(r"[ !#-%(-;?-~]*")  # stands for itself in HTML, in plain text and in quoted-printable
_SCHEME = re.compile(r"\s*https?://\Z", re.IGNORECASE)
_NEAR = 2000  # characters of a URL's beginning that are kept, since its scheme is in them
_URLS = ("unsubscribe", "Site_URL")


class Segments:
    """Collects literals and gaps."""

    def __init__(self) -> None:
        self._closed: list[str] = []
        self._open: list[str] = []  # the pieces of the last literal

    @property
    def parts(self) -> list[str]:
        """Literals at even places, gaps at odd ones."""
        return [*self._closed, "".join(self._open)]

    def add(self, literal: str) -> None:
        """Append text."""
        self._open.append(literal)

    def gap(self, name: str) -> None:
        """Append a gap."""
        self._closed += ["".join(self._open), name]
        self._open = []

    def extend(self, parts: list[str]) -> None:
        """Append the literals and gaps of `parts`."""
        for place, part in enumerate(parts):
            (self.gap if place % 2 else self.add)(part)

    @property
    def last_gap(self) -> int:
        """The place of the last gap in `parts`."""
        return len(self._closed) - 1

    def rename(self, place: int, name: str) -> None:
        """Replace the gap at this place in `parts`."""
        self._closed[place] = name


def percent_encoded(value: str, form: str) -> str:
    """Encode a value for a gap of the form `IN_URL` or `IN_MAILTO`."""
    return quote(value, safe="@" if form == IN_MAILTO else "")


def name_and_form(gap: str) -> tuple[str, str]:
    """A gap's placeholder and its form."""
    name, separator, form = gap.partition(" ")
    return name, separator + form


def url_segments(
    url: str, constants: Mapping[str, str], place: str = "url", escape: Callable[[str], str] = str
) -> list[str]:
    """Cut an attribute's value, or a bare URL, at its placeholders.

    `constants` are the values that are the same for everybody; they are put in at once. `place` says what the value is:
    a "url"; a "srcset" or a "ping", which hold several; "css" or the content of a "meta", which may hold one. A
    placeholder that is itself a URL and begins one is not percent-encoded, and neither is one outside of any URL.
    """
    segments, at, before = Segments(), 0, _AT_FIRST[place]
    for found in PLACEHOLDER.finditer(url):
        literal, name = url[at : found.start()], found[1]
        before = _url_before(literal, place, before)
        form = _form(before, name)
        if before is not None and len(before) < _NEAR:
            before += found[0]
        if form == PLAIN and name in _URLS and place == "url":
            literal = _SCHEME.sub("", literal)  # visual editors put http:// before what they take for a host
        segments.add(literal)
        if name in constants:
            value = constants[name]
            segments.add(escape(value) if form == PLAIN else percent_encoded(value, form))
        else:
            segments.gap(name + form)
        at = found.end()
    segments.add(url[at:])
    return segments.parts


def _form(before: str | None, name: str) -> str:
    if before is None or (name in _URLS and (not before.strip() or _SCHEME.fullmatch(before))):
        return PLAIN
    return IN_MAILTO if before.lstrip().lower().startswith("mailto:") else IN_URL


_AT_FIRST = {"url": "", "srcset": "", "ping": "", "css": None, "meta": None}
_BEGINS = {
    "url": re.compile(r"(?!)"),
    "srcset": re.compile(r"\s(?:[\d.]+[xw],)?(\S*)\Z"),
    "ping": re.compile(r"\s(\S*)\Z"),
    "css": re.compile(r"(?:url|src)\(\s*+(?:[\"']|&quot;|&#0*3[49];|&apos;)?([^()\"']*)\Z", re.IGNORECASE),
    "meta": re.compile(r"url\s*+=\s*+[\"']?(.*)\Z", re.IGNORECASE | re.DOTALL),
}
_CSS_ENDS = re.compile(r"[()\"']")


def _url_before(literal: str, place: str, before: str | None) -> str | None:
    """What of a URL stands before the end of `literal`; None where that is in no URL.

    `before` is the same for the beginning of `literal`.
    """
    if found := _BEGINS[place].search(literal):
        return found[1]
    if before is None or (place == "css" and _CSS_ENDS.search(literal)):
        return None
    return before + literal[:_NEAR] if len(before) < _NEAR else before


def text_segments(text: str, constants: Mapping[str, str], escape: Callable[[str], str] = str) -> list[str]:
    """Cut text without URLs at its placeholders; `constants` are put in at once."""
    segments = Segments()
    for number, part in enumerate(PLACEHOLDER.split(text)):
        if number % 2 and part not in constants:
            segments.gap(part)
        else:
            segments.add(escape(constants[part]) if number % 2 else part)
    return segments.parts


def as_read(value: str, form: str) -> tuple[str, str]:
    """Give a value as it stands in plain text and in HTML."""
    if form == PLAIN:
        return value, html.escape(value)
    in_url = percent_encoded(value, form)
    return in_url, in_url


def encoded(value: str) -> tuple[str, str]:
    """Give the quoted-printable of a value as it stands in plain text and in HTML."""
    if _INERT.fullmatch(value):
        wrapped = soft_wrapped(value)
        return wrapped, wrapped
    return quoted_printable(value), quoted_printable(html.escape(value))
