"""An estimate of how long a selector takes over a million users, on the slower of the two databases.

The figures are seconds of one processor, measured on both databases over 50,000 documents of a kilobyte each, scaled to
a million and rounded. What cannot be estimated, such as arrays of thousands of elements, is left to the time limits.
"""

from __future__ import annotations

from typing import assert_never

from mailer.selector.columns import LISTED, PROMOTED
from mailer.selector.paths import is_index, is_plain
from mailer.selector.regex.compiled import Regex
from mailer.selector.regex.cost import TEXT
from mailer.selector.tree import (
    And,
    Compare,
    ElemMatch,
    Exists,
    Field,
    Kind,
    Mod,
    Node,
    Not,
    OfType,
    OneOf,
    Or,
    Size,
    Test,
)

COLUMN = 0.03  # a test on a column of its own
ROLES = 0.25  # a test on the column of roles
SEGMENT = 0.1  # the second name of a path
DEEPER = 1.0  # each name after that, since each may be reached through an array
LOOKED_UP = 3.0  # a name that cannot stand in a JSON path, or that may be a position in an array
ARRAYS = 3.0  # how many times as long a test takes where an array is on the way, as in `emails`
ARRAY_FIELDS = ("emails", "roles")  # of documents that Rocket.Chat makes
ELEM_MATCH = 3.0  # $elemMatch, without its condition
ELEMENTS = 2.0  # how many times as long the condition takes, since it is tested on every element

_LITERALS = {Kind.ARRAY: 6.0, Kind.OBJECT: 5.0}
_SCALAR = 0.5


def seconds(node: Node, elements: float = 1.0) -> float:
    """The estimate for a tree, in seconds, when every part of it must be tested.

    `elements` is how often each part is tested for one user, under $elemMatch.
    """
    match node:
        case And(parts) | Or(parts):
            return sum(seconds(part, elements) for part in parts)
        case Not(part):
            return seconds(part, elements)
        case Field(path, test):
            return _field(path, test, elements)
        case _:
            assert_never(node)


def costliest(node: Node) -> Field | None:
    """The condition with the highest estimate; None where there is no condition."""
    match node:
        case And(parts) | Or(parts):
            return max(filter(None, map(costliest, parts)), key=seconds, default=None)
        case Not(part):
            return costliest(part)
        case Field():
            return node
        case _:
            assert_never(node)


def _field(path: tuple[str, ...], test: Test, elements: float) -> float:
    if len(path) == 1 and path[0] in PROMOTED and not isinstance(test, Regex | ElemMatch):
        return ROLES if path[0] == LISTED else COLUMN
    looked_up = sum(not is_plain(name) or is_index(name) for name in path)
    arrays = ARRAYS if path[:1] and path[0] in ARRAY_FIELDS else 1.0
    times = 1.0 if isinstance(test, ElemMatch) else max(elements, arrays)
    steps = SEGMENT * (len(path) > 1) + DEEPER * max(0, len(path) - 2)
    return times * _test(test) + steps + LOOKED_UP * looked_up


def _test(test: Test) -> float:
    match test:
        case Compare() | OneOf():
            literals = test.literals if isinstance(test, OneOf) else (test.literal,)
            return sum(_LITERALS.get(kind, _SCALAR) for kind in {literal.kind for literal in literals})
        case Regex():
            return TEXT + test.seconds
        case ElemMatch(condition, _):
            return ELEM_MATCH + seconds(condition, ELEMENTS)
        case Mod():
            return 1.0
        case OfType(names):
            return 0.7 * len(names)
        case Exists() | Size():
            return 0.4
        case _:
            assert_never(test)
