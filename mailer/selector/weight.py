"""How much SQL a tree becomes, and how deeply that is nested."""

from __future__ import annotations

from mailer.selector.paths import is_index, is_plain
from mailer.selector.tree import And, ElemMatch, Field, Node, Not, OneOf, Or, Test

# Symbols on the stack of SQLite's parser, measured and rounded up.
_LOGICAL = 3
_NEGATION = 1
_FIELD = 14
_ARRAYS_ON_THE_WAY = 26
_LOOKUP = 14
_ELEM_MATCH = 22


def weight(node: Node) -> int:
    """The number of comparisons in the SQL of a tree, within a factor of two."""
    match node:
        case And(parts) | Or(parts):
            return sum(map(weight, parts))
        case Not(part):
            return weight(part)
        case Field(path, test):
            return _ways(len(path), sum(map(is_index, path[1:]))) * _test_weight(test)


def _ways(segments: int, indexes: int) -> int:
    """In how many ways a path is walked: directly, and, if it has several segments, through arrays.

    Each segment that may be an array index doubles the ways through arrays.
    """
    return 1 if segments < 2 else 1 + segments * (1 << indexes)


def _test_weight(test: Test) -> int:
    if isinstance(test, ElemMatch):
        return 1 + weight(test.condition)
    if isinstance(test, OneOf):
        return len({literal.kind for literal in test.literals})  # one list each
    return 1


def nesting(node: Node) -> int:
    """The most symbols that SQLite's parser keeps on its stack at once for the SQL of a tree."""
    match node:
        case And(parts) | Or(parts):
            return _LOGICAL + max(map(nesting, parts), default=0)
        case Not(part):
            return _NEGATION + nesting(part)
        case Field(path, ElemMatch(condition)):
            return _ELEM_MATCH + _path_nesting(path) + nesting(condition)
        case Field(path, _):
            return _FIELD + _path_nesting(path)


def _path_nesting(path: tuple[str, ...]) -> int:
    lookups = sum(not is_plain(segment) for segment in path) + any(map(is_index, path[:1]))
    return _LOOKUP * lookups + (_ARRAYS_ON_THE_WAY if len(path) > 1 else 0)
