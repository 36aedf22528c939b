"""Compiled regular expressions, which live as long as the statement that holds them.

SQLite hands its functions texts only, so a pattern is found again by its text. A cache of some size would be too small
for one statement with many patterns, and would compile them all anew for each user.
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
        """Whether it is; as bytes, because the wrapper takes thrice as long to count in characters."""
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


_living: WeakValueDictionary[str, Pattern] = WeakValueDictionary()


def compiled(text: str) -> Pattern:
    """The pattern of this text, compiled unless somebody holds it already."""
    pattern = _living.get(text)
    if pattern is None:
        pattern = _living[text] = Pattern(text)
    return pattern
