"""What a file says of its users joined with what the directory knows of them, some hundred users at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import compress
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Text, bindparam, cast, select

from mailer.directory.changes import Mode, TableRow, address_of, combined, derived_id
from mailer.directory.documents import UserRow, normalise
from mailer.directory.merge_patch import difference, merged
from mailer.errors import InvalidRow
from mailer.storage.database import AnyRow, Database
from mailer.storage.models import User, comparable_address

AT_ONCE = 200  # users looked up together
Given = tuple[int, object]  # a row, and a document or `TableRow`

_COLUMNS = [getattr(User, name) for name in UserRow._fields[:-1]]
_KNOWN = select(*_COLUMNS, cast(User.document, Text).label("text")).where(User.id.in_(bindparam("ids", expanding=True)))


class MergedUser(NamedTuple):
    """A user as they shall be, ready to be staged."""

    columns: tuple[Any, ...]  # of `UserRow`, without the document
    text: str  # the document
    known: str | None  # the document that `text` was made from, as it stood in the directory; None: nobody, or `same`
    same: bool  # it stood there as `text`
    depends: bool  # on what is known: made anew if that has changed meanwhile
    keyed: bool  # named by an id, and not found by username or address
    row: int


class UserMatcher:
    """Joins documents with the directory as it is now, by reading only."""

    def __init__(self, db: Database, mode: Mode) -> None:
        self._db = db
        self._mode = mode
        with db.read() as connection:
            self._nobody = connection.execute(select(User.id).limit(1)).one_or_none() is None

    def join(self, documents: Iterable[Given]) -> Iterator[MergedUser]:
        """Each as it shall be. Raises `InvalidRow` for the first one that cannot be stored or is nobody's."""
        return self._with_nobody(documents) if self._nobody else self._with_known(documents)

    def _with_nobody(self, documents: Iterable[Given]) -> Iterator[MergedUser]:
        for row, given in documents:
            yield _joined((row, given), _id(row, given, {}, {}), None, self._depends(given), self._mode)

    def _with_known(self, documents: Iterable[Given]) -> Iterator[MergedUser]:
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
            addresses = self._found(comparable_address(), {address_of(given) for given in unnamed} - {""})
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
            return {row[0]: row for row in connection.execute(_KNOWN, {"ids": wanted}).all()}


def encode(document: object) -> str:
    """The JSON text of a document that has been checked. Raises TypeError for what has not and cannot be written."""
    return orjson.dumps(document).decode()


def rejoined(document: str, known: str | None, now: str, mode: Mode) -> UserRow:
    """`document`, made from what was `known`, as it is when made from what is known `now`: JSON texts."""
    wanted, current = orjson.loads(document), orjson.loads(now)
    if mode is Mode.REPLACE:
        return normalise({**wanted, "active": current["active"]}, 0)
    if known is None:  # came while the file was read, perhaps inactive
        wanted["active"] = wanted["active"] and current["active"]
        return normalise(merged(current, wanted), 0)
    return normalise(merged(current, difference(orjson.loads(known), wanted)), 0)


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


def _joined(given: Given, user_id: str, known: AnyRow | None, depends: bool, mode: Mode) -> MergedUser:
    row, document = given
    keyed = "_id" in _fields(document)
    if known is not None and _is_written(document, known.text, mode):
        return MergedUser(known[:-1], known.text, None, True, depends, keyed, row)
    before = None if known is None else orjson.loads(known.text)
    after = combined(before, document, mode)
    if isinstance(after, dict) and not keyed and user_id:
        after["_id"] = user_id
    if known is not None and isinstance(before, dict) and _same(after, before):
        return MergedUser(known[:-1], known.text, None, True, depends, keyed, row)
    user = normalise(after, row, before or {})
    return MergedUser(user[:-1], encode(user.document), known.text if known else None, False, depends, keyed, row)


def _is_written(given: object, text: str, mode: Mode) -> bool:
    """Whether `given` is, letter for letter, the document that is known: most of a list that is brought again.

    A null that is merged removes its field, so what has one is looked at closely.
    """
    return isinstance(given, dict) and _written(given) == text and (mode is Mode.REPLACE or "null" not in text)


def _same(after: object, before: dict[str, Any]) -> bool:
    """Whether they are the same JSON, in which true is not 1 as in Python."""
    return after == before and _written(after) == encode(before)


def _written(document: object) -> str | None:
    """The JSON text of a document that may not have been checked; None: it has something that no text can hold."""
    try:
        return encode(document)
    except TypeError:
        return None


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
