"""Which roles, languages, domains and custom fields the users have, and how many have each: for whoever makes a query.

In a large directory they are estimated from some thousand users, wherever these stand, so that no request goes through
all of them. What is known is kept for some minutes.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, select, tablesample, text
from sqlalchemy.orm import aliased

from mailer.audience.conditions import subscribed
from mailer.errors import InvalidQuery
from mailer.selector.paths import split_path
from mailer.storage.database import AnyRow, Database
from mailer.storage.dialects import is_postgresql
from mailer.storage.models import User

LOOKED_AT = 2000  # users; a directory that has no more is counted exactly
SECONDS = 300  # for which what was found is kept
MOST_VALUES = 20  # of a field: the most frequent ones
MOST_FIELDS = 20
LONGEST = 100  # characters of a value or a name that is shown
CUSTOM = "customFields."

Value = str | int | float | bool
Counted = tuple[tuple[Value, int], ...]
"""Values, each with how many users have it; the most frequent first."""

_Kept = tuple[bool, Value]
"""A value beside whether it is a boolean: Python takes True for 1, and a query does not."""


@dataclass(frozen=True, slots=True)
class FieldValues:
    """What those users have who may be written to. Without `exact` the counts are estimates."""

    roles: Counted
    languages: Counted
    domains: Counted
    custom_fields: Mapping[str, Counted]
    exact: bool


class KnownFieldValues:
    """The field values of a database, looked at again when they are older than `SECONDS`. Threads may share it."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._lock = threading.Lock()
        self._found: tuple[float, FieldValues] | None = None

    def now(self) -> FieldValues:
        """What is known; the first caller after it has become old waits for what is found now."""
        with self._lock:
            if self._found is None or time.monotonic() - self._found[0] > SECONDS:
                self._found = time.monotonic(), field_values(self._db)
            return self._found[1]


def field_values(db: Database) -> FieldValues:
    """Look at the users now."""
    everybody = select(User.email, User.document).where(subscribed()).order_by(User.id).limit(LOOKED_AT)
    with db.read() as connection:
        total = connection.scalar(select(func.count()).select_from(User).where(subscribed())) or 0
        if total <= LOOKED_AT:
            return _counted(connection.execute(everybody).all(), 1.0, exact=True)
        some = connection.execute(_some(connection, total)).all() or connection.execute(everybody).all()
    return _counted(some, total / len(some), exact=False)


def _some(connection: Connection, total: int) -> Select[*tuple[Any, ...]]:
    """At most about `LOOKED_AT` users from all over the table, found without reading all of it."""
    if is_postgresql(connection):
        sampled = aliased(User, tablesample(User, func.system(min(100.0, 100.0 * LOOKED_AT / total))))
        return select(sampled.email, sampled.document).where(subscribed(sampled))
    last = connection.scalar(select(func.max(text("rowid"))).select_from(User)) or 0
    numbers = random.sample(range(1, last + 1), min(LOOKED_AT, last))
    chosen = text("users.rowid IN (SELECT value FROM json_each(:numbers))").bindparams(numbers=json.dumps(numbers))
    return select(User.email, User.document).where(chosen, subscribed())


def _counted(users: Sequence[AnyRow], each: float, *, exact: bool) -> FieldValues:
    """Count the values of these users, every one of whom stands for `each` users."""
    fields: defaultdict[str, Counter[_Kept]] = defaultdict(Counter)
    for email, document in users:
        fields["domains"][False, str(email).rpartition("@")[2].lower()] += 1
        for field, value in _values(document):
            fields[field][isinstance(value, bool), value] += 1
    most = {field: _most(counts, each) for field, counts in fields.items()}
    usual = {field: most.pop(field, ()) for field in ("roles", "language", "domains")}
    custom = sorted(most.items(), key=lambda item: -sum(count for _, count in item[1]))[:MOST_FIELDS]
    return FieldValues(usual["roles"], usual["language"], usual["domains"], dict(sorted(custom)), exact)


def _values(document: Mapping[str, Any]) -> Iterator[tuple[str, Value]]:
    """The fields of one user that can be asked for, each with a value; of a list, each of its values."""
    roles, custom = document.get("roles"), document.get("customFields")
    for role in set(filter(_is_short, roles)) if isinstance(roles, list) else ():
        yield "roles", role
    if _is_short(document.get("language")):
        yield "language", document["language"]
    for name, value in custom.items() if isinstance(custom, dict) else ():
        listed = value if isinstance(value, list) else [value]
        different = {(isinstance(one, bool), one): one for one in filter(_is_value, listed)}
        if different and _may_be_asked(name):
            yield from ((f"{CUSTOM}{name}", one) for one in different.values())


def _is_short(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST


def _is_value(value: object) -> bool:
    return _is_short(value) or isinstance(value, bool | int | float)


def _may_be_asked(name: str) -> bool:
    """Whether a selector may name the custom field: no credential, and no dot, which would mean another field."""
    try:
        return len(name) <= LONGEST and len(split_path(CUSTOM + name, root=True)) == 2
    except InvalidQuery:
        return False


def _most(counts: Counter[_Kept], each: float) -> Counted:
    """The most frequent values, those that are equally frequent in the order of their names."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], str(item[0][1])))
    return tuple((value, _rounded(count * each) if each != 1 else count) for (_, value), count in ordered[:MOST_VALUES])


def _rounded(estimate: float) -> int:
    """With two digits that say something."""
    return int(float(f"{estimate:.2g}"))
