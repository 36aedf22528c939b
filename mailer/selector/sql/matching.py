"""The conditions that one value passes a test, without its elements if it is an array."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, assert_never

from sqlalchemy import false, or_

from mailer.selector.regex.compiled import Regex
from mailer.selector.sql.values import COMPARE, Condition, Value
from mailer.selector.tree import Compare, Comparison, Exists, Kind, Literal, Mod, OfType, OneOf, Size, Test

_NAMED = {
    "string": Kind.STRING,
    "bool": Kind.BOOL,
    "objectId": Kind.OBJECT_ID,
    "date": Kind.DATE,
    "number": Kind.NUMBER,
}


def admits_array(test: Test) -> bool:
    """Whether an array as a whole, not one of its elements, can pass the test."""
    match test:
        case Compare(_, literal):
            return literal.kind is Kind.ARRAY
        case OneOf(literals):
            return any(literal.kind is Kind.ARRAY for literal in literals)
        case OfType(names):
            return "array" in names
        case _:
            return False


def holds(value: Value, test: Compare | OneOf | Exists | OfType | Regex | Mod | Size) -> Condition:
    """The condition that the value passes; NULL counts as false.

    A missing value compares as null, and passes no other test.
    """
    match test:
        case Compare(comparison, literal):
            return _compares(value, comparison, literal)
        case OneOf(literals):
            return _is_one_of(value, literals)
        case Exists():
            return value.is_present()
        case OfType(names):
            return or_(false(), *(_has_type(value, name) for name in names))
        case _:
            return _has_content(value, test)


def _has_content(value: Value, test: Regex | Mod | Size) -> Condition:
    match test:
        case Regex(re2, postgresql):
            return value.matches(re2, postgresql)
        case Mod(divisor, remainder):
            return value.has_remainder(divisor, remainder)
        case Size(length):
            return value.has_length(length)
        case _:
            assert_never(test)


def _compares(value: Value, comparison: Comparison, literal: Literal) -> Condition:
    if literal.kind is Kind.NULL:
        return value.is_null() if comparison in (Comparison.EQ, Comparison.GTE, Comparison.LTE) else false()
    return or_(
        *(
            COMPARE[comparison](value.scalar(kind), value.operand(kind, literal.value))
            for kind in _stored_as(literal.kind)
        )
    )


def _stored_as(kind: Kind) -> tuple[Kind, ...]:
    return (Kind.DATE, Kind.NUMBER) if kind is Kind.INSTANT else (kind,)


def _is_one_of(value: Value, literals: tuple[Literal, ...]) -> Condition:
    """$in: one IN list for each kind that has many possible values; null and booleans are compared one by one."""
    listed: dict[Kind, list[Any]] = defaultdict(list)
    rest: set[Literal] = set()
    for literal in literals:
        if literal.kind in (Kind.NULL, Kind.BOOL):
            rest.add(literal)
        else:
            for kind in _stored_as(literal.kind):
                listed[kind].append(literal.value)
    return or_(
        false(),
        *(value.is_among(kind, values) for kind, values in listed.items()),
        *(_compares(value, Comparison.EQ, literal) for literal in sorted(rest, key=repr)),
    )


def _has_type(value: Value, name: str) -> Condition:
    match name:
        case "null":
            return value.is_literal_null()
        case "int" | "long" | "double":
            return value.has_number_type(name)
        case "array":
            return value.is_array()
        case "object":
            return value.is_document()
        case _ if name in _NAMED:
            return value.scalar(_NAMED[name]).is_not(None)
        case _:  # a type that JSON cannot hold
            return false()
