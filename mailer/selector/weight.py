"""How much SQL a tree becomes."""

from __future__ import annotations

from mailer.selector.paths import is_index
from mailer.selector.tree import And, ElemMatch, Field, Kind, Literal, Node, Not, OneOf, Or, Test

LISTED = (Kind.NUMBER, Kind.STRING)
"""Kinds whose $in is one list for the database instead of a comparison for each."""


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
    """Directly, and if the path is longer than a segment, through arrays with each index taken or not."""
    return 1 if segments < 2 else 1 + segments * (1 << indexes)


def _test_weight(test: Test) -> int:
    if isinstance(test, ElemMatch):
        return 1 + weight(test.condition)
    if isinstance(test, OneOf):
        return 1 + sum(map(_literal_weight, test.literals))
    return 1


def _literal_weight(literal: Literal) -> int:
    return 0 if literal.kind in LISTED else 1
