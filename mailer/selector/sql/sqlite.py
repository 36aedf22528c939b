"""JSON values in SQLite: a text and a path into it, or a row of json_each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    String,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    type_coerce,
)
from typing_extensions import override

from mailer.selector.paths import is_plain
from mailer.selector.sql.sqlite_functions import CANONICAL_JSON, REGEX_SEARCH
from mailer.selector.sql.values import Condition, Items, Value
from mailer.selector.tree import Kind

_NUMBERS = ("integer", "real")


@dataclass(frozen=True)
class SQLiteValue(Value):
    """The value at `path` in the JSON text `base`, of JSON type `type_`; `plain` is what json_extract would give."""

    base: ColumnElement[str]
    path: str
    type_: ColumnElement[str]
    plain: ColumnElement[Any]

    @classmethod
    def document(cls, base: ColumnElement[Any], path: str = "$") -> SQLiteValue:
        """The value at a path in a column or expression of JSON text."""
        text = type_coerce(base, Text())
        return cls(text, path, func.json_type(text, path, type_=String()), func.json_extract(text, path))

    @override
    def member(self, key: str) -> SQLiteValue:
        if is_plain(key):  # others may be stored with escapes, which paths before SQLite 3.45 do not see through
            return self.document(self.base, f'{self.path}."{key}"')
        return self._lookup(key, positions=False)

    @override
    def entry(self, key: str) -> SQLiteValue:
        return self._lookup(key, positions=True)

    def _lookup(self, key: str, *, positions: bool) -> SQLiteValue:
        """The member whose key, or array position, equals `key`. It is slower than a path, but takes any name."""
        rows = func.json_each(self.base, self.path).table_valued("key", "value", "type", joins_implicitly=True)
        truth = (rows.c.type.in_(("true", "false")), rows.c.type)
        found = select(case(truth, else_=func.json_quote(rows.c.value))).select_from(rows).correlate_except(rows)
        name = cast(rows.c.key, Text()) if positions else rows.c.key
        return self.document(found.where(name == key).scalar_subquery())

    @override
    def items(self) -> Items:
        return self._rows(case((self.type_ == "array", self._text())))

    @override
    def items_or_itself(self) -> Items:
        alone = literal("[").concat(self._text()).concat("]")
        return self._rows(case((self.type_ == "array", self._text()), (self.type_ == "object", alone), else_="[null]"))

    def _text(self) -> ColumnElement[Any]:
        return func.json_extract(self.base, self.path)

    def _rows(self, array: ColumnElement[Any]) -> Items:
        rows = func.json_each(array).table_valued("key", "value", "type", joins_implicitly=True)
        container = case((rows.c.type.in_(("array", "object")), rows.c.value))
        return Items(rows, SQLiteValue(container, "$", rows.c.type, rows.c.value), rows.c.key)

    @override
    def is_array(self) -> Condition:
        return self.type_ == "array"

    @override
    def is_document(self) -> Condition:
        return and_(self.type_ == "object", self._mark("$date").is_(None), self._mark("$oid").is_(None))

    @override
    def is_present(self) -> Condition:
        return self.type_.is_not(None)

    @override
    def is_null(self) -> Condition:
        return or_(self.type_.is_(None), self.type_ == "null")

    @override
    def is_literal_null(self) -> Condition:
        return self.type_ == "null"

    def _mark(self, name: str) -> ColumnElement[Any]:
        return func.json_extract(self.base, f'{self.path}."{name}"')

    @override
    def scalar(self, kind: Kind) -> ColumnElement[Any]:
        match kind:
            case Kind.NUMBER:
                return case((self.type_.in_(_NUMBERS), self.plain))
            case Kind.STRING:
                return case((self.type_ == "text", self.plain))
            case Kind.BOOL:
                return case((self.type_ == "true", 1), (self.type_ == "false", 0))
            case Kind.DATE:
                return self._mark("$date")
            case Kind.OBJECT_ID:
                return self._mark("$oid")
            case Kind.ARRAY | Kind.OBJECT:
                return case((self.type_ == kind.value, getattr(func, CANONICAL_JSON)(self._text())))
            case _:
                raise ValueError(kind)

    @override
    def operand(self, kind: Kind, value: Any) -> ColumnElement[Any]:
        return literal(int(value) if kind is Kind.BOOL else value)

    @override
    def is_among(self, kind: Kind, values: Sequence[Any]) -> Condition:
        rows = func.json_each(json.dumps(values)).table_valued("value")
        return self.scalar(kind).in_(select(rows.c.value))

    @override
    def has_number_type(self, name: str) -> Condition:
        stored = func.typeof(self.scalar(Kind.NUMBER))
        small = self.plain.between(-(2**31), 2**31 - 1)
        if name == "double":
            return stored == "real"
        return and_(stored == "integer", small if name == "int" else ~small)

    @override
    def matches(self, re2: str, postgresql: str) -> Condition:
        found: ColumnElement[int] = getattr(func, REGEX_SEARCH)(re2, self.scalar(Kind.STRING), type_=Integer())
        return found == 1

    @override
    def has_remainder(self, divisor: int, remainder: int) -> Condition:
        return cast(self.scalar(Kind.NUMBER), BigInteger).op("%")(literal(divisor)) == remainder

    @override
    def has_length(self, length: int) -> Condition:
        return func.json_array_length(case((self.type_ == "array", self._text()))) == length
