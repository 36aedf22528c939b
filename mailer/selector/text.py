"""The `query` of the POST: a JSON text that must hold one acceptable selector."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from mailer.errors import InvalidQuery
from mailer.selector.limits import MAX_TEXT
from mailer.selector.syntax import parse_selector


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


def _load(text: str) -> dict[str, Any]:
    try:
        query = json.loads(text, object_pairs_hook=_without_repetition, parse_constant=_refuse_constant)
    except ValueError as error:
        raise InvalidQuery("The query is not JSON.") from error
    except RecursionError as error:
        raise InvalidQuery("The query is nested too deeply.") from error
    if not isinstance(query, dict):
        raise InvalidQuery("The query must be a JSON object.")
    return query


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, value in pairs:
        if key in members:
            raise InvalidQuery(f"The query has {json.dumps(key)} twice in one object.", name=key)
        members[key] = value
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidQuery(f"The query holds {name}, which is not JSON.", name=name)
