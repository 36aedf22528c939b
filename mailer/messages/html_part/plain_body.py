"""A body that is plain text: as it is for the text part, and as HTML that looks the same."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from html.entities import html5
from urllib.parse import quote

from mailer.messages.html_part.linkify import EMAIL, URL, is_email, is_url, trimmed
from mailer.messages.segments import Segments, text_segments, url_segments

TAB = 8
_WIDEST = 200  # columns of a run of blanks in HTML, where each takes six characters

_LINK = "unsubscribe"
_PIECE = re.compile(
    r"(?P<end>\r\n|\r|\n)|(?P<blanks>[ \t]+)|(?P<link>(?:(?i:https?)://)?\[unsubscribe\])"
    rf"|(?P<url>{URL})|(?P<email>{EMAIL})"
)
_REFERENCE = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")


class PlainBody:
    """`text` and `markup` of a plain body. `site` has the values that are the same for everybody.

    A character reference that HTML knows has its meaning in both, for callers who escape; not inside a URL.
    """

    def __init__(self, source: str, site: Mapping[str, str]) -> None:
        self.text, self.markup = Segments(), Segments()
        self._source, self._site, self._line = source, site, 0
        self._column, self._counted = 0, 0  # the width of the line, tabs expanded, up to a place in the source
        for kind, start, end in _pieces(source):
            getattr(self, f"_{kind}")(source[start:end], start, end)

    def _words(self, source: str, _start: int, _end: int) -> None:
        at = 0
        for reference in _REFERENCE.finditer(source):
            if reference[0][1] == "#" or reference[0][1:] in html5:
                self._show(text_segments(source[at : reference.start()], self._site))
                self._show([html.unescape(reference[0])])
                at = reference.end()
        self._show(text_segments(source[at:], self._site))

    def _show(self, parts: list[str]) -> None:
        self.text.extend(parts)
        self.markup.extend(_escaped(parts))

    def _end(self, source: str, _start: int, end: int) -> None:
        self._line, self._column, self._counted = end, 0, end
        self.text.add(source)
        self.markup.add("<br>\n")

    def _blanks(self, source: str, start: int, end: int) -> None:
        """Make a run of blanks as wide in HTML as in text. Its last one is a blank, at which the line may break."""
        self.text.add(source)
        begun = self._column + start - self._counted
        self._column, self._counted = len((" " * (begun % TAB) + source).expandtabs(TAB)) + begun // TAB * TAB, end
        width = min(self._column - begun, _WIDEST)
        if self._source[end : end + 1] in ("\r", "\n", ""):
            self.markup.add(source)
        elif start == self._line:
            self.markup.add("&nbsp;" * width)
        else:
            self.markup.add("&nbsp;" * (width - 1) + " ")

    def _link(self, _source: str, _start: int, _end: int) -> None:
        self.text.gap(_LINK)
        self.markup.extend(['<a href="', _LINK, '">', _LINK, "</a>"])

    def _url(self, source: str, _start: int, _end: int) -> None:
        parts = url_segments(source, self._site)
        self.text.extend(parts)
        self._anchor(_escaped(parts), _escaped(parts))

    def _email(self, source: str, _start: int, _end: int) -> None:
        self.text.add(source)
        self._anchor(["mailto:" + html.escape(quote(source, safe="@"))], [html.escape(source)])

    def _anchor(self, target: list[str], shown: list[str]) -> None:
        self.markup.add('<a href="')
        self.markup.extend(target)
        self.markup.add('">')
        self.markup.extend(shown)
        self.markup.add("</a>")


def _escaped(parts: list[str]) -> list[str]:
    return [part if place % 2 else html.escape(part) for place, part in enumerate(parts)]


def _pieces(source: str) -> Iterator[tuple[str, int, int]]:
    """Cut plain text into line ends, blanks, links, addresses and words: each piece's kind, start and end."""
    at, place = 0, 0
    while found := _PIECE.search(source, place):
        kind, (start, end) = str(found.lastgroup), found.span()
        if kind == "url":
            end = start + len(trimmed(found[0], source[max(0, start - 12) : start]))
        useful = not (kind == "url" and not is_url(source[start:end])) and not (
            kind == "email" and not is_email(found[0])
        )
        place = max(end, start + 1)
        if not useful:
            continue
        if at < start:
            yield "words", at, start
        yield kind, start, end
        at = end
    if at < len(source):
        yield "words", at, len(source)
