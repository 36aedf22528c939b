"""The HTML part's template: a campaign's markup with its placeholders cut out, each in the form its place asks for."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mailer.messages.html_part.linkify import URL, trimmed
from mailer.messages.html_part.markup import Attribute, Token, tokens
from mailer.messages.html_part.names import URLS
from mailer.messages.segments import DEAD, IN_URL, Segments, text_segments, url_segments

LINK = "unsubscribe"

_TO_LINK = re.compile(r"\s*(?:(?i:https?://))?\[unsubscribe\]\s*(?:[?#].*)?", re.DOTALL)
_BARE_URL = re.compile(f"({URL})")
_OPEN_END = re.compile(r"<\Z|&[#\w]*\Z")  # what would take the value after it for a tag or a reference
_CLICKED_BY_OTHERS = {"a", "button", "option", "select", "label", "textarea", "title", "summary"}
_SEEN = {"img", "svg", "input", "video", "picture", "hr"}  # what shows something without a text
_PLACES = {"srcset": "srcset", "imagesrcset": "srcset", "ping": "ping", "archive": "ping"}


@dataclass
class HtmlTemplate:
    """`markup`: what is sent. `layout`: what its text is made of, where a link in running text is no element yet."""

    markup: Segments = field(default_factory=Segments)
    layout: Segments = field(default_factory=Segments)

    def both(self, parts: list[str]) -> None:
        """Append to both."""
        self.markup.extend(parts)
        self.layout.extend(parts)


def html_template(source: str, site: Mapping[str, str]) -> HtmlTemplate:
    """Cut markup. `site` has the values that are the same for everybody."""
    template = HtmlTemplate()
    reader = _Reader(source, site, template)
    for token in tokens(source):
        reader.read(token)
    return template


class _Reader:
    """Goes through the tokens and remembers which element decides where a click leads."""

    def __init__(self, source: str, site: Mapping[str, str], template: HtmlTemplate) -> None:
        self._source, self._site, self._template = source, site, template
        self._clickable: list[str] = []  # the open elements that a click goes to, or that take none
        self._anchor = ""  # where the open <a> leads: LINK, "elsewhere" or nowhere
        self._unseen: int | None = None  # the gap of an open <a> that shows nothing yet

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
            self._template.both(_dead(url_segments(source, self._site, "css", html.escape)))
        else:
            self._template.both(_dead(text_segments(source, self._site, html.escape)))
        if token.kind == "start" and token.name == "a" and self._anchor == LINK:
            self._unseen = self._template.layout.last_gap
        elif (token.kind == "text" and source.strip()) or token.name in _SEEN:
            self._unseen = None

    def _open(self, token: Token) -> None:
        if token.name == "a":
            targets = [self._value(one) for one in token.attributes if one.name == "href"]
            self._anchor = "" if not targets else LINK if _TO_LINK.fullmatch(targets[0]) else "elsewhere"
        elif token.name in _CLICKED_BY_OTHERS:
            self._clickable.append(token.name)

    def _close(self, token: Token) -> None:
        if token.name == "a":
            if self._unseen is not None:
                self._template.layout.rename(self._unseen, LINK + DEAD)
            self._anchor, self._unseen = "", None
        elif token.name in self._clickable:
            del self._clickable[self._clickable.index(token.name) :]

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
        """What is in a tag and in no value: there a value may be no more than a word."""
        parts = text_segments(source, self._site, html.escape)
        self._template.both([part + IN_URL if place % 2 else part for place, part in enumerate(parts)])

    def _attribute(self, token: Token, attribute: Attribute, value: str) -> list[str]:
        if attribute.name in URLS:
            parts = url_segments(value, self._site, _PLACES.get(attribute.name, "url"), html.escape)
            clicked = attribute.name == "href" and not token.conditional and token.name in ("a", "area")
            return parts if clicked and _TO_LINK.fullmatch(value) else _dead(parts)
        if attribute.name == "style":
            return _dead(url_segments(value, self._site, "css", html.escape))
        if attribute.name == "content" and token.name == "meta":
            return _dead(url_segments(value, self._site, "meta", html.escape))
        return _dead(text_segments(value, self._site, html.escape))

    def _text(self, source: str, token: Token) -> None:
        for number, piece in enumerate(_BARE_URL.split(source)):
            if number % 2:
                url = trimmed(piece)
                self._shown(url_segments(url, self._site, escape=html.escape), token)
                self._shown(text_segments(piece[len(url) :], self._site, html.escape), token)
            else:
                self._shown(text_segments(piece, self._site, html.escape), token)

    def _shown(self, parts: list[str], token: Token) -> None:
        """Text with gaps; an unsubscribe link in it becomes one that can be clicked, unless it is in one."""
        linked = not token.conditional and not self._clickable and self._anchor != "elsewhere"
        for place, part in enumerate(parts):
            if not place % 2:
                ready = _OPEN_END.sub(_closed, part) if place + 1 < len(parts) else part
                self._template.both([ready])
            elif part != LINK or self._anchor == LINK or not linked:
                self._template.both(["", part if linked else part + DEAD if part == LINK else part, ""])
            else:
                self._template.markup.extend(['<a href="', LINK, '">', LINK, "</a>"])
                self._template.layout.gap(LINK)


def _closed(end: re.Match[str]) -> str:
    return html.escape(end[0]) if html.unescape(end[0]) == end[0] else end[0]


def _dead(parts: list[str]) -> list[str]:
    return [part + DEAD if place % 2 and part == LINK else part for place, part in enumerate(parts)]
