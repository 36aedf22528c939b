"""A copy of markup for the library that matches selectors: every tag has a number, and no style sheet is in it."""

from __future__ import annotations

import html
from collections import Counter
from dataclasses import dataclass, field

from mailer.messages.html_part.markup import Attribute, Token, tokens
from mailer.messages.inlining.selectors import STYLE
from mailer.messages.inlining.style_rules import StyleRules

NUMBER = "data-inlining-number"
MOST_TAGS = 20_000
MOST_CSS = 128 * 1024  # characters: more than any mail program reads
DEEPEST = 256  # elements inside each other: the library is recursive
MOST_FORMATTING = 32  # open <b> and the like: a parser repeats all of them in each paragraph

_VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "wbr")
)
_CLOSE_THEMSELVES = frozenset(("p", "li", "td", "th", "tr", "tbody", "thead", "tfoot", "dt", "dd", "option"))
_FORMATTING = frozenset(
    ("b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u", "a")
)
_EMPTIED = frozenset(("style", "script"))


class TooMuch(ValueError):
    """The markup has more than can be inlined in a short time."""


@dataclass
class MarkedCopy:
    """`text` is the copy, `tags` are the start tags of the source by their number, `rules` those of its sheets."""

    text: str
    tags: list[Token] = field(default_factory=list)
    rules: StyleRules = field(default_factory=StyleRules)


def marked_copy(source: str) -> MarkedCopy:
    """Copy `source` without comments, and so without what only Outlook reads. Raises `TooMuch`."""
    copy, written, opened = MarkedCopy(""), list[str](), Counter[str]()
    sheet: Token | None = None
    css = 0
    for token in tokens(source):
        if token.conditional or token.kind == "comment":
            continue
        text = source[token.start : token.end]
        if token.kind == "start":
            written.append(_tag(source, token, len(copy.tags)))
            copy.tags.append(token)
            sheet = token if token.name == "style" else None
        elif token.kind == "raw" and token.name in _EMPTIED:
            css += len(text) if sheet is not None else 0
            if css > MOST_CSS:
                raise TooMuch(f"its style sheets have more than {MOST_CSS // 1024} KB")
            if sheet is not None:
                copy.rules.read(text, conditional=_media(source, sheet) not in ("", "all"))
        else:
            written.append(text)
        _count(opened, token)
        if len(copy.tags) > MOST_TAGS:
            raise TooMuch(f"the body has more than {MOST_TAGS:,} tags")
    copy.text = "".join(written)
    return copy


def _tag(source: str, token: Token, number: int) -> str:
    """The start tag with its number. Only what a selector can ask for is in it."""
    given: dict[str, Attribute] = {}
    for one in token.attributes:
        given.setdefault(STYLE if one.name == "style" else one.name, one)
    parts = [f'{name}="{_value(source, one)}"' for name, one in given.items() if name != NUMBER]
    end = "/>" if source[token.end - 2] == "/" else ">"
    return " ".join([f"<{token.name}", f'{NUMBER}="{number}"', *parts]) + end


def _value(source: str, attribute: Attribute) -> str:
    return source[slice(*attribute.value)].replace('"', "&quot;") if attribute.value else ""


def _media(source: str, tag: Token) -> str:
    found = next((one for one in tag.attributes if one.name == "media"), None)
    return html.unescape(_value(source, found)).strip().lower() if found else ""


def _count(opened: Counter[str], token: Token) -> None:
    """Follow how many elements are open, as many as they may be. Raises `TooMuch`."""
    if token.kind == "start" and token.name not in _VOID | _CLOSE_THEMSELVES:
        opened[token.name] += 1
        if opened.total() > DEEPEST:
            raise TooMuch(f"the body has more than {DEEPEST} elements inside each other")
        if token.name in _FORMATTING and sum(opened[name] for name in _FORMATTING) > MOST_FORMATTING:
            raise TooMuch(f"the body has more than {MOST_FORMATTING} open elements such as <b> inside each other")
    elif token.kind == "end" and opened[token.name]:
        opened[token.name] -= 1
