"""The HTML part's template: a campaign's markup with its placeholders cut out, each in the form its place asks for."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mailer.messages.html_part.linkify import URL, trimmed
from mailer.messages.html_part.markup import Attribute, Token, tokens
from mailer.messages.html_part.names import URLS
from mailer.messages.segments import IN_URL, UNCLICKABLE, Segments, text_segments, url_segments

LINK = "unsubscribe"

_TO_LINK = re.compile(r"\s*(?:(?i:https?://))?\[unsubscribe\]\s*(?:[?#].*)?", re.DOTALL)
_BARE_URL = re.compile(f"({URL})")
_OPEN_END = re.compile(r"<\Z|&[#\w]*\Z")  # with a value after it, it would become a tag or a character reference
# text to us, but a browser looks for the end of a tag from there on, and would take a value for its attributes
_STRAY_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_NO_LINK_INSIDE = {"a", "button", "option", "select", "label", "textarea", "title", "summary"}
_SEEN = {"img", "svg", "input", "video", "picture", "hr"}  # elements that show something without text
_PLACES = {"srcset": "srcset", "imagesrcset": "srcset", "ping": "ping", "archive": "ping"}


@dataclass
class HtmlTemplate:
    """`markup` is what is sent. `layout` is what the text part is made from.

    They differ where an unsubscribe link stands in running text: `markup` has an <a> around it, `layout` has not.
    """

    markup: Segments = field(default_factory=Segments)
    layout: Segments = field(default_factory=Segments)

    def both(self, parts: list[str]) -> None:
        """Append `parts` to both."""
        self.markup.extend(parts)
        self.layout.extend(parts)


def html_template(source: str, site: Mapping[str, str]) -> HtmlTemplate:
    """Cut markup at its placeholders. `site` has the values that are the same for everybody."""
    template = HtmlTemplate()
    reader = _Reader(source, site, template)
    for token in tokens(source):
        reader.read(token)
    return template


class _Reader:
    """Goes through the tokens, and knows at each where a click on what is shown there leads."""

    def __init__(self, source: str, site: Mapping[str, str], template: HtmlTemplate) -> None:
        self._source, self._site, self._template = source, site, template
        self._no_link_inside: list[str] = []  # open elements in which an <a> would not be clicked
        self._anchor = ""  # where the open <a> leads: LINK, "elsewhere", or "" for nowhere
        self._unseen: int | None = None  # the gap of an open <a> to the link that has shown nothing yet

    def read(self, token: Token) -> None:
        """Append what `token` becomes."""
        source = self._source[token.start : token.end]
        if token.kind == "start":
            self._open(token)
        elif token.kind == "end":
            self._close(token)
        if "[" not in source:
            self._template.both([source])
        elif token.kind == "start":
            self._tag(token)
        elif token.kind == "text":
            self._text(source, token)
        elif token.kind == "raw" and token.name == "style":
            self._template.both(_unclickable(url_segments(source, self._site, "css", html.escape)))
        else:
            self._template.both(_unclickable(text_segments(source, self._site, html.escape)))
        if token.kind == "start" and token.name == "a" and self._anchor == LINK:
            self._unseen = self._template.layout.last_gap
        elif (token.kind == "text" and source.strip()) or token.name in _SEEN:
            self._unseen = None

    def _open(self, token: Token) -> None:
        if token.name == "a":
            targets = [self._value(one) for one in token.attributes if one.name == "href"]
            self._anchor = "" if not targets else LINK if _TO_LINK.fullmatch(targets[0]) else "elsewhere"
        elif token.name in _NO_LINK_INSIDE:
            self._no_link_inside.append(token.name)

    def _close(self, token: Token) -> None:
        if token.name == "a":
            if self._unseen is not None:
                self._template.layout.rename(self._unseen, LINK + UNCLICKABLE)
            self._anchor, self._unseen = "", None
        elif token.name in self._no_link_inside:
            del self._no_link_inside[self._no_link_inside.index(token.name) :]

    def _value(self, attribute: Attribute) -> str:
        return self._source[slice(*attribute.value)] if attribute.value else ""

    def _tag(self, token: Token) -> None:
        """A start tag; a value that is not in quotes gets them where a placeholder is in it."""
        at = token.start
        for attribute in token.attributes:
            if attribute.value is None or "[" not in (value := self._value(attribute)):
                continue
            start, end = attribute.value
            self._outside(self._source[at:start])
            parts = self._attribute(token, attribute, value)
            if not attribute.quote and len(parts) > 1:
                parts = [part if place % 2 else part.replace('"', "&quot;") for place, part in enumerate(parts)]
                parts[0], parts[-1] = '"' + parts[0], parts[-1] + '"'
            self._template.both(parts)
            at = end
        self._outside(self._source[at : token.end])

    def _outside(self, source: str) -> None:
        """The parts of a tag outside its values. There a placeholder's value is encoded, so that it stays one word."""
        parts = text_segments(source, self._site, html.escape)
        self._template.both([part + IN_URL if place % 2 else part for place, part in enumerate(parts)])

    def _attribute(self, token: Token, attribute: Attribute, value: str) -> list[str]:
        if attribute.name in URLS:
            parts = url_segments(value, self._site, _PLACES.get(attribute.name, "url"), html.escape)
            clicked = attribute.name == "href" and not token.conditional and token.name in ("a", "area")
            return parts if clicked and _TO_LINK.fullmatch(value) else _unclickable(parts)
        if attribute.name == "style":
            return _unclickable(url_segments(value, self._site, "css", html.escape))
        if attribute.name == "content" and token.name == "meta":
            return _unclickable(url_segments(value, self._site, "meta", html.escape))
        return _unclickable(text_segments(value, self._site, html.escape))

    def _text(self, source: str, token: Token) -> None:
        for number, piece in enumerate(_BARE_URL.split(_STRAY_TAG.sub("&lt;", source))):
            if number % 2:
                url = trimmed(piece)
                self._shown(url_segments(url, self._site, escape=html.escape), token)
                self._shown(text_segments(piece[len(url) :], self._site, html.escape), token)
            else:
                self._shown(text_segments(piece, self._site, html.escape), token)

    def _shown(self, parts: list[str], token: Token) -> None:
        """Append text with gaps. An unsubscribe link in it gets an <a> around it, unless it stands in one."""
        linked = not token.conditional and not self._no_link_inside and self._anchor != "elsewhere"
        for place, part in enumerate(parts):
            if not place % 2:
                ready = _OPEN_END.sub(_closed, part) if place + 1 < len(parts) else part
                self._template.both([ready])
            elif part != LINK or self._anchor == LINK or not linked:
                self._template.both(["", part if linked else part + UNCLICKABLE if part == LINK else part, ""])
            else:
                self._template.markup.extend(['<a href="', LINK, '">', LINK, "</a>"])
                self._template.layout.gap(LINK)


def _closed(end: re.Match[str]) -> str:
    return html.escape(end[0]) if html.unescape(end[0]) == end[0] else end[0]


def _unclickable(parts: list[str]) -> list[str]:
    return [part + UNCLICKABLE if place % 2 and part == LINK else part for place, part in enumerate(parts)]
