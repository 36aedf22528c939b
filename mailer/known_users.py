"""What a file says of its users joined with what the directory knows of them, some hundred users at a time."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import compress
from typing import Any, NamedTuple

from sqlalchemy import Text, bindparam, cast, func, select

from mailer.changes import Mode, TableRow, address_of, combined, derived_id, difference, merged
from mailer.database import AnyRow, Database
from mailer.documents import UserRow, normalise
from mailer.errors import InvalidRow
from mailer.models import User

AT_ONCE = 200  # users looked up together
Given = tuple[int, object]  # a row, and a document or `TableRow`

_COLUMNS = [getattr(User, name) for name in UserRow._fields[:-1]]
_KNOWN = select(*_COLUMNS, cast(User.document, Text).label("text")).where(User.id.in_(bindparam("ids", expanding=True)))

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
        return self._with_nobody(documents) if self._nobody else self._with_known(documents)

    def _with_nobody(self, documents: Iterable[Given]) -> Iterator[Joined]:
        for row, given in documents:
            yield _joined((row, given), _id(row, given, {}, {}), None, self._depends(given), self._mode)

    def _with_known(self, documents: Iterable[Given]) -> Iterator[Joined]:
        for chunk in _chunks(documents):
            ids = self._ids(chunk)
            depends = [self._depends(given) for _, given in chunk]
            known = self._known(compress(ids, depends))
            for given, user_id, needed in zip(chunk, ids, depends, strict=True):
                yield _joined(given, user_id, known.get(user_id), needed, self._mode)

    def _depends(self, given: object) -> bool:
        """Whether what is stored depends on what is known."""
        return self._mode is Mode.MERGE or "active" not in _fields(given)

    def _ids(self, chunk: Sequence[Given]) -> list[str]:
        """Whose each is: as it says, or else by username, by address, or a new user's; "" where it cannot be told."""
        unnamed = [given for _, given in chunk if "_id" not in _fields(given)]
        usernames: Mapping[str, str] = {}
        addresses: Mapping[str, str] = {}
        if unnamed:
            usernames = self._found(User.username, {_username(given) for given in unnamed} - {""})
            addresses = self._found(func.lower(User.email), {address_of(given) for given in unnamed} - {""})
        return [_id(row, given, usernames, addresses) for row, given in chunk]

    def _found(self, column: Any, values: Collection[str]) -> dict[str, str]:
        """The user with each value: of several an active one, and the first by id."""
        if not values:
            return {}
        query = select(column, User.id).where(column.in_(values)).order_by(User.active, User.id.desc())
        with self._db.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def _known(self, ids: Iterable[str]) -> dict[str, AnyRow]:
        wanted = list(ids)
        if not wanted:
            return {}
        with self._db.read() as connection:
            return {row[0]: row for row in connection.execute(_KNOWN, {"ids": wanted})}


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
            if len(chunk) == AT_ONCE:
                yield chunk
                chunk = []
    except InvalidRow:
        yield chunk
        raise
    yield chunk


def _joined(given: Given, user_id: str, known: AnyRow | None, depends: bool, mode: Mode) -> Joined:
    row, document = given
    before = None if known is None else json.loads(known.text)
    keyed = "_id" in _fields(document)
    after = combined(before, document, mode)
    if isinstance(after, dict) and not keyed and user_id:
        after["_id"] = user_id
    if known is not None and isinstance(before, dict) and _same(after, before, known.text):
        return Joined(UserRow._make((*known[:-1], before)), known.text, known.text, depends, keyed, row)
    user = normalise(after, row)
    return Joined(user, encode(user.document), known.text if known else None, depends, keyed, row)


def _same(after: object, before: dict[str, Any], text: str) -> bool:
    """Whether they are the same JSON, in which true is not 1 as in Python; `text` is how `before` is written."""
    if after != before:
        return False
    written = encode(after)
    return written == text or written == encode(before)


def _fields(given: object) -> dict[str, Any]:
    fields = given.fields if isinstance(given, TableRow) else given
    return fields if isinstance(fields, dict) else {}


def _username(given: object) -> str:
    username = _fields(given).get("username")
    return username if isinstance(username, str) else ""


def _id(row: int, given: object, usernames: Mapping[str, str], addresses: Mapping[str, str]) -> str:
    fields = _fields(given)
    if "_id" in fields:
        return fields["_id"] if isinstance(fields["_id"], str) else ""
    found = usernames.get(_username(given))
    address = address_of(given)
    if found or (not address and not isinstance(given, TableRow)):
        return found or ""  # a document without anything to know them by lacks its id
    if not address:
        raise InvalidRow(row, "_id", "is missing, and there is neither an address nor a known username")
    return addresses.get(address) or derived_id(address)
