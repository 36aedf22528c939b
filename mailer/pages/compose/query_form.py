"""The query as a form: which selectors it makes, and which ones it can show. Pure.

A form is what it asks of the users: some values of a field each, and since when they have been there. It makes a
selector of it, and reads back every selector of that kind. Others exist only as text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from mailer.audience.field_values import CUSTOM, Value
from mailer.errors import InvalidQuery
from mailer.selector import parse_query

ROLES, LANGUAGE, DOMAINS = "roles", "language", "domains"
ADDRESS, CREATED = "emails.address", "createdAt"
MOST_CHOSEN = 200  # values in the form: each is a box to tick, and a browser sends every one of them

_DOMAIN = re.compile(r"[^\s@\\()|\[\]{}?*+^$\"'<>/]{1,253}")
_DOMAINS = re.compile(r"@(?:\(\?:([^()]+)\)|([^()|]+))\$")
_MIDNIGHT = re.compile(r"(\d{4}-\d\d-\d\d)(?:T00:00:00(?:\.000)?Z)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class QueryForm:
    """Whom the form asks for. `chosen` has the values of each field, one of which a user must have.

    Users must meet all conditions or, with `any_of`, one of them. `since` is a date as ISO 8601, or empty.
    """

    chosen: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    since: str = ""
    any_of: bool = False

    def same_as(self, other: QueryForm) -> bool:
        """Whether both ask for the same users, in whatever order."""
        return bool(_key(self) == _key(other))


class NotReadable(ValueError):
    """What stands in `field` of the form can be asked for by no query: `value` is no domain, or no date."""

    def __init__(self, name: str, value: str) -> None:
        super().__init__(f"{name}: {value}")
        self.field = name
        self.value = value


def to_text(form: QueryForm) -> str:
    """The selector as JSON text; empty where the form asks for nothing, which is everybody.

    Raises `NotReadable` for a date or a domain that is none.
    """
    parts = list(_conditions(form))
    if not parts:
        return ""
    if form.any_of and len(parts) > 1:
        return json.dumps({"$or": parts}, ensure_ascii=False)
    return json.dumps({name: value for part in parts for name, value in part.items()}, ensure_ascii=False)


def from_text(text: str) -> QueryForm | None:
    """The form that makes a selector like this; None: there is none, or the text is no valid selector."""
    try:
        selector = parse_query(text.strip())
    except InvalidQuery:
        return None
    any_of = list(selector) == ["$or"]
    parts = selector["$or"] if any_of else [{name: value} for name, value in selector.items()]
    form = _read(parts)
    if form is None or (any_of and len(parts) < 2) or sum(map(len, form.chosen.values())) > MOST_CHOSEN:
        return None
    return QueryForm(form.chosen, form.since, any_of)


def reconciled(text: str, shown: str, form: QueryForm) -> str | None:
    """The query that somebody means who was shown the text `shown`, and sends `text` and `form`.

    Where only one of them was changed, that one counts. None: both were, and they do not say the same. Raises
    `NotReadable` as `to_text`.
    """
    text, before = text.strip(), from_text(shown) or QueryForm()
    if form.same_as(before):
        return text
    if text == shown.strip():
        return to_text(form)
    said = from_text(text)
    return text if said is not None and said.same_as(form) else None


def _conditions(form: QueryForm) -> Iterator[dict[str, Any]]:
    for name, values in form.chosen.items():
        if not values:
            continue
        if name == DOMAINS:
            yield {ADDRESS: {"$regex": _pattern(values), "$options": "i"}}
        else:
            yield {name: values[0] if len(values) == 1 else {"$in": list(values)}}
    if form.since:
        yield {CREATED: {"$gte": {"$date": f"{_date(form.since)}T00:00:00.000Z"}}}


def _pattern(domains: tuple[Value, ...]) -> str:
    for domain in map(str, domains):
        if not _DOMAIN.fullmatch(domain):
            raise NotReadable(DOMAINS, domain)
    escaped = [str(domain).lower().replace(".", r"\.") for domain in domains]
    return f"@{escaped[0]}$" if len(escaped) == 1 else f"@(?:{'|'.join(escaped)})$"


def _date(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise NotReadable(CREATED, text) from error


def _read(parts: list[Mapping[str, Any]]) -> QueryForm | None:
    """A form with a condition for each of `parts`; None where one of them is not of the form's kind."""
    chosen: dict[str, tuple[Value, ...]] = {}
    since = ""
    for part in parts:
        if len(part) != 1:
            return None
        [(name, condition)] = part.items()
        moment = _since(condition) if name == CREATED and not since else None
        values = _values(name, condition)
        key = DOMAINS if name == ADDRESS else name
        if moment is not None:
            since = moment
        elif values and key not in chosen:
            chosen[key] = values
        else:
            return None
    return QueryForm(chosen, since)


def _values(name: str, condition: Any) -> tuple[Value, ...]:
    """The values that a condition asks for; empty: it is not of the form's kind."""
    if name == ADDRESS:
        return _domains(condition)
    if name not in (ROLES, LANGUAGE) and not (name.startswith(CUSTOM) and name.count(".") == 1):
        return ()
    listed = condition["$in"] if isinstance(condition, dict) and list(condition) == ["$in"] else [condition]
    texts_only = name in (ROLES, LANGUAGE)
    fits = all(isinstance(value, str if texts_only else Value) for value in listed)
    return tuple(listed) if fits else ()


def _domains(condition: Any) -> tuple[Value, ...]:
    if not isinstance(condition, dict) or set(condition) != {"$regex", "$options"} or condition["$options"] != "i":
        return ()
    found = _DOMAINS.fullmatch(str(condition["$regex"]))
    domains = [part.replace(r"\.", ".") for part in (found[1] or found[2]).split("|")] if found else []
    made = all(_DOMAIN.fullmatch(domain) for domain in domains) and domains
    return tuple(domains) if made and _pattern(tuple(domains)) == condition["$regex"] else ()


def _since(condition: Any) -> str | None:
    moment = condition.get("$gte") if isinstance(condition, dict) and len(condition) == 1 else None
    written = moment.get("$date") if isinstance(moment, dict) else None
    found = _MIDNIGHT.fullmatch(written) if isinstance(written, str) else None
    return found[1] if found else None


def _key(form: QueryForm) -> Any:
    chosen = {name: sorted(map(json.dumps, values)) for name, values in form.chosen.items() if values}
    conditions = len(chosen) + bool(form.since)
    return chosen, form.since, form.any_of and conditions > 1
