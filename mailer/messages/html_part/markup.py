"""HTML as it is written: where its tags, attributes and comments stand, and whether a text is HTML at all.

No parser at hand says where in the source an attribute's value stands, and a campaign's markup must go out as it was
written, not as a parser would write it again. So this reads tokens as the HTML standard does (section 13.2.5), with one
exception: a tag does not hold a `<` outside quotes, so that `a <b then` does not take the next tag with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from mailer.messages.html_part.names import ATTRIBUTES, BOOLEAN, ELEMENTS, UNCLOSED

_BLANK = r"[ \t\n\f\r]"
_TAG = re.compile(rf"</?([A-Za-z][^ \t\n\f\r/<>]*+){_BLANK}*+")
_ATTRIBUTE = re.compile(
    rf"[ \t\n\f\r/]*+(=?+[^ \t\n\f\r/<>=]*+)(?:{_BLANK}*+(=){_BLANK}*+"
    r"(?:\"([^\"]*+)\"|'([^']*+)'|([^ \t\n\f\r<>\"'][^ \t\n\f\r<>]*+)?))?"
)
_REVEALED = re.compile(r"<!--\s{0,9}\[if\b[^\]<>]{0,200}\]>(?:<!-->|-->)", re.IGNORECASE)
_CONDITION = re.compile(r"<!--\s{0,9}\[if\b[^\]<>]{0,200}\]>", re.IGNORECASE)
_COMMENT_START = re.compile(r"<!--(?:-?>)?")
_COMMENT_END = re.compile(r"--!?>")
_RAW = {"script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes"}
_KNOWN_PREFIX = ("data-", "aria-", "on")


class Attribute(NamedTuple):
    """An attribute: its name in lower case, where its value stands (without quotes; None: it has none), its quote."""

    name: str
    value: tuple[int, int] | None
    quote: str


class Token(NamedTuple):
    """A stretch of the source. `raw` is the content of an element that holds no markup, and has its name.

    `conditional`: it stands in a comment that only Outlook reads.
    """

    kind: Literal["text", "start", "end", "comment", "doctype", "raw"]
    start: int
    end: int
    name: str = ""
    attributes: tuple[Attribute, ...] = ()
    conditional: bool = False


def tokens(source: str) -> Iterator[Token]:
    """Read `source` from its beginning to its end, in one pass."""
    written, last, condition, endless = 0, source.rfind(">"), False, set[str]()
    place = _opening(source, 0, last)
    while place >= 0:
        token = _token(source, place)
        if token is None:
            place = _opening(source, place + 1, last)
            continue
        if written < place:
            yield Token("text", written, place, conditional=condition)
        condition = _condition(source, token, condition)
        yield token._replace(conditional=condition)
        written = _raw_end(source, token, endless)
        if token.end < written:
            yield Token("raw", token.end, written, token.name, conditional=condition)
        place = _opening(source, written, last)
    if written < len(source):
        yield Token("text", written, len(source), conditional=condition)


def _opening(source: str, start: int, last: int) -> int:
    """Where the next token may begin; `last`: where the last one ends, but for a comment, which needs no end."""
    place = source.find("<", start)
    return place if place <= last else source.find("<!--", place)


def _condition(source: str, token: Token, condition: bool) -> bool:
    """Whether only Outlook reads what follows."""
    if token.kind != "comment":
        return condition
    if _CONDITION.fullmatch(source, token.start, token.end):
        return True
    return condition and not source[token.start : token.end].lower().startswith("<![endif]")


def _raw_end(source: str, token: Token, endless: set[str]) -> int:
    """Where the content of a script and the like ends. `endless`: elements that are never closed from here on."""
    if token.kind != "start" or token.name not in _RAW - endless:
        return token.end
    inner = re.compile(rf"</{token.name}(?=[ \t\n\f\r/>])", re.IGNORECASE).search(source, token.end)
    if inner is None:
        endless.add(token.name)
    return inner.start() if inner else token.end


def _token(source: str, place: int) -> Token | None:
    if tag := _TAG.match(source, place):
        return _tag(source, place, tag)
    if source.startswith("<!--", place):
        return _comment(source, place)
    if source[place + 1 : place + 2] in ("!", "?") or source.startswith("</", place):
        end = source.find(">", place)
        doctype = source[place + 2 : place + 9].lower() == "doctype"
        return Token("doctype" if doctype else "comment", place, end + 1) if end > 0 else None
    return None


def _comment(source: str, place: int) -> Token:
    """A comment; of one with a condition for Outlook only the mark around what Outlook shows."""
    mark = _REVEALED.match(source, place) or _CONDITION.match(source, place)
    if mark:
        return Token("comment", place, mark.end())
    start = _COMMENT_START.match(source, place)
    if start and start[0].endswith(">"):
        return Token("comment", place, start.end())
    end = _COMMENT_END.search(source, place + 4)
    return Token("comment", place, end.end() if end else len(source))


def _tag(source: str, place: int, tag: re.Match[str]) -> Token | None:
    """The tag at `place`; None where it has no end or holds a `<`."""
    at, attributes = tag.end(), []
    while found := _ATTRIBUTE.match(source, at):
        if found.end() == at or (not found[1] and not found[2]):
            at = found.end()
            break
        at = found.end()
        which = next((number for number in (3, 4, 5) if found[number] is not None), None)
        quote = {3: '"', 4: "'"}.get(which or 5, "")
        attributes.append(Attribute(found[1].lower(), found.span(which) if which else None, quote))
    if source[at : at + 1] != ">":
        return None
    kind: Literal["start", "end"] = "end" if source[place + 1] == "/" else "start"
    return Token(kind, place, at + 1, tag[1].lower(), tuple(attributes))


def is_html(text: str) -> bool:
    """Whether `text` is HTML: has what nobody writes in a letter by chance.

    That is a doctype, a comment, a closing tag of an element that HTML knows, such an element with an attribute that
    HTML knows, or one that needs no closing: as in `<p>`, not as in `i<p && q>0`.
    """
    return any(_is_telling(text, token) for token in tokens(text))


def _is_telling(text: str, token: Token) -> bool:
    if token.kind in ("doctype", "comment"):
        return token.kind == "doctype" or (text.startswith("<!--", token.start) and text.endswith("-->", 0, token.end))
    if token.name not in ELEMENTS or token.kind not in ("start", "end"):
        return False
    is_bare = token.name in UNCLOSED and not token.attributes
    return token.kind == "end" or is_bare or any(map(_is_known, token.attributes))


def _is_known(attribute: Attribute) -> bool:
    if attribute.value is None:
        return attribute.name in BOOLEAN
    return attribute.name in ATTRIBUTES or attribute.name.startswith(_KNOWN_PREFIX)
