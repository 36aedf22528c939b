"""The `query` of the POST: a JSON text that must hold one acceptable selector, and which fields it names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mailer.errors import InvalidQuery
from mailer.files import strict_json
from mailer.selector.limits import MAX_TEXT
from mailer.selector.syntax import parse_selector
from mailer.selector.tree import And, ElemMatch, Field, Node, Not, Or


def parse_query(text: str | None) -> dict[str, Any]:
    """The selector in a JSON text, `{}` for None and "". Whatever `compile_selector` would refuse is refused here.

    Raises InvalidQuery, which names what was refused.
    """
    if not text:
        return {}
    if len(text) > MAX_TEXT:
        raise InvalidQuery(f"The query is longer than {MAX_TEXT} characters.")
    query = _load(text)
    parse_selector(query)
    return query


def fields_of(query: Mapping[str, Any]) -> tuple[str, ...]:
    """The dotted names as the database is asked for them, each once; under $elemMatch with the array's name before it.

    Raises `InvalidQuery`.
    """
    return tuple(dict.fromkeys(".".join(path) for path in _paths(parse_selector(query), ())))


def _load(text: str) -> dict[str, Any]:
    try:
        query = strict_json.loads(text)
    except strict_json.RepeatedName as error:
        name = json.dumps(error.name)
        raise InvalidQuery(f"The query has {name} twice in one object.", name=error.name) from None
    except strict_json.NotFinite as error:
        raise InvalidQuery(f"The query holds {error.name}, which is not JSON.", name=error.name) from None
    except ValueError as error:
        raise InvalidQuery("The query is not JSON.") from error
    except RecursionError as error:
        raise InvalidQuery("The query is nested too deeply.") from error
    if not isinstance(query, dict):
        raise InvalidQuery("The query must be a JSON object.")
    return query


def _paths(node: Node, before: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    match node:
        case And(parts) | Or(parts):
            for part in parts:
                yield from _paths(part, before)
        case Not(part):
            yield from _paths(part, before)
        case Field(path, ElemMatch(condition, embedded=True)):
            yield before + path
            yield from _paths(condition, before + path)
        case Field(path, ElemMatch(condition)):
            yield before + path
        case Field(path):
            yield before + path
