"""The operators whose operand is plain data: each reads its operand or refuses it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from mailer.errors import InvalidQuery
from mailer.selector.limits import MAX_IN
from mailer.selector.literals import parse_literal
from mailer.selector.paths import quoted
from mailer.selector.tree import Compare, Comparison, Exists, Kind, Mod, OfType, OneOf, Size, Test

TYPE_NAMES = {
    1: "double",
    2: "string",
    3: "object",
    4: "array",
    5: "binData",
    6: "undefined",
    7: "objectId",
    8: "bool",
    9: "date",
    10: "null",
    11: "regex",
    12: "dbPointer",
    13: "javascript",
    14: "symbol",
    15: "javascriptWithScope",
    16: "int",
    17: "timestamp",
    18: "long",
    19: "decimal",
    -1: "minKey",
    127: "maxKey",
}
_ALIASES = {*TYPE_NAMES.values(), "number"}


def parse_test(name: str, operand: Any, shown: str | None = None) -> Test:
    """The test that an operator and its operand stand for; `shown` is the operator's name in error messages.

    Raises InvalidQuery for an unknown operator and for an operand it cannot take.
    """
    parse = _PARSERS.get(name)
    if parse is None:
        raise InvalidQuery(f"The operator {quoted(name)} is not supported.", operator=name)
    return parse(shown or name, operand)


def parse_all(operand: Any) -> list[Any]:
    """The operands of $all, not yet read."""
    return _array("$all", operand)


def _array(name: str, operand: Any) -> list[Any]:
    if not isinstance(operand, list):
        raise InvalidQuery(f"{name} needs an array.", operator=name)
    if len(operand) > MAX_IN:
        raise InvalidQuery(f"{name} takes at most {MAX_IN} values.", operator=name)
    return operand


def _compare(name: str, operand: Any) -> Test:
    literal = parse_literal(operand)
    comparison = Comparison.EQ if name == "$ne" else Comparison(name)
    if comparison is not Comparison.EQ and literal.kind in (Kind.ARRAY, Kind.OBJECT):
        raise InvalidQuery(f"{name} cannot compare with an array or an object.", operator=name)
    return Compare(comparison, literal)


def _one_of(name: str, operand: Any) -> Test:
    return OneOf(tuple(map(parse_literal, _array(name, operand))))


def _exists(_name: str, _operand: Any) -> Test:
    return Exists()


def _of_type(name: str, operand: Any) -> Test:
    wanted = operand if isinstance(operand, list) else [operand]
    if not wanted or len(wanted) > len(_ALIASES):
        raise InvalidQuery(f"{name} needs a type.", operator=name)
    return OfType(tuple(sorted({_type_name(name, each) for each in wanted})))


def _type_name(name: str, wanted: Any) -> str:
    if isinstance(wanted, str) and wanted in _ALIASES:
        return wanted
    if isinstance(wanted, int | float) and not isinstance(wanted, bool) and wanted in TYPE_NAMES:
        return TYPE_NAMES[int(wanted)]
    raise InvalidQuery(f"{name} knows no such type.", operator=name)


def _mod(name: str, operand: Any) -> Test:
    if not isinstance(operand, list) or len(operand) != 2:
        raise InvalidQuery(f"{name} needs an array of a divisor and a remainder.", operator=name)
    divisor, remainder = (_whole(name, number) for number in operand)
    if divisor == 0:
        raise InvalidQuery(f"{name} cannot divide by 0.", operator=name)
    return Mod(divisor, remainder)


def _size(name: str, operand: Any) -> Test:
    length = _whole(name, operand)
    if length < 0 or length != operand:
        raise InvalidQuery(f"{name} needs a number that is not negative and whole.", operator=name)
    return Size(length)


def _whole(name: str, number: Any) -> int:
    """The number without its fraction, as MongoDB takes it. Raises InvalidQuery where it does not fit into 64 bits."""
    finite = isinstance(number, int) or (isinstance(number, float) and math.isfinite(number))
    if not finite or isinstance(number, bool) or not -(2**63) <= int(number) < 2**63:
        raise InvalidQuery(f"{name} needs a number of 64 bits.", operator=name)
    return int(number)


_PARSERS: Mapping[str, Callable[[str, Any], Test]] = {
    "$eq": _compare,
    "$gt": _compare,
    "$gte": _compare,
    "$lt": _compare,
    "$lte": _compare,
    "$in": _one_of,
    "$exists": _exists,
    "$type": _of_type,
    "$mod": _mod,
    "$size": _size,
}
