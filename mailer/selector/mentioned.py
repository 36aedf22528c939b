"""Which fields of a user document a selector asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mailer.selector.syntax import parse_selector
from mailer.selector.tree import And, ElemMatch, Field, Node, Not, Or


def fields_of(query: Mapping[str, Any]) -> tuple[str, ...]:
    """The dotted names in the order in which they first occur, those under $elemMatch with the array's name before.

    Raises `InvalidQuery`.
    """
    return tuple(dict.fromkeys(".".join(path) for path in _paths(parse_selector(query), ())))


def _paths(node: Node, before: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    match node:
        case And(parts) | Or(parts):
            for part in parts:
                yield from _paths(part, before)
        case Not(part):
            yield from _paths(part, before)
        case Field(path, ElemMatch(condition, embedded=True)):
            yield before + path
            yield from _paths(condition, before + path)
        case Field(path, ElemMatch(condition)):
            yield before + path
        case Field(path):
            yield before + path
