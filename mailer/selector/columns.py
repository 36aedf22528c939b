"""Fields that the users table also keeps as columns, where the database finds them without opening the document.

What a column holds is what the document holds: `documents.normalise` makes both from one source.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement

from mailer.selector.tree import Compare, Kind, Literal, OneOf, Order, Test
from mailer.selector.values import COMPARE, Condition

Columns: TypeAlias = Mapping[str, ColumnElement[Any]]

PROMOTED = {"_id": Kind.STRING, "username": Kind.STRING, "createdAt": Kind.INSTANT}
"""Field -> the kind of operand for which the column says the same as the document."""

ORDERED = ("_id", "createdAt")  # the others sort by the database's collation, which is not MongoDB's order


def column_condition(columns: Columns, path: tuple[str, ...], test: Test) -> Condition | None:
    """The test on the column of a field, None where only the document can tell."""
    name = ".".join(path)
    if name not in columns:
        return None
    match test:
        case Compare(order, literal) if _fits(name, literal) and (order is Order.EQ or name in ORDERED):
            return COMPARE[order](columns[name], literal.value)
        case OneOf(literals) if all(_fits(name, literal) for literal in literals):
            return columns[name].in_([literal.value for literal in literals])
        case _:
            return None


def _fits(name: str, literal: Literal) -> bool:
    return literal.kind is PROMOTED[name] and not isinstance(literal.value, float)
