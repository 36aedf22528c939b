"""Whether one value, not looked into, passes a test."""

from __future__ import annotations

from typing import assert_never

from sqlalchemy import false, or_

from mailer.selector.tree import Compare, Exists, Kind, Literal, Mod, OfType, OneOf, Order, Regex, Size, Test
from mailer.selector.values import COMPARE, Condition, Value
from mailer.selector.weight import LISTED

_CONTAINERS = (Kind.ARRAY, Kind.OBJECT)
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
    """Whether the value passes; NULL means no. A missing value is null to comparisons, and nothing else."""
    match test:
        case Compare(order, literal):
            return _compares(value, order, literal)
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


def _compares(value: Value, order: Order, literal: Literal) -> Condition:
    if literal.kind is Kind.NULL:
        return value.is_null() if order in (Order.EQ, Order.GTE, Order.LTE) else false()
    if literal.kind is Kind.INSTANT:
        kinds = (Kind.DATE, Kind.NUMBER)
        return or_(*(COMPARE[order](value.scalar(kind), value.operand(kind, literal.value)) for kind in kinds))
    if literal.kind in _CONTAINERS:
        return value.equals_json(literal.kind, str(literal.value))
    return COMPARE[order](value.scalar(literal.kind), value.operand(literal.kind, literal.value))


def _is_one_of(value: Value, literals: tuple[Literal, ...]) -> Condition:
    listed = {kind: [literal.value for literal in literals if literal.kind is kind] for kind in LISTED}
    return or_(
        false(),
        *(value.is_among(kind, values) for kind, values in listed.items() if values),
        *(_compares(value, Order.EQ, literal) for literal in literals if literal.kind not in LISTED),
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
