"""Single users found, put, changed and made inactive. Nobody is deleted, unless they are erased."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, insert, select, update

from mailer.audit.actor import current_actor
from mailer.audit.log import Act, record
from mailer.directory.changes import Mode, addresses_in, combined
from mailer.directory.documents import UserRow, normalise
from mailer.errors import InvalidParams, NotFound, WasErased
from mailer.messages.addresses import comparable
from mailer.messages.recipient import Recipient
from mailer.ownership import leaving
from mailer.ownership.leaving import NOBODY_LEFT, Leaving
from mailer.storage.database import Database
from mailer.storage.dialects import in_turn
from mailer.storage.erased.people import erased_addresses, erased_users
from mailer.storage.journal.writer import Wished
from mailer.storage.models import AuthToken, User, comparable_address
from mailer.suppression import history, wishes
from mailer.suppression.history import Cause, Event, Means


@dataclass(frozen=True, slots=True)
class Stored:
    """A user's document as it is now stored, whether the user is new, and what became of what they own."""

    document: Mapping[str, Any]
    created: bool
    left: Leaving = NOBODY_LEFT


class _Earlier(NamedTuple):
    """What was stored about a user before a change."""

    document: Mapping[str, Any]
    email: str | None
    active: bool
    unsubscribed_at: int | None


def find_id(connection: Connection, name: str) -> str | None:
    """The id of the user with this id or, if nobody has it, with this username; None: nobody, or several."""
    ids = connection.scalars(select(User.id).where(User.id == name)).all()
    ids = ids or connection.scalars(select(User.id).where(User.username == name).limit(2)).all()
    return ids[0] if len(ids) == 1 else None


def find_by_address(connection: Connection, wanted: str) -> Recipient | None:
    """The user with this address, whatever its case, active ones first; None: nobody."""
    matching = select(User.id, User.name, User.email).where(comparable_address() == comparable(wanted))
    row = connection.execute(matching.order_by(User.active.desc(), User.id).limit(1)).one_or_none()
    return Recipient(row.id, row.name, row.email or "") if row else None


def language_of(db: Database, user_id: str) -> object:
    """The language in the user's document, such as `pt-BR`, or whatever stands there; None: nothing, or no user."""
    with db.read() as connection:
        document = connection.scalar(select(User.document).where(User.id == user_id))
    return document.get("language") if document else None


def put_user(db: Database, user_id: str, document: Mapping[str, Any], *, pause: bool = True) -> Stored:
    """Store `document` as the user's whole document. Raises `InvalidRow`, and `InvalidParams` for another's `_id`.

    An unsubscribed user stays so, and so does an inactive one unless `document` names `active`. Rocket.Chat's own mark
    (`mailer.unsubscribed`) counts when it is new. Raises `WasErased` for somebody who was.

    Here and below, whoever becomes inactive has no token any more, and their open campaigns are paused or, without
    `pause`, go on.
    """
    with db.write() as connection:
        earlier = _lock(connection, user_id)
        row = _checked(user_id, document, earlier, Mode.REPLACE)
        _refuse_erased(connection, row, earlier)
        now = db.clock(connection)
        record(connection, now, Act.PUT_USER, user_id, created=earlier is None, **_reach(row))
        _journal(db, row, earlier, now)
        stored = _store(connection, row, earlier, now, pause=pause)
    _journal_return(db, row, earlier, now)
    return stored


def patch_user(
    db: Database, user_id: str, changes: Mapping[str, Any], *, act: Act = Act.CHANGE_USER, pause: bool = True
) -> Stored:
    """Merge `changes` into the user's document (RFC 7396: null removes a field). Raises `NotFound` besides,
    and `WasErased` for a new address that is that of somebody who was.

    The user, here and below, may be named by username where nobody has it as `_id`. The audit log calls it `act`.
    """
    with db.write() as connection:
        found = find_id(connection, user_id)
        earlier = _lock(connection, found) if found else None
        if found is None or earlier is None:
            raise NotFound(f"There is no user with the id or the username {user_id}.")
        user_id = found
        row = _checked(user_id, changes, earlier, Mode.MERGE)
        _refuse_erased(connection, row, earlier)
        now = db.clock(connection)
        record(connection, now, act, user_id, **_reach(row))
        _journal(db, row, earlier, now)
        stored = _store(connection, row, earlier, now, pause=pause)
    _journal_return(db, row, earlier, now)
    return stored


def _reach(row: UserRow) -> dict[str, bool]:
    """What the audit log keeps of a document: whether mail could go to them, and no address."""
    return {"active": row.active, "address": row.email is not None}


def deactivate_user(db: Database, user_id: str, *, pause: bool = True) -> Stored:
    """Write to this user no more until `active` is true again. Raises `NotFound`."""
    return patch_user(db, user_id, {"active": False}, act=Act.DEACTIVATE_USER, pause=pause)


def _checked(user_id: str, given: Mapping[str, Any], earlier: _Earlier | None, mode: Mode) -> UserRow:
    if given.get("_id", user_id) != user_id:
        raise InvalidParams("_id: Is not the one in the address.", field="_id")
    return normalise(combined(earlier.document if earlier else None, {**given, "_id": user_id}, mode), 1)


def _refuse_erased(connection: Connection, row: UserRow, earlier: _Earlier | None) -> None:
    """Raise `WasErased` for an erased id, or for an erased address that the user does not have already."""
    new = addresses_in(row.document) - addresses_in(earlier.document if earlier else None)
    if erased_users(connection, [row.id]) or erased_addresses(connection, new):
        raise WasErased


def _lock(connection: Connection, user_id: str) -> _Earlier | None:
    """The user's row, locked until the transaction ends; None: nobody.

    The id is locked too: of two who add the same user at once, the second finds the row of the first.
    """
    wishes.lock(connection)
    in_turn(connection, f"user {user_id}")
    mine = select(User.document, User.email, User.active, User.unsubscribed_at).where(User.id == user_id)
    row = connection.execute(mine.with_for_update()).one_or_none()
    return _Earlier(*row) if row else None


def _store(connection: Connection, row: UserRow, earlier: _Earlier | None, now: int, *, pause: bool) -> Stored:
    values: dict[str, Any] = row._asdict()
    if _newly_marked(row, earlier) and (earlier is None or earlier.unsubscribed_at is None):
        values["unsubscribed_at"] = now
    if earlier is None:
        connection.execute(insert(User).values(**values))
    else:
        connection.execute(update(User).where(User.id == row.id).values(**values))
    wishes.after_write(connection, row.id, _wish_held(earlier), now)
    if earlier is None or earlier.unsubscribed_at is None:
        _note_mark(connection, row.id)
    return Stored(row.document, earlier is None, _left(connection, row, earlier, now, pause=pause))


def _left(connection: Connection, row: UserRow, earlier: _Earlier | None, now: int, *, pause: bool) -> Leaving:
    if earlier is not None and not earlier.active:
        leaving.end_tokens(connection, AuthToken.user_id == row.id, now)  # a version before this one left them
    elif earlier is not None and not row.active:
        return leaving.settle(connection, [row.id], now, pause=pause)
    return NOBODY_LEFT


def _note_mark(connection: Connection, user_id: str) -> None:
    """Write into the history that what was stored has brought a mark, if it has."""
    mine = select(User.email, User.unsubscribed_at).where(User.id == user_id, User.unsubscribed_at.is_not(None))
    for address, since in connection.execute(mine):
        history.add(connection, since or 0, Event.UNSUBSCRIBED, _brought(), [(user_id, address)])


def _newly_marked(row: UserRow, earlier: _Earlier | None) -> bool:
    """Whether the document says now, and did not before, that the user has unsubscribed."""
    return _marked_unsubscribed(row.document) and not (earlier and _marked_unsubscribed(earlier.document))


def _journal(db: Database, row: UserRow, earlier: _Earlier | None, now: int) -> None:
    if db.journal is None:
        return
    if _newly_marked(row, earlier):
        db.journal.wish(Wished.UNSUBSCRIBE, now, row.id, why=asdict(_brought()))
    if not row.active and (earlier is None or earlier.active):
        db.journal.wish(Wished.DEACTIVATE, now, row.id)


def _journal_return(db: Database, row: UserRow, earlier: _Earlier | None, now: int) -> None:
    """Write, once it is committed, that somebody is active again."""
    if db.journal is not None and row.active and earlier is not None and not earlier.active:
        db.journal.wish(Wished.ACTIVATE, now, row.id)


def _brought() -> Cause:
    return Cause(Means.DIRECTORY, current_actor().who)


def _wish_held(earlier: _Earlier | None) -> wishes.HeldWish | None:
    if earlier is None or earlier.email is None or earlier.unsubscribed_at is None:
        return None
    return wishes.HeldWish(earlier.email, earlier.unsubscribed_at, earlier.active)


def _marked_unsubscribed(document: Mapping[str, Any]) -> bool:
    mark = document.get("mailer")
    return isinstance(mark, Mapping) and mark.get("unsubscribed") is True
