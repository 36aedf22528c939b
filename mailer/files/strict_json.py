"""JSON from callers, read strictly: no name twice in an object, and none of Python's additions to JSON. Pure.

What a lenient reader makes of such a text is a guess: of two equal names it keeps the last one. Files of users are read
by `json_streams` instead, which must go on where a document ends, and leaves such faults to the check of each document.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn


class RepeatedName(ValueError):
    """An object has the same `name` twice."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} stands twice in an object")
        self.name = name


class NotFinite(ValueError):
    """The text has `name`, which is NaN, Infinity or -Infinity: numbers for Python, but not in JSON (RFC 8259)."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is not JSON")
        self.name = name


def loads(text: str) -> Any:
    """The value of a JSON text.

    Raises `RepeatedName`, `NotFinite`, another ValueError for what is no JSON, and RecursionError for deep nesting.
    """
    return json.loads(text, object_pairs_hook=each_once, parse_constant=_refuse_constant)


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The pairs of names and values as a dictionary. Raises `RepeatedName`."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise RepeatedName(name)
        found[name] = value
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise NotFinite(name)
