"""An estimate of how long it takes to look for a pattern in a million texts, in PostgreSQL, the slower engine.

PostgreSQL writes every bounded repetition out and follows all places of the pattern at which it may be, so that
optional parts cost the square of their number. RE2 is linear in all of this. The figures were measured as those of
`selector.cost`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mailer.selector.regex.pattern import QUANTIFIER, Token

# Seconds:
TEXT = 2.0  # to open the document and look for a plain text
REPEAT = 0.1  # for each repetition of a set or a group
LOOK = 0.4  # for each \b or \B, which PostgreSQL gets as look-arounds
LOOP = 0.06  # for each * and +
OPTIONAL = 0.006  # times the square of the number of parts that may be left out
LENGTH = 0.0003  # for each character of the pattern that the engines get

_BOUND = re.compile(r"\{(\d+)(?:,(\d*))?\}")


@dataclass(frozen=True, slots=True)
class Parts:
    """How many parts of each kind a pattern has, once its bounded repetitions are written out."""

    repeats: int = 0
    looks: int = 0
    loops: int = 0
    optionals: int = 0

    def __add__(self, other: Parts) -> Parts:
        return Parts(
            self.repeats + other.repeats,
            self.looks + other.looks,
            self.loops + other.loops,
            self.optionals + other.optionals,
        )

    def times(self, count: int) -> Parts:
        """The parts of `count` repetitions."""
        return Parts(self.repeats * count, self.looks * count, self.loops * count, self.optionals * count)


def seconds(tokens: Iterable[Token], spelled: int) -> float:
    """What the pattern adds to `TEXT`, in seconds; `spelled` is its length as the engines get it. Pure."""
    parts = _counted(tokens)
    added = REPEAT * parts.repeats + LOOK * parts.looks + LOOP * parts.loops
    return added + OPTIONAL * parts.optionals**2 + LENGTH * spelled


def _counted(tokens: Iterable[Token]) -> Parts:
    """The parts of a pattern. A quantifier applies to what stands before it: a set, or a whole group."""
    open_groups: list[list[Parts]] = [[]]
    for part in tokens:
        here = open_groups[-1]
        if part == "(":
            open_groups.append([])
        elif part == ")":
            group = sum(open_groups.pop(), Parts())
            open_groups[-1].append(group)
        elif isinstance(part, str) and QUANTIFIER.match(part):
            here[-1] = _repeated(here[-1], part)
        else:
            here.append(Parts(looks=int(part in (r"\b", r"\B"))))
    return sum(open_groups[0], Parts())


def _repeated(parts: Parts, quantifier: str) -> Parts:
    found = _BOUND.match(quantifier)
    if found:
        count = int(found[2] or found[1])
        return parts.times(count) + Parts(repeats=count)
    return parts + (Parts(optionals=1) if quantifier == "?" else Parts(loops=1))
