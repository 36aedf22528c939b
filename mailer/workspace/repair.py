"""A workspace's user with something wrong in them: what can be taken of them all the same. Pure.

A field that nobody is chosen by is dropped. One that decides who is written to must not be lost silently, since a query
may exclude by it: with such a field wrong, the user loses their addresses and is written to by nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, NamedTuple

from mailer.directory.documents import normalise
from mailer.errors import InvalidRow

DECISIVE = frozenset({"emails", "active", "type", "roles", "customFields", "mailer"})
MAX_REPAIRS = 50  # fields of one user


class Repaired(NamedTuple):
    """The document to store, None: the user must be skipped; and what was wrong: fields and reasons, without values."""

    document: dict[str, Any] | None
    problems: list[tuple[str, str]]


def repair(user: object, row: int) -> Repaired:
    """The user as they can be stored. One without a usable `_id` is skipped."""
    problems: list[tuple[str, str]] = []
    left = user
    for _ in range(MAX_REPAIRS):
        try:
            return Repaired(normalise(left, row).document, problems)
        except InvalidRow as invalid:
            field = str(invalid.details["field"])
            problems.append((field, invalid.problem))
            left = _without(left, field)
        if left is None:
            break
    return Repaired(None, problems)


def _without(user: object, field: str) -> object:
    """`user` without what is wrong in `field`, or with nothing but the id where it cannot be taken out."""
    if not isinstance(user, Mapping) or field == "_id":
        return None
    root = next((name for name in user if field == name or field.startswith(f"{name}.")), None)
    if root is None:
        return {"_id": user.get("_id"), "emails": []} if user.keys() > {"_id", "emails"} else None
    left = dict(user)
    path = field.split(".")[1:]
    if root == "emails" and path and isinstance(left["emails"], list) and _mend(left, path):
        return left
    del left[root]
    if root in DECISIVE:
        left["emails"] = []
    if root == "active":
        left["active"] = False
    return left


def _mend(user: dict[str, Any], path: list[str]) -> bool:
    """Drop a wrong `verified`, or an address that is not the one written to; False: it is the first address."""
    emails = deepcopy(user["emails"])
    place = int(path[0])
    if path[1:] == ["verified"]:
        del emails[place]["verified"]
    elif place:
        del emails[place]
    else:
        return False
    user["emails"] = emails
    return True
