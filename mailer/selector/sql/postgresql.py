"""JSON values in PostgreSQL: an expression of type jsonb, NULL where it is missing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    ARRAY,
    Boolean,
    ColumnElement,
    Integer,
    Numeric,
    Text,
    and_,
    any_,
    case,
    cast,
    column,
    func,
    literal,
    or_,
)
from sqlalchemy.dialects.postgresql import JSONB
from typing_extensions import override

from mailer.selector.sql.values import Condition, Items, Value
from mailer.selector.tree import Kind

_CONTAINERS = (Kind.ARRAY, Kind.OBJECT)


@dataclass(frozen=True)
class PostgreSQLValue(Value):
    """The value that a jsonb expression gives."""

    jsonb: ColumnElement[Any]

    @override
    def member(self, key: str) -> PostgreSQLValue:
        return PostgreSQLValue(self._get(literal(key, Text())))

    @override
    def entry(self, key: str) -> PostgreSQLValue:
        by_position = self._get(cast(literal(int(key)), Integer()))
        return PostgreSQLValue(case((self.is_array(), by_position), else_=self._get(literal(key, Text()))))

    def _get(self, key: ColumnElement[Any]) -> ColumnElement[Any]:
        return self.jsonb.op("->", return_type=JSONB())(key)

    @override
    def items(self) -> Items:
        return _elements(case((self.is_array(), self.jsonb), else_=cast(literal("[]", Text()), JSONB())))

    @override
    def items_or_itself(self) -> Items:
        return _elements(case((self.is_array(), self.jsonb), else_=func.jsonb_build_array(self.jsonb)))

    @override
    def contains(self, kind: Kind, value: Any) -> Condition | None:
        if kind not in (Kind.BOOL, Kind.NUMBER, Kind.STRING):
            return None
        return self.jsonb.op("@>", is_comparison=True)(cast(literal(json.dumps(value), Text()), JSONB()))

    def _type(self) -> ColumnElement[str]:
        return func.jsonb_typeof(self.jsonb, type_=Text())

    @override
    def is_array(self) -> Condition:
        return self._type() == "array"

    @override
    def is_document(self) -> Condition:
        return and_(self._type() == "object", self._mark("$date").is_(None), self._mark("$oid").is_(None))

    @override
    def is_present(self) -> Condition:
        return self.jsonb.is_not(None)

    @override
    def is_null(self) -> Condition:
        return or_(self.jsonb.is_(None), self._type() == "null")

    @override
    def is_literal_null(self) -> Condition:
        return self._type() == "null"

    def _mark(self, name: str) -> ColumnElement[Any]:
        return self._get(literal(name, Text()))

    @override
    def scalar(self, kind: Kind) -> ColumnElement[Any]:
        match kind:
            case Kind.NUMBER:
                return _number(self.jsonb)
            case Kind.STRING:
                return case((self._type() == "string", _text(self.jsonb)))
            case Kind.BOOL:
                return case((self._type() == "boolean", cast(cast(self.jsonb, Boolean()), Integer())))
            case Kind.DATE:
                return _number(self._mark("$date"))
            case Kind.OBJECT_ID:
                return _text(self._mark("$oid"))
            case Kind.ARRAY | Kind.OBJECT:
                return self.jsonb
            case _:
                raise ValueError(kind)

    @override
    def operand(self, kind: Kind, value: Any) -> ColumnElement[Any]:
        return _bound(kind, value)

    @override
    def is_among(self, kind: Kind, values: Sequence[Any]) -> Condition:
        if kind in (Kind.NUMBER, Kind.DATE):
            return self.scalar(kind) == any_(literal([Decimal(repr(value)) for value in values], ARRAY(Numeric())))
        wanted: ColumnElement[Any] = literal(list(values), ARRAY(Text()))
        return self.scalar(kind) == any_(cast(wanted, ARRAY(JSONB())) if kind in _CONTAINERS else wanted)

    @override
    def has_number_type(self, name: str) -> Condition:
        number = _number(self.jsonb)
        whole = and_(func.scale(number) == 0, number.between(-(2**63), 2**63 - 1))
        small = number.between(-(2**31), 2**31 - 1)
        if name == "double":
            return ~whole
        return and_(whole, small if name == "int" else ~small)

    @override
    def matches(self, re2: str, postgresql: str) -> Condition:
        return self.scalar(Kind.STRING).op("~", is_comparison=True)(literal(postgresql, Text()))

    @override
    def has_remainder(self, divisor: int, remainder: int) -> Condition:
        return func.mod(func.trunc(_number(self.jsonb)), _bound(Kind.NUMBER, divisor)) == remainder

    @override
    def has_length(self, length: int) -> Condition:
        return func.jsonb_array_length(case((self.is_array(), self.jsonb))) == length


def _elements(array: ColumnElement[Any]) -> Items:
    table = func.jsonb_array_elements(array).table_valued(
        column("value", JSONB()), with_ordinality="position", joins_implicitly=True
    )
    rows = table.render_derived()
    return Items(rows, PostgreSQLValue(rows.c.value), rows.c.position - 1)


def _number(value: ColumnElement[Any]) -> ColumnElement[Any]:
    return case((func.jsonb_typeof(value) == "number", cast(value, Numeric())))


def _text(value: ColumnElement[Any]) -> ColumnElement[str]:
    """A JSON string as text, collated bytewise, which is MongoDB's order."""
    return value.op("#>>", return_type=Text())(cast(literal([], ARRAY(Text())), ARRAY(Text()))).collate("C")


def _bound(kind: Kind, value: Any) -> ColumnElement[Any]:
    match kind:
        case Kind.NUMBER | Kind.DATE:
            return literal(Decimal(repr(value)), Numeric())
        case Kind.BOOL:
            return literal(int(value), Integer())
        case Kind.ARRAY | Kind.OBJECT:
            return cast(literal(value, Text()), JSONB())
        case _:
            return literal(value, Text())
