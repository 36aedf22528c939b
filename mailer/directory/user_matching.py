"""The users of a file matched with those of the directory, and combined with what is stored about them.

A user is found by id, else by username, else by address. Some hundred users are looked up together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import compress
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Text, bindparam, cast, select

from mailer.directory.changes import Mode, TableRow, address_of, addresses_in, combined, derived_id, old_derived_id
from mailer.directory.documents import UserRow, normalise
from mailer.directory.merge_patch import difference, merged
from mailer.errors import InvalidRow
from mailer.messages.addresses import comparable
from mailer.storage.database import AnyRow, Database
from mailer.storage.erased.key import Of, digest, key_of
from mailer.storage.models import User, comparable_address

AT_ONCE = 200  # users looked up together
NumberedDocument = tuple[int, object]  # the number of a row, and a document or `TableRow`, unchecked

_COLUMNS = [getattr(User, name) for name in UserRow._fields[:-1]]
_KNOWN = select(*_COLUMNS, cast(User.document, Text).label("text")).where(User.id.in_(bindparam("ids", expanding=True)))


class MergedUser(NamedTuple):
    """A user as they will be stored, ready to be staged."""

    columns: tuple[Any, ...]  # of `UserRow`, without the document
    text: str  # the document
    known: str | None  # the stored document that `text` was made from; None: a new user, or `same`
    same: bool  # `text` is what is stored: nothing changes
    depends: bool  # `text` depends on what is stored: it is made again if that has changed before the merge
    keyed: bool  # the file names the user by an id; else they were found by username or address
    row: int
    hashes: str  # of the id, and of the addresses that the user does not have yet: a JSON array


class UserMatcher:
    """Matches documents with the users of the directory as it is now; nothing is written."""

    def __init__(self, db: Database, mode: Mode) -> None:
        self._db = db
        self._mode = mode
        self._key = key_of(db)
        with db.read() as connection:
            self._nobody = connection.execute(select(User.id).limit(1)).one_or_none() is None

    def join(self, documents: Iterable[NumberedDocument]) -> Iterator[MergedUser]:
        """Each user as they will be stored. Raises `InvalidRow` for the first who cannot be stored, or has no id.

        The directory is read while the documents are.
        """
        return self._with_nobody(documents) if self._nobody else self._with_known(documents)

    def _with_nobody(self, documents: Iterable[NumberedDocument]) -> Iterator[MergedUser]:
        for row, given in documents:
            user_id = _id(row, given, {}, {}, self._key)
            yield self._joined((row, given), user_id, None, self._depends(given))

    def _with_known(self, documents: Iterable[NumberedDocument]) -> Iterator[MergedUser]:
        for chunk in _chunks(documents):
            ids = self._ids(chunk)
            depends = [self._depends(given) for _, given in chunk]
            known = self._known(compress(ids, depends))
            for given, user_id, needed in zip(chunk, ids, depends, strict=True):
                yield self._joined(given, user_id, known.get(user_id), needed)

    def _joined(self, given: NumberedDocument, user_id: str, known: AnyRow | None, depends: bool) -> MergedUser:
        row, document = given
        keyed = "_id" in _fields(document)
        if known is not None and _is_written(document, known.text, self._mode):
            return MergedUser(known[:-1], known.text, None, True, depends, keyed, row, self._hashes(user_id))
        before = None if known is None else orjson.loads(known.text)
        after = combined(before, document, self._mode)
        if isinstance(after, dict) and not keyed and user_id:
            after["_id"] = user_id
        if known is not None and isinstance(before, dict) and _same(after, before):
            return MergedUser(known[:-1], known.text, None, True, depends, keyed, row, self._hashes(user_id))
        user = normalise(after, row, before or {})
        earlier = known.text if known else None
        hashes = self._hashes(user.id, _new_addresses(user, before))
        return MergedUser(user[:-1], encode(user.document), earlier, False, depends, keyed, row, hashes)

    def _hashes(self, user_id: str, addresses: Iterable[str] = ()) -> str:
        """A JSON array, by which it is known whether somebody was erased."""
        hashes = [digest(self._key, Of.USER, user_id), *(digest(self._key, Of.ADDRESS, one) for one in addresses)]
        return '["' + '", "'.join(hashes) + '"]'

    def _depends(self, given: object) -> bool:
        """Whether the result depends on what is stored about the user."""
        return self._mode is Mode.MERGE or "active" not in _fields(given)

    def _ids(self, chunk: Sequence[NumberedDocument]) -> list[str]:
        """The id of each user: as given, else found by username or address, else a new one; "": it cannot be told."""
        unnamed = [given for _, given in chunk if "_id" not in _fields(given)]
        usernames: Mapping[str, str] = {}
        addresses: Mapping[str, str] = {}
        if unnamed:
            usernames = self._found(User.username, {_username(given) for given in unnamed} - {""})
            addresses = self._found(comparable_address(), {address_of(given) for given in unnamed} - {""})
            addresses = {**self._under_old_ids({address_of(given) for given in unnamed} - {""}), **addresses}
        return [_id(row, given, usernames, addresses, self._key) for row, given in chunk]

    def _under_old_ids(self, addresses: Collection[str]) -> dict[str, str]:
        """Who has an id that was made of one of the addresses before there was a key, by the address."""
        return _by_old_id(addresses, self._found(User.id, {old_derived_id(one) for one in addresses}))

    def _found(self, column: Any, values: Collection[str]) -> dict[str, str]:
        """The id of the user with each value; of several users an active one, and among those the first by id."""
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
    """The JSON text of a checked document. Raises TypeError for one that was not checked and cannot be written."""
    return orjson.dumps(document).decode()


def rejoined(document: str, known: str | None, now: str, mode: Mode) -> UserRow:
    """A user whose stored document has changed `now`: what was to change `known` into `document` is done to it.

    All three are JSON texts; `known` None: the user was new.
    """
    wanted, current = orjson.loads(document), orjson.loads(now)
    if mode is Mode.REPLACE:
        return normalise({**wanted, "active": current["active"]}, 0)
    if known is None:  # somebody else has added the user while the file was read, perhaps as inactive
        wanted["active"] = wanted["active"] and current["active"]
        return normalise(merged(current, wanted), 0)
    return normalise(merged(current, difference(orjson.loads(known), wanted)), 0)


def _chunks(documents: Iterable[NumberedDocument]) -> Iterator[list[NumberedDocument]]:
    """The documents in groups of `AT_ONCE`. What cannot be read raises only after those before it were checked."""
    chunk: list[NumberedDocument] = []
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


def _new_addresses(user: UserRow, before: Mapping[str, Any] | None) -> Iterable[str]:
    """The addresses that the user does not have yet, as `addresses.comparable` has them.

    An address that somebody shares with a person who was erased stays theirs, so only new ones count.
    """
    emails = user.document.get("emails")
    if not emails or (before is not None and before.get("emails") == emails):
        return ()
    if before is None and len(emails) == 1 and user.email:  # the usual case
        return (comparable(user.email),)
    return sorted(addresses_in(user.document) - addresses_in(before))


def _is_written(given: object, text: str, mode: Mode) -> bool:
    """Whether `given` is, letter for letter, the stored document: true for most users of a list that comes again.

    A null that is merged removes its field, so a document with a null in it takes the longer way.
    """
    return isinstance(given, dict) and _written(given) == text and (mode is Mode.REPLACE or "null" not in text)


def _same(after: object, before: dict[str, Any]) -> bool:
    """Whether they are the same JSON. For Python True == 1; in JSON true is not 1, so the texts decide."""
    return after == before and _written(after) == encode(before)


def _written(document: object) -> str | None:
    """The JSON text of a document that may not have been checked; None: it has something that JSON cannot hold."""
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


def _by_old_id(addresses: Collection[str], found: Mapping[str, str]) -> dict[str, str]:
    return {one: old_id for one in addresses if (old_id := found.get(old_derived_id(one)))}


def _id(row: int, given: object, usernames: Mapping[str, str], addresses: Mapping[str, str], key: bytes) -> str:
    fields = _fields(given)
    if "_id" in fields:
        return fields["_id"] if isinstance(fields["_id"], str) else ""
    found = usernames.get(_username(given))
    address = address_of(given)
    if found or (not address and not isinstance(given, TableRow)):
        return found or ""  # a document without anything to know them by lacks its id
    if not address:
        raise InvalidRow(row, "_id", "is missing, and there is neither an address nor a known username")
    return addresses.get(address) or derived_id(key, address)
