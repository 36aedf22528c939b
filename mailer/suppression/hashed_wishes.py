"""Wishes and blocks of which only the hash of the address is known: a journal has told them, and nobody here has it.

As soon as somebody comes to such an address, or a person names it, its row becomes one for the address itself: a wish,
which then marks them as any other, or a block.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from sqlalchemy import Connection, Insert, Select, delete, func, insert, select, text, update

from mailer.messages.addresses import comparable
from mailer.storage.dialects import NewRow, Upsert
from mailer.storage.erased.key import Of, digest, known_key
from mailer.storage.models import RefusedAddress, User, Wish, WishOf

KINDS = (WishOf.HASHED, WishOf.BLOCKED)
SOURCE = "journal"  # of what was taken over
REASON = "blocked before the backup was restored, as the journal says"
AT_ONCE = 500  # hashes in one statement

_STAGED = "SELECT u.email FROM users u JOIN staged_users s ON s.id = u.id WHERE u.email IS NOT NULL"
_ROWS = select(Wish.kind, Wish.value, Wish.unsubscribed_at, Wish.kept_at, Wish.kept_by, Wish.source)


class Kept(NamedTuple):
    """A row for a hash. Times are in ms since 1970."""

    kind: str
    value: str
    unsubscribed_at: int
    kept_at: int
    kept_by: str
    source: str


def _once(new: NewRow) -> Insert:
    return new.on_conflict_do_nothing()


_KEEP = Upsert(Wish, _once)


def keep(connection: Connection, kind: WishOf, hashed: str, at: int, now: int, by: str) -> bool:
    """Keep a wish or a block of `at` for whoever comes to the address; whether it is new. Times are in ms."""
    there = (Wish.kind == kind, Wish.value == hashed)
    if connection.scalar(select(Wish.kind).where(*there)) is not None:
        return False
    _KEEP.run(connection, Kept(kind.value, hashed, at, now, by, SOURCE)._asdict())
    return True


def forget(connection: Connection, kind: WishOf, hashed: str, *, until: int | None = None) -> bool:
    """Keep it no more, with `until` (ms since 1970) if it is not later; whether it was kept."""
    theirs = (Wish.kind == kind) & (Wish.value == hashed)
    if until is not None:
        theirs &= Wish.unsubscribed_at <= until
    return connection.execute(delete(Wish).where(theirs)).rowcount > 0


def count(connection: Connection) -> int:
    """How many are kept."""
    return connection.scalar(select(func.count()).select_from(Wish).where(Wish.kind.in_(KINDS))) or 0


def learn_of(connection: Connection, user_id: str) -> None:
    """Take over what is kept for the address of this user, before they are marked by it."""
    if _any(connection):
        found = connection.scalars(select(User.email).where(User.id == user_id)).all()
        learn(connection, [one for one in found if one])


def learn_staged(connection: Connection) -> None:
    """The same for all who are in `staged_users`, once they are in the directory."""
    if _any(connection):
        learn(connection, connection.execute(text(_STAGED)).scalars().all())


def learn(connection: Connection, addresses: Collection[str]) -> None:
    """Take over what is kept for any of these addresses."""
    key = known_key(connection) if _any(connection) else None
    if key is None:
        return
    by_hash = {digest(key, Of.ADDRESS, comparable(one)): comparable(one) for one in addresses}
    for one in _of(connection, list(by_hash)):
        forget(connection, WishOf(one.kind), one.value)
        if one.kind == WishOf.HASHED:
            _KEEP.run(connection, one._replace(kind=WishOf.ADDRESS.value, value=by_hash[one.value])._asdict())
        else:
            _block(connection, by_hash[one.value], one)


def _any(connection: Connection) -> bool:
    return connection.scalar(select(Wish.kind).where(Wish.kind.in_(KINDS)).limit(1)) is not None


def _of(connection: Connection, hashes: list[str]) -> Iterable[Kept]:
    """What is kept for these hashes, or looked up the other way where more addresses are asked about than are kept."""
    if len(hashes) > AT_ONCE:
        wanted = set(hashes)
        return [one for one in _read(connection, _ROWS.where(Wish.kind.in_(KINDS))) if one.value in wanted]
    return _read(connection, _ROWS.where(Wish.kind.in_(KINDS), Wish.value.in_(hashes)))


def _read(connection: Connection, query: Select[str, str, int, int, str, str]) -> list[Kept]:
    return [Kept._make(row) for row in connection.execute(query)]


def _block(connection: Connection, address: str, kept: Kept) -> None:
    since = {"suppressed_at": kept.unsubscribed_at, "blocked_at": kept.unsubscribed_at}
    why = {"blocked_by": kept.kept_by, "block_reason": REASON}
    theirs = RefusedAddress.address == address
    there = connection.execute(
        select(RefusedAddress.blocked_at, RefusedAddress.suppressed_at).where(theirs)
    ).one_or_none()
    if there is None:
        nothing = {"campaigns": 0, "campaign_ids": "", "reply": "", "rule": "", "refused_at": kept.unsubscribed_at}
        connection.execute(insert(RefusedAddress).values(address=address, **nothing, **since, **why))
    elif there.blocked_at is None:
        earlier = {} if there.suppressed_at is None else {"suppressed_at": there.suppressed_at}
        connection.execute(update(RefusedAddress).where(theirs).values(**since | earlier, **why))
