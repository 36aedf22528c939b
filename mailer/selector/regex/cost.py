"""How long a pattern takes to be looked for in a million texts, from what PostgreSQL makes of it.

Its engine writes every bounded repetition out, and keeps all places of the pattern at which it may be: what may be left
out costs by its square. RE2 is linear in all of it. Measured as the figures of `cost` were.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mailer.selector.regex.pattern import QUANTIFIER, Token

TEXT = 2.0  # to open the document and look for a plain text
REPEAT = 0.1  # each time that a set or a group may repeat
LOOK = 0.4  # \b or \B, which PostgreSQL has to look around for
LOOP = 0.06  # * and +
OPTIONAL = 0.006  # of the square of how many places may be left out
LENGTH = 0.0003  # each character that the engines are handed

_BOUND = re.compile(r"\{(\d+)(?:,(\d*))?\}")


@dataclass(frozen=True, slots=True)
class Parts:
    """How many of each kind a pattern has, once its bounded repetitions are written out."""

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
        """So often one after the other."""
        return Parts(self.repeats * count, self.looks * count, self.loops * count, self.optionals * count)


def seconds(tokens: Iterable[Token], spelled: int) -> float:
    """What the pattern adds to `TEXT`; `spelled` is its length as the engines read it. Pure."""
    parts = _counted(tokens)
    added = REPEAT * parts.repeats + LOOK * parts.looks + LOOP * parts.loops
    return added + OPTIONAL * parts.optionals**2 + LENGTH * spelled


def _counted(tokens: Iterable[Token]) -> Parts:
    """A quantifier applies to what stands before it: a set, or a group as a whole."""
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
