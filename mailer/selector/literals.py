"""Operands of a selector: JSON values, with dates and object ids as in Extended JSON, read into literals."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from mailer.errors import InvalidQuery
from mailer.files.ejson import canonical_date, from_extended
from mailer.selector.limits import MAX_LITERAL_DEPTH
from mailer.selector.paths import check_name, check_text
from mailer.selector.tree import Kind, Literal

_OBJECT_ID = re.compile(r"[0-9a-f]{24}", re.ASCII)
_EXTENDED = {"$date": Kind.DATE, "$oid": Kind.OBJECT_ID}


def parse_literal(value: Any) -> Literal:
    """Read an operand. Raises InvalidQuery where no document can hold such a value."""
    kind, plain = _read(value, 0)
    if kind in (Kind.ARRAY, Kind.OBJECT):
        return Literal(kind, canonical_json(plain))
    return Literal(kind, plain)


def canonical_json(value: Any) -> str:
    """The same text for all JSON values that are equal: keys sorted, 1.0 written as 1."""
    return json.dumps(_normalised(value), sort_keys=True, separators=(",", ":"))


def _normalised(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _normalised(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_normalised(element) for element in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    return value


def _read(value: Any, depth: int) -> tuple[Kind, Any]:
    match value:
        case None:
            return Kind.NULL, None
        case bool():
            return Kind.BOOL, value
        case int() | float():
            return Kind.NUMBER, _number(value)
        case str():
            check_text(value)
            return Kind.STRING, value
        case list() | Mapping() if depth >= MAX_LITERAL_DEPTH:
            raise InvalidQuery("The query holds a value that is nested too deeply.")
        case list():
            return Kind.ARRAY, [_stored(*_read(element, depth + 1)) for element in value]
        case Mapping():
            return _read_object(value, depth)
        case _:
            raise InvalidQuery("The query holds a value that is not JSON.")


def _read_object(value: Mapping[str, Any], depth: int) -> tuple[Kind, Any]:
    if len(value) == 1:
        (name, content), *_ = value.items()
        if name in _EXTENDED:
            kind = _EXTENDED[name]
            return kind, parse_date(content) if kind is Kind.DATE else _object_id(content)
    members = {}
    for key, member in value.items():
        check_name(key, key)
        members[key] = _stored(*_read(member, depth + 1))
    return Kind.OBJECT, members


def _stored(kind: Kind, value: Any) -> Any:
    """The value in the form that user documents are kept in."""
    return {"$date": value} if kind is Kind.DATE else {"$oid": value} if kind is Kind.OBJECT_ID else value


def _number(value: float) -> float:
    """MongoDB keeps an integer beyond 64 bits as a double; so do both databases."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        if value.bit_length() > 1023:
            raise InvalidQuery("The query holds a number that is out of range.")
        return float(value)
    if not math.isfinite(value):
        raise InvalidQuery("The query holds a number that is out of range.")
    return value


def parse_date(content: Any) -> int:
    """The operand of $date, as milliseconds since 1970: an ISO 8601 text, an integer or {"$numberLong": "..."}."""
    try:
        moment = from_extended(dict(content)) if isinstance(content, Mapping) else content
        return canonical_date(moment)["$date"]
    except ValueError as error:
        raise InvalidQuery(f"$date {error}.", operator="$date") from error


def _object_id(content: Any) -> str:
    if not isinstance(content, str) or not _OBJECT_ID.fullmatch(content.lower()):
        raise InvalidQuery("$oid needs 24 hexadecimal digits.", operator="$oid")
    return content.lower()
