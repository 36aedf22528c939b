"""Fields that the users table also keeps as columns, where the database finds them without opening the document.

What a column holds is what the document holds: `documents.normalise` makes both from one source.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Integer, or_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from mailer.selector.sql.values import COMPARE, Condition
from mailer.selector.tree import Compare, Kind, Literal, OneOf, Order, Test

Columns: TypeAlias = Mapping[str, ColumnElement[Any]]

PROMOTED = {"_id": Kind.STRING, "username": Kind.STRING, "createdAt": Kind.INSTANT, "roles": Kind.STRING}
"""Field -> the kind of operand for which the column says the same as the document."""

LISTED = "roles"  # its column holds a line for each, or NULL where only the document can tell
MAX_LISTED = 16  # of more, the document is asked: it is opened once for all
ORDERED = ("_id", "createdAt")  # the others sort by the database's collation, which is not MongoDB's order


def column_condition(columns: Columns, path: tuple[str, ...], test: Test) -> Condition | None:
    """The test on the column of a field, None where only the document can tell."""
    name = ".".join(path)
    if name not in columns:
        return None
    if name == LISTED:
        return _any_listed(columns[name], test)
    match test:
        case Compare(order, literal) if _fits(name, literal) and (order is Order.EQ or name in ORDERED):
            return COMPARE[order](columns[name], literal.value)
        case OneOf(literals) if all(_fits(name, literal) for literal in literals):
            return columns[name].in_([literal.value for literal in literals])
        case _:
            return None


def _any_listed(column: ColumnElement[Any], test: Test) -> Condition | None:
    match test:
        case Compare(Order.EQ, literal):
            wanted: tuple[Literal, ...] = (literal,)
        case OneOf(literals) if 0 < len(literals) <= MAX_LISTED:
            wanted = literals
        case _:
            return None
    if not all(_fits(LISTED, literal) and "\n" not in str(literal.value) for literal in wanted):
        return None
    return or_(*(Place(column, f"\n{literal.value}\n") > 0 for literal in wanted))


class Place(GenericFunction[int]):
    """Where a text first holds another, from 1; 0 if nowhere. By PostgreSQL's name for it."""

    name = "strpos"
    type = Integer()
    inherit_cache = True


@compiles(Place, "sqlite")
def _on_sqlite(element: Place, compiler: SQLCompiler, **options: Any) -> str:
    return f"instr{compiler.process(element.clause_expr, **options)}"


def _fits(name: str, literal: Literal) -> bool:
    return literal.kind is PROMOTED[name] and not isinstance(literal.value, float)
