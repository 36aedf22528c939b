"""Repairs a malformed user of a workspace, so that one wrong field does not stop the sync. Pure.

A wrong field is dropped. But a query may exclude users by some fields, the `DECISIVE` ones: a user who lacks one could
be written to by mistake. So if such a field is wrong, the user loses their addresses as well, and nobody writes to
them.
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
    """The document to store (None: the user must be skipped), and what was wrong: fields and reasons, but no values."""

    document: dict[str, Any] | None
    problems: list[tuple[str, str]]


def repair(user: object, row: int) -> Repaired:
    """The user as they can be stored. A user without a usable `_id` is skipped. `row` is for the errors."""
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
    """`user` without what is wrong in `field`, or the id alone if that cannot be taken out; None: skip the user."""
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
    """Drop a wrong `verified`, or a wrong address that is not the first; False: it is the first, written to."""
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
