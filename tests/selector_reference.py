"""MongoDB's matching in plain Python, written from its manual and from what its server's own tests state about paths.

Slow and obvious on purpose: the yardstick for both databases where mongomock is not one.
"""

import operator
import re
from typing import Any

MISSING = object()
ORDER = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}
DATE_FIELDS = ("createdAt", "lastLogin", "_updatedAt")
TYPE_CODES = {1: "double", 2: "string", 4: "array", 8: "bool", 9: "date", 10: "null", 16: "int"}
FLAGS = {"i": re.I, "m": re.M, "s": re.S, "x": re.X}


def matches(query: dict[str, Any], document: Any, *, root: bool = True) -> bool:
    return all(_member(name, value, document, root) for name, value in query.items() if name != "$comment")


def _member(name: str, value: Any, document: Any, root: bool) -> bool:
    if name == "$and":
        return all(matches(part, document, root=root) for part in value)
    if name == "$or":
        return any(matches(part, document, root=root) for part in value)
    if name == "$nor":
        return not any(matches(part, document, root=root) for part in value)
    members = dict(enumerate(document)) if isinstance(document, list) else document
    members = {str(key): member for key, member in members.items()}
    return _predicate(Walk(members, name.split("."), root and name in DATE_FIELDS), value)


class Walk:
    """The values that a path reaches; `whole` gives an array once, `spread` its elements and then itself."""

    def __init__(self, document: Any, path: list[str], instants: bool = False) -> None:
        self.document, self.path, self.instants = document, path, instants

    def whole(self) -> list[Any]:
        return [value for value, _ in _reach(self.document, self.path)] if self.path else [self.document]

    def spread(self) -> list[Any]:
        if not self.path:
            return [self.document]
        values = []
        for value, by_position in _reach(self.document, self.path):
            if isinstance(value, list) and not by_position:
                values += value
            values.append(value)
        return values


def _reach(document: dict[str, Any], path: list[str]) -> list[tuple[Any, bool]]:
    value = document.get(path[0], MISSING)
    rest = path[1:]
    if not rest:
        return [(value, False)]
    if is_document(value):
        return _reach(value, rest)
    if isinstance(value, list):
        return _reach_in_array(value, rest)
    return [(MISSING, False)]


def _reach_in_array(array: list[Any], path: list[str]) -> list[tuple[Any, bool]]:
    reached = []
    for position, element in enumerate(array):
        if is_document(element):
            reached += _reach(element, path)
        if path[0] == str(position):
            rest = path[1:]
            if not rest:
                reached.append((element, True))
            elif is_document(element):
                reached += _reach(element, rest)
            elif isinstance(element, list):
                reached += _reach_in_array(element, rest)
    return reached


def is_document(value: Any) -> bool:
    return isinstance(value, dict) and "$date" not in value and "$oid" not in value


def _predicate(walk: Walk, value: Any) -> bool:
    if is_document(value) and value and all(name.startswith("$") for name in value):
        return all(_operator(walk, name, operand, value) for name, operand in value.items() if name != "$options")
    return any(equal(each, value, walk.instants) for each in walk.spread())


def _operator(walk: Walk, name: str, operand: Any, beside: dict[str, Any]) -> bool:
    match name:
        case "$ne":
            return not _operator(walk, "$eq", operand, beside)
        case "$nin":
            return not _operator(walk, "$in", operand, beside)
        case "$not":
            return not _predicate(walk, operand)
        case "$exists":
            return any(each is not MISSING for each in walk.spread()) == bool(operand)
        case "$all":
            return bool(operand) and all(_predicate(walk, each) for each in operand)
        case "$size":
            return any(isinstance(each, list) and len(each) == operand for each in walk.whole())
        case "$elemMatch":
            return any(_elem_match(each, operand) for each in walk.whole() if isinstance(each, list))
        case _:
            return any(_test(each, name, operand, beside, walk.instants) for each in walk.spread())


def _elem_match(array: list[Any], operand: dict[str, Any]) -> bool:
    first = next(iter(operand), "")
    if first.startswith("$") and first not in ("$and", "$or", "$nor", "$comment"):
        return any(_predicate(Walk(element, []), operand) for element in array)
    return any(matches(operand, e, root=False) for e in array if is_document(e) or isinstance(e, list))


def _test(value: Any, name: str, operand: Any, beside: dict[str, Any], instants: bool) -> bool:
    match name:
        case "$eq":
            return equal(value, operand, instants)
        case "$in":
            return any(equal(value, each, instants) for each in operand)
        case "$type":
            wanted = operand if isinstance(operand, list) else [operand]
            return any(TYPE_CODES.get(each, each) in types(value) for each in wanted)
        case "$mod":
            return kind(value) == "number" and _remainder(int(value), int(operand[0])) == int(operand[1])
        case "$regex":
            flags = sum(FLAGS[letter] for letter in beside.get("$options", ""))
            ascii_only = operand.replace(r"\w", "[A-Za-z0-9_]").replace(r"\d", "[0-9]")  # as in PCRE
            return isinstance(value, str) and re.search(ascii_only, value, flags) is not None
        case _:
            return _ordered(value, name, operand, instants)


def _remainder(dividend: int, divisor: int) -> int:
    """With the sign of the dividend, as in C."""
    rest = abs(dividend) % abs(divisor)
    return -rest if dividend < 0 else rest


def _ordered(value: Any, name: str, operand: Any, instants: bool) -> bool:
    if operand is None:
        return value in (None, MISSING) and name in ("$gte", "$lte")
    left, right = _comparable(value, instants), _comparable(operand, instants)
    return left[0] == right[0] and ORDER[name](left[1], right[1])


def _comparable(value: Any, instants: bool) -> tuple[str, Any]:
    name = kind(value)
    plain = value["$date"] if name == "date" else value["$oid"] if name == "objectId" else value
    return ("instant" if instants and name in ("date", "number") else name), plain


def kind(value: Any) -> str:
    if isinstance(value, dict):
        return "date" if "$date" in value else "objectId" if "$oid" in value else "object"
    names = {bool: "bool", int: "number", float: "number", str: "string", list: "array", type(None): "null"}
    return names.get(type(value), "missing")


def types(value: Any) -> set[str]:
    if kind(value) != "number":
        return {kind(value)}
    small = isinstance(value, int) and -(2**31) <= value < 2**31
    return {"number", "double" if isinstance(value, float) else "int" if small else "long"}


def equal(value: Any, operand: Any, instants: bool = False) -> bool:
    if operand is None:
        return value in (None, MISSING)
    if kind(operand) in ("array", "object"):
        return kind(value) == kind(operand) and _same(value, operand)
    return _comparable(value, instants) == _comparable(operand, instants)


def _same(left: Any, right: Any) -> bool:
    if kind(left) != kind(right):
        return False
    if kind(left) == "array":
        return len(left) == len(right) and all(map(_same, left, right))
    if kind(left) == "object":
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    return bool(left == right)
