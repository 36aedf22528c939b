"""Makes a tree cheaper without changing whom it selects: alternatives about one field become one test.

People write `$or` over one field where `$in` or one pattern would do, and each of its tests costs as much as the next:
290 patterns over a million users took hours. Joining them is right for arrays too: "some value is a, or some value is
b" is the same as "some value is a or b".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import re2

from mailer.selector.columns import PROMOTED
from mailer.selector.regex.compiled import Regex, compiled
from mailer.selector.tree import And, Compare, Comparison, ElemMatch, Field, Literal, Node, Not, OneOf, Or

MAX_JOINED = 20_000  # characters of a joined pattern; PostgreSQL takes long to compile longer ones


def simplify(node: Node) -> Node:
    """The tree with its alternatives joined."""
    match node:
        case And(parts):
            return _joined(And, tuple(_flat(And, map(simplify, parts))), negated=True)
        case Or(parts):
            return _joined(Or, tuple(_flat(Or, map(simplify, parts))), negated=False)
        case Not(part):
            return Not(simplify(part))
        case Field(path, ElemMatch(condition, embedded)):
            return Field(path, ElemMatch(simplify(condition), embedded))
        case _:
            return node


def _flat(kind: type[And] | type[Or], parts: Iterator[Node]) -> Iterator[Node]:
    for part in parts:
        if isinstance(part, And | Or) and type(part) is kind:
            yield from part.parts
        else:
            yield part


def _joined(kind: type[And] | type[Or], parts: tuple[Node, ...], *, negated: bool) -> Node:
    """`parts` with the alternatives about one field joined into one.

    With `negated` these are the negated parts of a conjunction: not a and not b is the same as not (a or b).
    """
    groups: dict[object, list[Field]] = {}
    rest: list[Node] = []
    for part in parts:
        field = part.part if negated and isinstance(part, Not) else part
        key = _key(field) if isinstance(part, Not) == negated else None
        if key is None or not isinstance(field, Field):
            rest.append(part)
        else:
            groups.setdefault(key, []).append(field)
    joined = [Field(fields[0].path, test) for fields in groups.values() for test in _tests(fields)]
    whole = (*rest, *(map(Not, joined) if negated else joined))
    return whole[0] if len(whole) == 1 else kind(whole)


def _key(node: Node) -> object:
    """What alternatives that can be joined have in common; None where `node` cannot be joined with any other."""
    if not isinstance(node, Field) or node.path[:1] in {(name,) for name in PROMOTED}:  # a column needs no joining
        return None
    match node.test:
        case OneOf() | Compare(Comparison.EQ, _):
            return node.path, OneOf
        case Regex():
            return node.path, Regex
        case _:
            return None


def _tests(fields: Sequence[Field]) -> Iterator[OneOf | Regex | Compare]:
    if len(fields) == 1:
        yield fields[0].test  # type: ignore[misc]  # `_key` lets through no other
    elif isinstance(fields[0].test, Regex):
        yield from _alternation([field.test for field in fields if isinstance(field.test, Regex)])
    else:
        literals = chain.from_iterable(map(_literals, fields))
        yield OneOf(tuple(dict.fromkeys(literals)))


def _literals(field: Field) -> Sequence[Literal]:
    match field.test:
        case OneOf(literals):
            return literals
        case Compare(_, literal):
            return (literal,)
        case _:
            return ()


def _alternation(patterns: Sequence[Regex]) -> Iterator[Regex]:
    """One pattern for all, or as few as the regular expression engines can compile."""
    joint = _joint(patterns)
    if joint is not None:
        yield joint
        return
    middle = len(patterns) // 2
    yield from _alternation(patterns[:middle])
    yield from _alternation(patterns[middle:])


def _joint(patterns: Sequence[Regex]) -> Regex | None:
    if len(patterns) == 1:
        return patterns[0]
    for_re2 = _either(each.re2 for each in patterns)
    for_postgresql = _either(each.postgresql for each in patterns)
    if max(len(for_re2), len(for_postgresql)) > MAX_JOINED:
        return None
    try:
        return Regex(for_re2, for_postgresql, sum(each.seconds for each in patterns), compiled(for_re2))
    except re2.error:
        return None


def _either(texts: Iterable[str]) -> str:
    return "|".join(f"(?:{text})" for text in dict.fromkeys(texts))
