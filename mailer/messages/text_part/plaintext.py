"""The text part of a message: an HTML template laid out as plain text, its placeholders kept."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from mailer.messages.text_part.layout import laid_out
from mailer.messages.text_part.links import links_of
from mailer.messages.text_part.tree import parse
from mailer.messages.text_part.unparsed import unparsed_text
from mailer.messages.text_part.visible import shown

_TOO_MANY = re.compile(r"\n{4,}")
_PRIVATE_USE = range(0xF0000, 0xFFFFE)
_MANY_TAGS = 60_000  # ten times what a letter of a megabyte has; more would take the parser more than some seconds


def lay_out(segments: list[str]) -> list[str]:
    """Lay out an HTML template as text. Literals stand at even places, names of placeholders at odd ones, in both.

    A link's target is shown after its text. What nobody sees is left out, its placeholders too. Markup that
    `has_many_tags` becomes its words in their order, without a look at what hides them.
    """
    names = sorted(set(segments[1::2]))
    marks = dict(zip(names, _unused_characters("".join(segments[::2]), len(names)), strict=True))
    text = _text("".join([marks[part] if place % 2 else part for place, part in enumerate(segments)]), marks.values())
    return _split(text + "\n", {mark: name for name, mark in marks.items()})


def has_many_tags(markup: str) -> bool:
    """Whether it has more than a parser reads in a few seconds."""
    return markup.count("<") > _MANY_TAGS


def _text(markup: str, marks: Iterable[str]) -> str:
    if has_many_tags(markup):
        return unparsed_text(markup, frozenset(marks))
    events = list(shown(parse(markup)))
    text = "\n".join(laid_out(events, links_of(events, frozenset(marks), limit=len(markup))))
    return _TOO_MANY.sub("\n\n\n", text).strip("\n")


def _unused_characters(literals: str, count: int) -> list[str]:
    """Pick characters without a meaning that the text does not hold, as themselves or as references."""
    taken = set(literals) | set(html.unescape(literals))
    return [mark for code in _PRIVATE_USE[: count + len(taken)] if (mark := chr(code)) not in taken][:count]


def _split(text: str, names: dict[str, str]) -> list[str]:
    if not names:
        return [text]
    parts = re.split(f"([{''.join(names)}])", text)
    return [names[part] if place % 2 else part for place, part in enumerate(parts)]
