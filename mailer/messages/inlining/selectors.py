"""CSS selectors, as the library that matches them takes them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import tinycss2

STYLE = "data-inlining-style"  # the name under which selectors see an author's style attribute

_LINKED = frozenset(("link", "any-link"))  # every <a href>, since nobody has followed a link in a mail yet
_STATES = frozenset(("hover", "active", "focus", "focus-within", "focus-visible", "visited"))
_PARTS = frozenset(("before", "after", "first-line", "first-letter", "marker", "placeholder", "selection"))
_EDGES = frozenset(("first", "last", "only"))
_PLAIN = frozenset(f"{which}-{what}" for which in _EDGES for what in ("child", "of-type")) | {"empty", "root"}
_PLAIN_FUNCTIONS = frozenset(("not", "nth-child", "nth-last-child", "nth-of-type", "nth-last-of-type"))
_COMBINATORS = ">+~"
_STYLE_NAME = re.compile(r"style\b", re.IGNORECASE)
_GAP = re.compile(rf"\A[{_COMBINATORS}]|[{_COMBINATORS}]\Z|[{_COMBINATORS}]\s*[{_COMBINATORS}]")


class StrangeSelector(ValueError):
    """The library, or perhaps a mail program, does not know it."""


class StyleQuestion(NamedTuple):
    """What a selector asks of the style attributes of elements that `selector` matches, since inlining changes them.

    `exactly`: not only whether `value` is in it.
    """

    selector: str
    value: str
    exactly: bool


def divided(prelude: list[Any]) -> Iterator[list[Any]]:
    """The selectors of a list with commas, as tokens."""
    group: list[Any] = []
    for token in prelude:
        if _is(token, ","):
            yield group
            group = []
        elif token.type != "comment":
            group.append(token)
    yield group


def matchable(tokens: list[Any], questions: list[StyleQuestion]) -> str | None:
    """The selector for the library; None where it is about a state or a part of an element, which nobody can inline.

    What it asks of style attributes is added to `questions`. Raises `StrangeSelector`.
    """
    written: list[str] = []
    rest = iter(range(len(tokens)))
    for at in rest:
        token = tokens[at]
        if _is(token, ":"):
            pseudo = _pseudo(tokens[at + 1 : at + 3])
            if pseudo is None:
                return None
            written.append(pseudo)
            next(rest)
        elif token.type == "[] block":
            written.append(_attribute(token, questions, tokens[:at]))
        elif _is_plain(token):
            written.append(token.serialize())
        else:
            raise StrangeSelector
    return "".join(written).strip()


def widened(tokens: list[Any]) -> str:
    """A selector that matches at least all that this one does."""
    written: list[str] = []
    colon = False
    for token in tokens:
        if _is(token, ":"):
            colon = True
        elif colon:
            colon = False  # what stood after it is left out
        elif _is_plain(token):
            written.append(token.serialize())
        elif token.type != "[] block":
            return "*"
    text = "".join(written).strip()
    return text if text and not _GAP.search(text) else "*"


def _pseudo(part: list[Any]) -> str | None:
    """What stands after a colon. Raises `StrangeSelector`."""
    first = part[0] if part else None
    if first is not None and first.type == "ident":
        return _pseudo_class(first.lower_value)
    if first is not None and first.type == "function" and first.lower_name in _PLAIN_FUNCTIONS:
        inner = first.arguments
        if all(one.type not in ("function", "[] block") and not _is(one, ":") for one in inner):
            return f":{tinycss2.serialize([first])}"
    if _is(first, ":") and len(part) > 1 and part[1].type == "ident" and part[1].lower_value in _PARTS:
        return None
    raise StrangeSelector


def _pseudo_class(name: str) -> str | None:
    if name in _LINKED:
        return "[href]"  # as specific as the pseudo-class
    if name in _STATES | _PARTS:
        return None
    if name not in _PLAIN:
        raise StrangeSelector
    return f":{name}"


def _attribute(block: Any, questions: list[StyleQuestion], before: list[Any]) -> str:
    """An attribute selector. The library sees a style attribute under another name."""
    text = str(block.serialize())
    name = _STYLE_NAME.match(text, 1)
    if name is None:
        return text
    values = [token.value for token in block.content if token.type in ("string", "ident")]
    operator = next((token.value for token in block.content if token.type == "literal"), "")
    value = values[-1] if operator and values else ""
    questions.append(StyleQuestion(widened(before), value, not operator.startswith("*")))
    return f"[{STYLE}{text[name.end() :]}"


def _is(token: Any, mark: str) -> bool:
    return token is not None and token.type == "literal" and token.value == mark


def _is_plain(token: Any) -> bool:
    """Whether it is part of a selector without brackets and colons."""
    return token.type in ("ident", "hash", "whitespace") or any(_is(token, mark) for mark in (".", "*", *_COMBINATORS))
