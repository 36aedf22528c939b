"""Compiled regular expressions, which are kept as long as a statement uses them.

SQLite passes only texts to functions, so the compiled pattern is looked up by its text. A cache of a fixed size could
be too small for a statement with many patterns, and would then compile all of them again for each user.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

import re2

MAX_MEMORY = 1 << 20  # octets of one pattern's automaton


class Pattern:
    """One pattern, compiled. Raises `re2.error` when it is too large."""

    __slots__ = ("__weakref__", "_compiled")

    def __init__(self, text: str) -> None:
        options = re2.Options()
        options.log_errors = False
        options.max_mem = MAX_MEMORY
        self._compiled: Any = re2.compile(text.encode(), options)

    def found_in(self, text: str) -> bool:
        """Whether the pattern matches somewhere in `text`; as bytes, which takes re2 a third of the time of a str."""
        return self._compiled.search(text.encode()) is not None


@dataclass(frozen=True)
class Regex:
    """$regex, spelled for each engine; `seconds` is what it adds to the time that a plain text takes, see `cost`.

    `compiled` keeps the pattern compiled for as long as the tree is in use.
    """

    re2: str
    postgresql: str
    seconds: float
    compiled: Pattern = field(compare=False, repr=False)


_in_use: WeakValueDictionary[str, Pattern] = WeakValueDictionary()


def compiled(text: str) -> Pattern:
    """The pattern with this text, compiled unless a statement in use has it already."""
    pattern = _in_use.get(text)
    if pattern is None:
        pattern = _in_use[text] = Pattern(text)
    return pattern
