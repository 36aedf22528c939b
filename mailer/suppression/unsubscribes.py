"""A single person unsubscribes, or subscribes again: the mark on the user is set, or taken back."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select, update

from mailer.audit.log import Act, Note, record, record_addresses
from mailer.messages.addresses import comparable
from mailer.storage.database import Database
from mailer.storage.erased.people import erased_users
from mailer.storage.journal.writer import Wished
from mailer.storage.models import User, Wish, WishOf, comparable_address
from mailer.suppression import wishes


def unsubscribe(db: Database, user_id: str, *, note: str = "") -> bool:
    """Write to this user no more. The time of the first call stays. Returns whether there is, or was, such a user.

    Who was erased is not written to, so it is done for them already. `note` is what an operator writes down.
    """
    return _unsubscribe(db, user_id, User.id == user_id, note)


def unsubscribe_matching(db: Database, user_id: str, created_at_ms: int) -> bool:
    """Unsubscribe the user with this id and creation time (milliseconds); returns whether there is one."""
    return _unsubscribe(db, user_id, and_(User.id == user_id, User.created_at == created_at_ms))


def _unsubscribe(db: Database, user_id: str, which: ColumnElement[bool], note: str = "") -> bool:
    with db.write() as connection:
        now = db.clock(connection)
        first_time = func.coalesce(User.unsubscribed_at, now)
        found = connection.execute(update(User).where(which).values(unsubscribed_at=first_time)).rowcount > 0
        if found:
            wishes.keep_inactive(connection, now, user_id)
            record(connection, now, Act.UNSUBSCRIBE, user_id, Note(user_id, note))
            if db.journal is not None:
                db.journal.wish(Wished.UNSUBSCRIBE, now, user_id)
        return found or bool(erased_users(connection, [user_id]))


def resubscribe(db: Database, user_id: str, *, merged: bool = False, note: str = "") -> bool:
    """Write to this user again, and forget the wishes kept for them. Returns whether there is such a user or wish.

    With `merged`, users who share an address count as one person: all of them are written to again. `note` is what
    an operator writes down.
    """
    with db.write() as connection:
        now = db.clock(connection)
        found, address = _take_back(connection, now, user_id, merged=merged, note=note)
    if found and db.journal is not None:  # once it is committed: a wish that is taken back too early would be lost
        db.journal.wish(Wished.SUBSCRIBE, now, user_id, [address] if merged and address else [])
    return found


def _take_back(connection: Connection, now: int, user_id: str, *, merged: bool, note: str) -> tuple[bool, str | None]:
    """Whether there is such a user or wish, and the user's address."""
    user = connection.execute(select(User.email).where(User.id == user_id)).one_or_none()
    if user is None and not wishes.forget(connection, user_id, None):
        return False, None
    record(connection, now, Act.SUBSCRIBE_AGAIN, user_id, Note(user_id, note))
    if user is None:
        return True, None
    whose = User.id == user_id
    if merged and user.email is not None:
        whose |= comparable_address() == comparable(user.email)
    connection.execute(update(User).where(whose).values(unsubscribed_at=None))
    wishes.forget(connection, user_id, user.email)
    return True, None if user.email is None else comparable(user.email)


def resubscribe_address(db: Database, address: str) -> int | None:
    """Forget the wish kept for an address, and unmark the users whom it has marked.

    Returns how many users are written to again; None: no wish is kept. Users who have unsubscribed themselves stay so.
    """
    kept = wishes.of_address(address)
    with db.write() as connection:
        times = connection.execute(select(Wish.kind, Wish.unsubscribed_at).where(kept)).all()
        if not times:
            return None
        connection.execute(delete(Wish).where(kept))
        marking = [made_at for kind, made_at in times if kind == WishOf.ADDRESS]
        marked = and_(comparable_address() == comparable(address), User.unsubscribed_at.in_(marking))
        users = connection.execute(update(User).where(marked).values(unsubscribed_at=None)).rowcount
        now = db.clock(connection)
        record_addresses(connection, now, Act.SUBSCRIBE_AGAIN, [comparable(address)], users=users)
    if db.journal is not None:
        db.journal.wish(Wished.SUBSCRIBE, now, None, [comparable(address)])
    return users
