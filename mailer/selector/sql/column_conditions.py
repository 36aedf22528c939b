"""Conditions on fields that the users table also keeps as columns, which are faster than opening the document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Integer, or_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from mailer.selector.columns import LISTED, ORDERED, PROMOTED
from mailer.selector.sql.values import COMPARE, Condition
from mailer.selector.tree import Compare, Comparison, Literal, OneOf, Test

Columns: TypeAlias = Mapping[str, ColumnElement[Any]]

MAX_LISTED = 16  # of more, the document is asked: it is opened once for all


def column_condition(columns: Columns, path: tuple[str, ...], test: Test) -> Condition | None:
    """The test on the column of a field; None where only the document can tell."""
    name = ".".join(path)
    if name not in columns:
        return None
    if name == LISTED:
        return _any_listed(columns[name], test)
    match test:
        case Compare(comparison, literal) if _fits(name, literal) and (comparison is Comparison.EQ or name in ORDERED):
            return COMPARE[comparison](columns[name], literal.value)
        case OneOf(literals) if all(_fits(name, literal) for literal in literals):
            return columns[name].in_([literal.value for literal in literals])
        case _:
            return None


def _any_listed(column: ColumnElement[Any], test: Test) -> Condition | None:
    match test:
        case Compare(Comparison.EQ, literal):
            wanted: tuple[Literal, ...] = (literal,)
        case OneOf(literals) if 0 < len(literals) <= MAX_LISTED:
            wanted = literals
        case _:
            return None
    if not all(_fits(LISTED, literal) and "\n" not in str(literal.value) for literal in wanted):
        return None
    return or_(*(Place(column, f"\n{literal.value}\n") > 0 for literal in wanted))


class Place(GenericFunction[int]):
    """SQL: the place where a text first contains another, from 1; 0 if nowhere. Named as in PostgreSQL."""

    name = "strpos"
    type = Integer()
    inherit_cache = True


@compiles(Place, "sqlite")
def _on_sqlite(element: Place, compiler: SQLCompiler, **options: Any) -> str:
    return f"instr{compiler.process(element.clause_expr, **options)}"


def _fits(name: str, literal: Literal) -> bool:
    return literal.kind is PROMOTED[name] and not isinstance(literal.value, float)
