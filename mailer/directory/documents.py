"""One user document made ready to be stored: types checked, dates in one form, secrets removed. Pure.

The shape is Rocket.Chat's: `_id`, `username`, `name`, `emails: [{address, verified}]`, `active`, `type`, `roles`,
`createdAt`, `status`, `language`, `customFields` and whatever else the source has. Every date is stored as
`{"$date": <milliseconds>}`, so that a selector has one form to compare with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import isfinite
from typing import Any, NamedTuple

from mailer.directory.secret_fields import SECRET_ROOTS, is_secret
from mailer.errors import InvalidRow
from mailer.files.cells import plain_address
from mailer.files.ejson import MAX_INTEGER, NOT_A_NUMBER, canonical_date, from_extended
from mailer.messages.addresses import envelope_address
from mailer.messages.recipient import user_digest
from mailer.text import NUL, is_one_line, is_storable

MAX_DEPTH = 32
MAX_INDEXED = 255  # characters of _id, username and roles: PostgreSQL takes no index entry over 2,704 bytes
SERVICE_PREFIX = "service:"  # how the ids of callers begin that are programs: no user's id does
DATES = ("createdAt", "lastLogin", "_updatedAt")

NOT_UNICODE = "is not valid Unicode; in a file, it is in neither UTF-8 nor Windows-1252"

_NOTHING: Mapping[str, Any] = {}
_SIMPLE = frozenset({bool, type(None)})  # their values can be stored; so can a text that is printable


class UserRow(NamedTuple):
    """The columns of `models.User` that come from outside, in its order; `unsubscribed_at` is not among them."""

    id: str
    username: str | None
    name: str  # falls back to the username, then to ""
    email: str | None  # the first address in its envelope form; None: no valid one
    active: bool
    created_at: int | None  # milliseconds
    digest: str | None  # None: as older code has stored it
    roles: str | None  # see `role_lines`
    document: dict[str, Any]


class _RefusedError(Exception):
    """A problem somewhere in a document. Each level that it passes on its way out puts its own key before the path."""

    def __init__(self, problem: str, *path: str) -> None:
        self.problem = problem
        self.path = list(path)


def normalise(document: object, row: int, stored: Mapping[str, Any] = _NOTHING) -> UserRow:
    """The row to store for `document`, which is not changed. Raises `InvalidRow`, which names `row` and the field.

    `stored` is a document from the directory. What `document` shares with it was checked before and is not checked
    again.
    """
    try:
        return _row(document, stored)
    except _RefusedError as refused:
        raise InvalidRow(row, ".".join(refused.path) or "document", refused.problem) from None


def role_lines(roles: Sequence[str] | None) -> str | None:
    """The roles as one text that can be indexed, each between line ends, so that a role is found as a line of the text.

    None if that is not possible: it would be too long for an index, or a role has a line end in it.
    """
    if not roles:
        return ""
    lines = "\n".join(("", *roles, ""))
    return lines if len(lines) <= MAX_INDEXED and lines.count("\n") == len(roles) + 1 else None


def _row(document: object, stored: Mapping[str, Any]) -> UserRow:
    if not isinstance(document, dict):
        raise _RefusedError("must be an object")
    if not SECRET_ROOTS.isdisjoint(document):
        document = {key: value for key, value in document.items() if key not in SECRET_ROOTS}
    clean = _clean_object(document, MAX_DEPTH, stored)
    if not isinstance(clean, dict):
        raise _RefusedError("must be an object")
    _check_fields(clean)
    _settle_emails(clean.get("emails"))
    for field in DATES:
        if clean.get(field) is not None:
            clean[field] = _date(clean[field], field)
    clean.setdefault("active", True)
    created = clean.get("createdAt")
    username = clean.get("username")
    return UserRow(
        id=clean["_id"],
        username=username,
        name=(clean.get("name") or "").strip() or username or "",
        email=_first_address(clean.get("emails")),
        active=clean["active"],
        created_at=created["$date"] if created else None,
        digest=user_digest(clean["_id"]),
        roles=role_lines(clean.get("roles")),
        document=clean,
    )


def _clean(value: object, depth: int) -> Any:
    if isinstance(value, dict):
        return _clean_object(value, depth)
    if isinstance(value, list):
        return _clean_list(value, depth)
    if isinstance(value, str):
        return _clean_text(value)
    return _clean_number(value)


def _clean_text(value: str) -> str:
    if not is_storable(value):
        raise _RefusedError("has a NUL character" if NUL in value else NOT_UNICODE)
    return value


def _clean_number(value: object) -> bool | float | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and -MAX_INTEGER - 1 <= value <= MAX_INTEGER:
        return value
    if isinstance(value, float) and isfinite(value):
        return value
    raise _RefusedError(NOT_A_NUMBER)


def _clean_list(values: list[Any], depth: int) -> list[Any]:
    if not depth:
        raise _RefusedError(f"is nested deeper than {MAX_DEPTH} levels")
    cleaned: list[Any] = []
    for index, value in enumerate(values):
        kind = value.__class__
        if kind in _SIMPLE or (kind is str and value.isprintable()):
            cleaned.append(value)
            continue
        try:
            cleaned.append(_clean(value, depth - 1))
        except _RefusedError as refused:
            refused.path.insert(0, str(index))
            raise
    return cleaned


def _clean_object(values: Mapping[Any, Any], depth: int, stored: Mapping[str, Any] = _NOTHING) -> Any:
    if not depth:
        raise _RefusedError(f"is nested deeper than {MAX_DEPTH} levels")
    cleaned: dict[str, Any] = {}
    for key, value in values.items():
        if not _is_kept(key):
            continue
        kind = value.__class__
        if kind in _SIMPLE or (kind is str and value.isprintable()):
            cleaned[key] = value
            continue
        if stored and key != "emails" and value is stored.get(key):  # addresses are settled in place
            cleaned[key] = value
            continue
        try:
            cleaned[key] = _clean(value, depth - 1)
        except _RefusedError as refused:
            refused.path.insert(0, key)
            raise
    if len(cleaned) != 1:
        return cleaned
    try:
        return from_extended(cleaned)
    except ValueError as error:
        raise _RefusedError(str(error)) from None


@lru_cache(maxsize=4096)
def _is_kept(key: object) -> bool:
    """Whether the field `key` is stored, which a secret is not."""
    if not isinstance(key, str) or not is_storable(key):
        raise _RefusedError("has a field name that is not valid Unicode text")
    return not is_secret(key)


def _date(value: object, field: str) -> object:
    if isinstance(value, dict) and len(value) == 1 and "$date" in value:
        return value
    try:
        return canonical_date(value)
    except ValueError as error:
        raise _RefusedError(str(error), field) from None


_FIELD_TYPES: dict[str, type] = {
    "username": str,
    "name": str,
    "type": str,
    "status": str,
    "statusText": str,
    "language": str,
    "emails": list,
    "roles": list,
    "customFields": dict,
    "mailer": dict,
}
_PROBLEMS: dict[type, str] = {str: "must be a string", list: "must be a list", dict: "must be an object"}


def _check_fields(document: dict[str, Any]) -> None:
    _check_id(document.get("_id"))
    for field, kind in _FIELD_TYPES.items():
        value = document.get(field)
        if value is not None and value.__class__ is not kind and not isinstance(value, kind):
            raise _RefusedError(_PROBLEMS[kind], field)
    if not isinstance(document.get("active", True), bool):
        raise _RefusedError("must be true or false", "active")
    mark = (document.get("mailer") or {}).get("unsubscribed")
    if mark is not None and not isinstance(mark, bool):
        raise _RefusedError("must be true or false", "mailer", "unsubscribed")
    if len(document.get("username") or "") > MAX_INDEXED:
        raise _RefusedError(f"is longer than {MAX_INDEXED} characters", "username")
    for index, role in enumerate(document.get("roles") or ()):
        if not isinstance(role, str):
            raise _RefusedError("must be a string", "roles", str(index))


def _check_id(value: object) -> None:
    if not isinstance(value, str) or not value:
        raise _RefusedError("must be a string that is not empty", "_id")
    if len(value) > MAX_INDEXED or not is_one_line(value):
        raise _RefusedError(f"is longer than {MAX_INDEXED} characters or has a control character", "_id")
    if value.startswith(SERVICE_PREFIX):
        raise _RefusedError(f"begins with {SERVICE_PREFIX}, as only the ids of services do", "_id")


def _settle_emails(emails: list[Any] | None) -> None:
    for index, email in enumerate(emails or ()):
        address = email.get("address") if isinstance(email, dict) else None
        if not isinstance(address, str):
            raise _RefusedError("must be an object with an address", "emails", str(index))
        if not isinstance(email.get("verified", False), bool):
            raise _RefusedError("must be true or false", "emails", str(index), "verified")
        email["address"] = plain_address(address)


def _first_address(emails: list[Any] | None) -> str | None:
    return envelope_address(emails[0]["address"]) if emails else None
