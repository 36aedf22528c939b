"""Reads a selector into a tree. What is not on the list of supported operators and fields is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mailer.errors import InvalidQuery
from mailer.selector.cost import costliest, seconds
from mailer.selector.limits import MAX_DEPTH, MAX_NESTING, MAX_SECONDS, MAX_WEIGHT
from mailer.selector.literals import parse_literal
from mailer.selector.operators import parse_all, parse_test
from mailer.selector.paths import DATE_FIELDS, quoted, split_path
from mailer.selector.regex.operator import parse_regex
from mailer.selector.simplify import simplify
from mailer.selector.tree import And, Compare, Comparison, ElemMatch, Field, Kind, Literal, Node, Not, OneOf, Or, Test
from mailer.selector.weight import nesting, weight

_LOGICAL = ("$and", "$or", "$nor")
_NEGATED = {"$ne": "$eq", "$nin": "$in"}


class TooLarge(InvalidQuery):
    """The selector is valid, but its SQL would be too much for a database."""


def parse_selector(query: Any) -> Node:
    """The tree of a selector. Raises InvalidQuery, which names the first operator or field that is refused."""
    tree = simplify(_parse_document(query, depth=0, root=True))
    if weight(tree) > MAX_WEIGHT:
        raise TooLarge("The query makes too many comparisons.")
    if nesting(tree) > MAX_NESTING:
        raise TooLarge("The query is nested too deeply.")
    if seconds(tree) > MAX_SECONDS:
        raise TooLarge(_too_slow(tree))
    return tree


def _too_slow(tree: Node) -> str:
    longest = costliest(tree)
    most = f", most of it for {quoted('.'.join(longest.path))}" if longest and longest.path else ""
    return (
        f"The query would take about {seconds(tree):.0f} s over a million users{most}; {MAX_SECONDS:.0f} are allowed. "
        "Ask of fewer fields, or with $in and one pattern instead of many."
    )


def _parse_document(query: Any, *, depth: int, root: bool) -> Node:
    if not isinstance(query, Mapping):
        raise InvalidQuery("A selector must be an object.")
    if depth > MAX_DEPTH:
        raise InvalidQuery("The query is nested too deeply.")
    parts = [_parse_member(name, value, depth, root) for name, value in query.items() if name != "$comment"]
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _parse_member(name: str, value: Any, depth: int, root: bool) -> Node:
    if name in _LOGICAL:
        return _parse_logical(name, value, depth, root)
    if name.startswith("$"):
        raise InvalidQuery(f"The operator {quoted(name)} is not supported.", operator=name)
    path = split_path(name, root=root)
    tree = _parse_predicate(path, value, depth)
    return _with_instants(tree) if root and path in DATE_FIELDS else tree


def _parse_logical(name: str, value: Any, depth: int, root: bool) -> Node:
    if not isinstance(value, list) or not value:
        raise InvalidQuery(f"{name} needs a non-empty array.", operator=name)
    parts = tuple(_parse_document(part, depth=depth + 1, root=root) for part in value)
    return And(parts) if name == "$and" else Or(parts) if name == "$or" else Not(Or(parts))


def _parse_predicate(path: tuple[str, ...], value: Any, depth: int) -> Node:
    if is_expression(value):
        return _parse_expression(path, value, depth)
    return Field(path, Compare(Comparison.EQ, parse_literal(value)))


def is_expression(value: Any) -> bool:
    """Whether the value holds operators. {"$date": ...} and {"$oid": ...} are values, not operators."""
    names = list(value) if isinstance(value, Mapping) else []
    return bool(names) and names not in (["$date"], ["$oid"]) and any(name.startswith("$") for name in names)


def _parse_expression(path: tuple[str, ...], expression: Mapping[str, Any], depth: int) -> Node:
    plain = next((name for name in expression if not name.startswith("$")), None)
    if plain is not None:
        operator = next(name for name in expression if name.startswith("$"))
        raise InvalidQuery(f"{quoted(operator)} cannot stand beside {quoted(plain)}.", operator=operator)
    if "$options" in expression and "$regex" not in expression:
        raise InvalidQuery("$options needs a $regex.", operator="$options")
    operators = [(name, operand) for name, operand in expression.items() if name != "$options"]
    parts = [_parse_operator(path, name, operand, expression, depth) for name, operand in operators]
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _parse_operator(path: tuple[str, ...], name: str, operand: Any, expression: Mapping[str, Any], depth: int) -> Node:
    match name:
        case "$not" | "$elemMatch" | "$all":
            return _parse_nested(path, name, operand, depth + 1)
        case "$exists":
            present = parse_test(name, operand)
            return Field(path, present) if operand else Not(Field(path, present))
        case "$ne" | "$nin":
            return Not(Field(path, parse_test(_NEGATED[name], operand, shown=name)))
        case "$regex":
            return Field(path, parse_regex(operand, expression.get("$options", "")))
        case _:
            return Field(path, parse_test(name, operand))


def _parse_nested(path: tuple[str, ...], name: str, operand: Any, depth: int) -> Node:
    if depth > MAX_DEPTH:
        raise InvalidQuery("The query is nested too deeply.")
    if name == "$not":
        return Not(_parse_negated(path, operand, depth))
    if name == "$all":
        return _parse_all(path, operand, depth)
    return Field(path, _parse_elem_match(operand, depth))


def _parse_negated(path: tuple[str, ...], operand: Any, depth: int) -> Node:
    if not is_expression(operand):
        raise InvalidQuery("$not needs an object of operators.", operator="$not")
    return _parse_expression(path, operand, depth)


def _parse_all(path: tuple[str, ...], operand: Any, depth: int) -> Node:
    elements = parse_all(operand)
    if not elements:
        return Or(())
    if all(isinstance(element, Mapping) and set(element) == {"$elemMatch"} for element in elements):
        return And(tuple(Field(path, _parse_elem_match(element["$elemMatch"], depth)) for element in elements))
    return And(tuple(Field(path, Compare(Comparison.EQ, parse_literal(element))) for element in elements))


def _parse_elem_match(operand: Any, depth: int) -> Test:
    if not isinstance(operand, Mapping):
        raise InvalidQuery("$elemMatch needs an object.", operator="$elemMatch")
    first = next(iter(operand), "")
    if first.startswith("$") and first not in (*_LOGICAL, "$comment"):
        return ElemMatch(_parse_expression((), operand, depth), embedded=False)
    return ElemMatch(_parse_document(operand, depth=depth, root=False), embedded=True)


def _with_instants(tree: Node) -> Node:
    """The same condition, with numbers and dates turned into instants: for fields that hold either, see DATE_FIELDS."""
    match tree:
        case Not(part):
            return Not(_with_instants(part))
        case And(parts):
            return And(tuple(map(_with_instants, parts)))
        case Field(path, Compare(comparison, literal)):
            return Field(path, Compare(comparison, _instant(literal)))
        case Field(path, OneOf(literals)):
            return Field(path, OneOf(tuple(map(_instant, literals))))
        case _:
            return tree


def _instant(literal: Literal) -> Literal:
    return Literal(Kind.INSTANT, literal.value) if literal.kind in (Kind.NUMBER, Kind.DATE) else literal
