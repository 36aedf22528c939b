"""A single person unsubscribes, or subscribes again: the mark on the user is set, or taken back."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, delete, select, update

from mailer.audit.log import Act, Note, record, record_addresses
from mailer.messages.addresses import comparable
from mailer.storage.database import Database
from mailer.storage.erased.people import erased_users
from mailer.storage.journal.writer import Journal, Wished
from mailer.storage.models import User, Wish, WishOf, comparable_address
from mailer.suppression import hashed_wishes, history, wishes
from mailer.suppression.history import Cause, Event


def unsubscribe(db: Database, user_id: str, *, note: str = "", by: Cause | None = None) -> bool:
    """Write to this user no more. The time of the first call stays. Returns whether there is, or was, such a user.

    Who was erased is not written to, so it is done for them already. `note` is what an operator writes down. `by` is
    what the history says of how it came about; None: the current actor does it.
    """
    return _unsubscribe(db, user_id, User.id == user_id, note, by)


def unsubscribe_matching(db: Database, user_id: str, created_at_ms: int) -> bool:
    """Unsubscribe the user with this id and creation time (milliseconds); returns whether there is one."""
    return _unsubscribe(db, user_id, and_(User.id == user_id, User.created_at == created_at_ms))


class Marked(NamedTuple):
    """Whether there is, or was, such a user, and whether they are unsubscribed only now."""

    found: bool
    newly: bool


def _unsubscribe(
    db: Database, user_id: str, which: ColumnElement[bool], note: str = "", by: Cause | None = None
) -> bool:
    with db.write() as connection:
        return mark(
            connection, db.journal, db.clock(connection), user_id, by or history.acted(), which=which, note=note
        ).found


def mark(
    connection: Connection,
    journal: Journal | None,
    now: int,
    user_id: str,
    by: Cause,
    *,
    which: ColumnElement[bool] | None = None,
    note: str = "",
) -> Marked:
    """Unsubscribe a user at `now` (ms since 1970) within the transaction of `connection`, as `unsubscribe` does."""
    which = User.id == user_id if which is None else which
    marking = update(User).where(which, User.unsubscribed_at.is_(None)).values(unsubscribed_at=now)
    newly = connection.execute(marking.returning(User.id, User.email)).all()
    cause = by
    if newly:
        cause = _of_recipient(connection, by, user_id)
        history.add(connection, now, Event.UNSUBSCRIBED, cause, [(one.id, one.email) for one in newly])
    found = bool(newly) or connection.scalar(select(User.id).where(which)) is not None
    if found:
        wishes.keep_inactive(connection, now, user_id)
        record(connection, now, Act.UNSUBSCRIBE, user_id, Note(user_id, note))
        if journal is not None:
            journal.wish(Wished.UNSUBSCRIBE, now, user_id, why=asdict(cause))
    return Marked(found or bool(erased_users(connection, [user_id])), bool(newly))


def _of_recipient(connection: Connection, cause: Cause, user_id: str) -> Cause:
    """The cause without its campaign, if that has not written to the user."""
    if cause.campaign_id is None or history.is_recipient(connection, cause.campaign_id, user_id):
        return cause
    return replace(cause, campaign_id=None)


def resubscribe(db: Database, user_id: str, *, merged: bool = False, note: str = "", by: Cause | None = None) -> bool:
    """Write to this user again, and forget the wishes kept for them. Returns whether there is such a user or wish.

    With `merged`, users who share an address count as one person: all of them are written to again. `note` is what
    an operator writes down, and `by` as `unsubscribe` has it.
    """
    with db.write() as connection:
        now = db.clock(connection)
        found, address, again = _take_back(connection, now, user_id, merged=merged, note=note)
        cause = by or history.acted()
        history.add(connection, now, Event.SUBSCRIBED, cause, again)
    if found and db.journal is not None:  # once it is committed: a wish that is taken back too early would be lost
        db.journal.wish(Wished.SUBSCRIBE, now, user_id, [address] if merged and address else [], asdict(cause))
    return found


def _take_back(
    connection: Connection, now: int, user_id: str, *, merged: bool, note: str
) -> tuple[bool, str | None, list[tuple[str | None, str | None]]]:
    """Whether there is such a user or wish, the user's address, and who is subscribed again, for the history."""
    user = connection.execute(select(User.email).where(User.id == user_id)).one_or_none()
    if user is None and not wishes.forget(connection, user_id, None):
        return False, None, []
    record(connection, now, Act.SUBSCRIBE_AGAIN, user_id, Note(user_id, note))
    if user is None:
        return True, None, [(user_id, None)]
    again = _unmark(connection, user_id, user.email, merged=merged)
    if wishes.forget(connection, user_id, user.email) and not again:
        again = [(user_id, user.email)]
    return True, None if user.email is None else comparable(user.email), again


def _unmark(
    connection: Connection, user_id: str, address: str | None, *, merged: bool
) -> list[tuple[str | None, str | None]]:
    """Take the mark from the user and, with `merged`, from all at the address; return who had it."""
    whose = User.id == user_id
    if merged and address is not None:
        whose |= comparable_address() == comparable(address)
    unmarking = update(User).where(whose, User.unsubscribed_at.is_not(None)).values(unsubscribed_at=None)
    return [(one.id, one.email) for one in connection.execute(unmarking.returning(User.id, User.email))]


def resubscribe_address(db: Database, address: str) -> int | None:
    """Forget the wish kept for an address, and unmark the users whom it has marked.

    Returns how many users are written to again; None: no wish is kept. Users who have unsubscribed themselves stay so.
    """
    kept = wishes.of_address(address)
    with db.write() as connection:
        hashed_wishes.learn(connection, [comparable(address)])
        times = connection.execute(select(Wish.kind, Wish.unsubscribed_at).where(kept)).all()
        if not times:
            return None
        connection.execute(delete(Wish).where(kept))
        marking = [made_at for kind, made_at in times if kind == WishOf.ADDRESS]
        marked = and_(comparable_address() == comparable(address), User.unsubscribed_at.in_(marking))
        unmarking = update(User).where(marked).values(unsubscribed_at=None)
        users = [(one.id, one.email) for one in connection.execute(unmarking.returning(User.id, User.email))]
        now = db.clock(connection)
        history.add(connection, now, Event.SUBSCRIBED, history.acted(), [*users, (None, address)])
        record_addresses(connection, now, Act.SUBSCRIBE_AGAIN, [comparable(address)], users=len(users))
    if db.journal is not None:
        db.journal.wish(Wished.SUBSCRIBE, now, None, [comparable(address)], asdict(history.acted()))
    return len(users)
