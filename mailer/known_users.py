"""What a file says of its users joined with what the directory knows of them, some hundred users at a time."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Text, cast, func, select

from mailer.changes import Mode, TableRow, address_of, combined, derived_id, difference, merged
from mailer.database import Database
from mailer.documents import UserRow, normalise
from mailer.errors import InvalidRow
from mailer.models import User

CHUNK = 500  # users
Given = tuple[int, object]  # a row, and a document or `TableRow`

encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


class Joined(NamedTuple):
    """A user as they shall be, ready to be staged."""

    user: UserRow
    text: str  # the document
    known: str | None  # the document that `user` was made from, as it stood in the directory; None: nobody
    depends: bool  # on what is known: made anew if that has changed meanwhile
    keyed: bool  # named by an id, and not found by username or address
    row: int


class Joiner:
    """Joins documents with the directory as it is now, by reading only."""

    def __init__(self, db: Database, mode: Mode) -> None:
        self._db = db
        self._mode = mode
        with db.read() as connection:
            self._nobody = connection.execute(select(User.id).limit(1)).one_or_none() is None

    def join(self, documents: Iterable[Given]) -> Iterator[Joined]:
        """Each as it shall be. Raises `InvalidRow` for the first one that cannot be stored or is nobody's."""
        for chunk in _chunks(documents):
            ids = self._ids(chunk)
            depends = [self._depends(given) for _, given in chunk]
            known = self._known({user_id for user_id, needed in zip(ids, depends, strict=True) if needed})
            for (row, given), user_id, needed in zip(chunk, ids, depends, strict=True):
                text = known.get(user_id)
                yield _joined(row, given, user_id, text, needed, self._mode)

    def _depends(self, given: object) -> bool:
        """Whether what is stored depends on what is known."""
        return self._mode is Mode.MERGE or "active" not in _fields(given)

    def _ids(self, chunk: Sequence[Given]) -> list[str]:
        """Whose each is: as it says, or else by username, by address, or a new user's; "" where it cannot be told."""
        unnamed = [given for _, given in chunk if "_id" not in _fields(given)]
        usernames = self._found(User.username, {_username(given) for given in unnamed} - {""})
        addresses = self._found(func.lower(User.email), {address_of(given) or "" for given in unnamed} - {""})
        return [_id(row, given, usernames, addresses) for row, given in chunk]

    def _found(self, column: Any, values: Collection[str]) -> dict[str, str]:
        """The user with each value: of several an active one, and the first by id."""
        if not values or self._nobody:
            return {}
        query = select(column, User.id).where(column.in_(values)).order_by(User.active, User.id.desc())
        with self._db.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def _known(self, ids: Collection[str]) -> dict[str, str]:
        if not ids or self._nobody:
            return {}
        query = select(User.id, cast(User.document, Text)).where(User.id.in_(ids))
        with self._db.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}


def rejoined(document: str, known: str | None, now: str, mode: Mode) -> UserRow:
    """`document`, made from what was `known`, as it is when made from what is known `now`: JSON texts."""
    wanted, current = json.loads(document), json.loads(now)
    if mode is Mode.REPLACE:
        return normalise({**wanted, "active": current["active"]}, 0)
    if known is None:  # came while the file was read, perhaps inactive
        wanted["active"] = wanted["active"] and current["active"]
        return normalise(merged(current, wanted), 0)
    return normalise(merged(current, difference(json.loads(known), wanted)), 0)


def _chunks(documents: Iterable[Given]) -> Iterator[list[Given]]:
    """A document that cannot be read is told of after those before it have been looked at."""
    chunk: list[Given] = []
    try:
        for given in documents:
            chunk.append(given)
            if len(chunk) == CHUNK:
                yield chunk
                chunk = []
    except InvalidRow:
        yield chunk
        raise
    yield chunk


def _joined(row: int, given: object, user_id: str, text: str | None, depends: bool, mode: Mode) -> Joined:
    known = None if text is None else json.loads(text)
    document = combined(known, given, mode)
    if isinstance(document, dict) and "_id" not in _fields(given) and user_id:
        document["_id"] = user_id
    user = normalise(document, row)
    same = text is not None and user.document == known
    return Joined(user, text if same and text else encode(user.document), text, depends, "_id" in _fields(given), row)


def _fields(given: object) -> Mapping[str, Any]:
    fields = given.fields if isinstance(given, TableRow) else given
    return fields if isinstance(fields, Mapping) else {}


def _username(given: object) -> str:
    username = _fields(given).get("username")
    return username if isinstance(username, str) else ""


def _id(row: int, given: object, usernames: Mapping[str, str], addresses: Mapping[str, str]) -> str:
    fields = _fields(given)
    if "_id" in fields:
        return fields["_id"] if isinstance(fields["_id"], str) else ""
    found = usernames.get(_username(given))
    address = address_of(given)
    if found or (address is None and not isinstance(given, TableRow) and not fields.get("emails")):
        return found or ""  # a document without anything to know them by lacks its id
    if address is None:
        raise InvalidRow(row, "_id", "is missing, and there is neither a valid address nor a known username")
    return addresses.get(address) or derived_id(address)
