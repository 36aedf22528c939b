"""Find probable mistakes in a valid campaign. Whoever sends it is shown them; none is a reason to refuse it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

from sqlalchemy import exists, select

from mailer.errors import QueryTimeout
from mailer.messages.placeholders import unknown_placeholders
from mailer.selector import compile_selector, fields_of
from mailer.storage.database import Database
from mailer.storage.models import User

MAX_OF_A_KIND = 10  # sentences about one kind of mistake; the rest is only counted
SAMPLED = 100  # users whose documents are read for the names of fields that may have been meant
QUOTED = '"{}"'
EMPTY = "There are no users yet; `mailer users import FILE` brings them in."

_FIELDS = ("_id", "username", "name", "emails.address", "emails.verified", "active", "type", "roles", "createdAt")
_DOCUMENTED = (*_FIELDS, "lastLogin", "status", "language", "customFields")
_LIKE = 0.7  # how similar a suggested name is at least: difflib's ratio, where 1 is equal


def about_placeholders(subject: str, body: str) -> tuple[str, ...]:
    """Return a sentence for each word in brackets that is no placeholder, with the most similar placeholder."""
    found = unknown_placeholders(subject, body)
    sentences = [f"[{word}] is no placeholder and goes out as it stands{_meant(near, '[{}]')}" for word, near in found]
    return _few(sentences, "words in brackets are no placeholders")


def about_directory(db: Database, query: Mapping[str, Any], *, limit: float | None = None) -> tuple[str, ...]:
    """Return a sentence if there are no users at all, otherwise one for each field in `query` that no user has.

    If looking for the fields takes more than `limit` seconds, nothing is said of them. Raises `InvalidQuery`.
    """
    if not _any_user(db):
        return (EMPTY,)
    unknown: tuple[str, ...] = ()
    with suppress(QueryTimeout):
        unknown = fields_that_nobody_has(db, query, limit=limit)
    known = _fields_in_use(db) if unknown else set()
    return tuple(f'No user has the field "{name}"{_meant(_nearest(name, known), QUOTED)}' for name in unknown)


def fields_that_nobody_has(db: Database, query: Mapping[str, Any], *, limit: float | None = None) -> tuple[str, ...]:
    """Return those of the first `MAX_OF_A_KIND` fields in `query` that no user has, be they in an audience or not.

    Raises `InvalidQuery`, and `QueryTimeout` after `limit` seconds.
    """
    names = fields_of(query)[:MAX_OF_A_KIND]
    if not names:
        return ()
    had = [exists(select(User.id).where(compile_selector({name: {"$exists": True}}))) for name in names]
    with db.read(limit=limit) as connection:
        found = connection.execute(select(*had)).one()
    return tuple(name for name, one in zip(names, found, strict=True) if not one)


def _any_user(db: Database) -> bool:
    with db.read() as connection:
        return bool(connection.execute(select(exists(select(User.id)))).scalar())


def _fields_in_use(db: Database) -> set[str]:
    """The dotted names of fields in the documents of `SAMPLED` users, and those that the documentation names."""
    some = select(User.document).order_by(User.id).limit(SAMPLED)
    with db.read() as connection:
        return {*_DOCUMENTED, *(name for document in connection.scalars(some) for name in _names(document, ""))}


def _names(value: Any, before: str) -> Iterator[str]:
    """Yield the dotted names of all fields in a JSON value; `before` is the prefix of its own name."""
    for one in value if isinstance(value, list) else [value]:
        for name, inner in one.items() if isinstance(one, dict) else ():
            if not name.startswith("$"):
                yield f"{before}{name}"
                yield from _names(inner, f"{before}{name}.")


def _nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most similar; None if none is similar. A field that contains `name` is not suggested."""
    others = {other for other in known if not name.startswith(f"{other}.")}
    return next(iter(get_close_matches(name, sorted(others), 1, _LIKE)), None)


def _meant(nearest: str | None, form: str) -> str:
    return "; did you mean " + form.format(nearest) + "?" if nearest else "."


def _few(sentences: Sequence[str], rest: str) -> tuple[str, ...]:
    more = len(sentences) - MAX_OF_A_KIND
    return tuple(sentences) if more <= 0 else (*sentences[:MAX_OF_A_KIND], f"{more} more {rest}.")
