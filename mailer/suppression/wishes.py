"""Wishes: unsubscriptions that are kept for an address, or for an id that no user has yet.

An unsubscription belongs to a user and is a mark on their row. It is kept here when there is no such row: a list
names an address or an id that nobody has, or somebody who has unsubscribed leaves their address. Whoever comes to that
address or id is marked by the transaction that brings them. So `users.unsubscribed_at` alone says who has unsubscribed.

If others still have the address that somebody left, the wish is `shared`: it marks nobody, and counts only for
campaigns that send one message to all who share an address.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, select, text

from mailer.messages.addresses import comparable
from mailer.storage import staging
from mailer.storage.database import Database
from mailer.storage.dialects import in_turn
from mailer.storage.erased.people import anybody_erased, erased_addresses
from mailer.storage.models import User, Wish, WishOf, comparable_address
from mailer.suppression import hashed_wishes

LOCK = 0x77697368  # what `in_turn` is asked about
LEFT_BEHIND = "left behind"  # the source of a wish whose user has left the address
OF_ERASED = "erased"  # the source of a wish of somebody who was erased, at an address that others have too


@dataclass(frozen=True, slots=True)
class KeptWish:
    """A wish for an `address` or a `user_id`, who kept it, and from which list. Times are ms since 1970."""

    address: str | None
    user_id: str | None
    unsubscribed_at: int
    kept_at: int
    kept_by: str
    source: str
    shared: bool = False  # others have the address; see the beginning of this module

    @property
    def place(self) -> str:
        """Its key in a listing: the kind, a colon, and the address or id."""
        if self.address is None:
            return f"{WishOf.USER}:{self.user_id}"
        return f"{WishOf.SHARED if self.shared else WishOf.ADDRESS}:{self.address}"


class HeldWish(NamedTuple):
    """The address of an unsubscribed user before a change, when they unsubscribed (ms), and if they were active."""

    address: str
    unsubscribed_at: int
    active: bool


def lock(connection: Connection, *, listing: bool = False) -> None:
    """Take turns until the transaction ends: imports of lists (`listing`) on one side, writers of users on the other.

    Each must see the other's rows. Otherwise a user and the wish about them could pass each other, and somebody who has
    unsubscribed would be written to.
    """
    in_turn(connection, LOCK, shared=not listing)


_NOBODY_ELSE = """
NOT EXISTS (SELECT 1 FROM users u WHERE lower(u.email) = lower(v.email) AND u.active AND u.unsubscribed_at IS NULL)
"""
_HELD = f"""
SELECT v.id, lower(v.email) AS address, v.unsubscribed_at,
v.active AND {_NOBODY_ELSE} AS alone FROM users v WHERE v.unsubscribed_at IS NOT NULL AND v.email IS NOT NULL
"""  # noqa: S608 - no value in it
_KEEP = """
INSERT INTO wishes (kind, value, unsubscribed_at, kept_at, kept_by, source)
SELECT '{kind}', {address}, min(v.unsubscribed_at), :now, min(v.id), :source FROM {holders}
GROUP BY 2 ON CONFLICT (kind, value) DO NOTHING
"""
_KEEP_ONE = """
INSERT INTO wishes (kind, value, unsubscribed_at, kept_at, kept_by, source)
VALUES (:kind, :address, :made_at, :now, :by, :source) ON CONFLICT (kind, value) DO NOTHING
"""
_LEFT = """
held_wishes v WHERE v.alone AND NOT EXISTS (SELECT 1 FROM users u
WHERE u.id = v.id AND u.active AND lower(u.email) = v.address)
"""
_LEFT_TO_OTHERS = """
held_wishes v WHERE NOT v.alone AND NOT EXISTS (SELECT 1 FROM users u WHERE u.id = v.id AND lower(u.email) = v.address)
"""
_JUST_LEFT = """
SELECT w.value FROM wishes w JOIN held_wishes v ON v.address = w.value
WHERE w.kind <> 'user' AND w.kept_at = :now AND w.source = :source
"""
_INACTIVE = f"""
users v WHERE v.unsubscribed_at IS NOT NULL AND v.email IS NOT NULL AND NOT v.active AND {{scope}} AND {_NOBODY_ELSE}
"""
_MARK = """
UPDATE users SET unsubscribed_at = (SELECT min(w.unsubscribed_at) FROM wishes w
    WHERE w.kind = 'address' AND w.value = lower(users.email) OR w.kind = 'user' AND w.value = users.id)
WHERE unsubscribed_at IS NULL AND {scope} AND (
    EXISTS (SELECT 1 FROM wishes w WHERE w.kind = 'address' AND w.value = lower(users.email))
    OR EXISTS (SELECT 1 FROM wishes w WHERE w.kind = 'user' AND w.value = users.id))
"""
_AMONG = "id IN (SELECT id FROM {table})"
_ONE = "id = :user_id"


def before_merge(connection: Connection) -> None:
    """Note who has unsubscribed at which address: to be called before `staged_users` is merged into the directory."""
    lock(connection)
    staging.create_as(connection, "held_wishes", _HELD)


def after_merge(connection: Connection, now: int) -> None:
    """Keep the wishes of those who have left their addresses, and mark those who came: the last step of an import.

    `now` is in ms.
    """
    left = {"now": now, "source": LEFT_BEHIND}
    for kind, holders in ((WishOf.ADDRESS, _LEFT), (WishOf.SHARED, _LEFT_TO_OTHERS)):
        connection.execute(text(_KEEP.format(kind=kind.value, address="v.address", holders=holders)), left)
    keep_inactive_among(connection, now, "staged_users")
    just_left = connection.execute(text(_JUST_LEFT), left).scalars() if anybody_erased(connection) else ()
    forget_erased(connection, just_left)
    staging.drop(connection, "held_wishes")
    hashed_wishes.learn_staged(connection)
    if connection.scalar(select(Wish.kind).limit(1)) is not None:
        connection.execute(text(_MARK.format(scope=_AMONG.format(table="staged_users"))))


def after_write(connection: Connection, user_id: str, held: HeldWish | None, now: int) -> None:
    """The same after one user was written, who was `held` by an unsubscription before; None: they were not."""
    if held is not None:
        _leave(connection, user_id, held, now)
    keep_inactive(connection, now, user_id)
    forget_erased(connection, () if held is None else [comparable(held.address)])
    hashed_wishes.learn_of(connection, user_id)
    connection.execute(text(_MARK.format(scope=_ONE)), {"user_id": user_id})


def keep_inactive(connection: Connection, now: int, user_id: str) -> None:
    """Keep the wish of a user who is unsubscribed and inactive: others may get their address. `now` is in ms."""
    _keep_inactive(connection, _ONE, {"now": now, "user_id": user_id})


def keep_inactive_among(connection: Connection, now: int, table: str) -> None:
    """The same for all users whose ids are in the temporary `table`."""
    _keep_inactive(connection, _AMONG.format(table=table), {"now": now})


def forget_erased(connection: Connection, just_left: Iterable[str]) -> None:
    """Forget the addresses of people who were erased once nobody in the directory has them any more.

    They are those of shared wishes, and those that others who shared them have `just_left`. From then on the hash alone
    keeps such an address from being written to.
    """
    unused = ~select(User.id).where(comparable_address() == Wish.value).exists()
    shared = (Wish.kind == WishOf.SHARED, Wish.source == OF_ERASED)
    connection.execute(delete(Wish).where(*shared, unused))
    if erased := erased_addresses(connection, just_left):
        connection.execute(delete(Wish).where(Wish.kind != WishOf.USER, Wish.value.in_(sorted(erased)), unused))


def _keep_inactive(connection: Connection, scope: str, values: dict[str, object]) -> None:
    holders = _INACTIVE.format(scope=f"v.{scope}")
    statement = _KEEP.format(kind=WishOf.ADDRESS.value, address="lower(v.email)", holders=holders)
    connection.execute(text(statement), {"source": LEFT_BEHIND, **values})


def _leave(connection: Connection, user_id: str, held: HeldWish, now: int) -> None:
    theirs = comparable_address() == comparable(held.address)
    mine = select(User.id).where(User.id == user_id, theirs)
    others = select(User.id).where(User.active, User.unsubscribed_at.is_(None), theirs)
    alone = held.active and connection.scalar(others.limit(1)) is None
    if connection.scalar(mine.where(User.active) if alone else mine) is not None:
        return
    kind = WishOf.ADDRESS if alone else WishOf.SHARED
    wish = {"kind": kind.value, "address": comparable(held.address), "made_at": held.unsubscribed_at}
    connection.execute(text(_KEEP_ONE), {**wish, "now": now, "by": user_id, "source": LEFT_BEHIND})


def forget(connection: Connection, user_id: str, address: str | None) -> bool:
    """Forget the wishes for a person who has subscribed again, by id and address. Returns whether there were any."""
    mine = (Wish.kind == WishOf.USER) & (Wish.value == user_id)
    if address is not None:
        mine |= of_address(address)
    return connection.execute(delete(Wish).where(mine)).rowcount > 0


def of_address(address: str) -> ColumnElement[bool]:
    """A SQL condition: the wishes kept for this address, whatever its case."""
    return (Wish.kind != WishOf.USER) & (Wish.value == comparable(address))


def kept_wishes(db: Database, *, after: tuple[str, str] = ("", ""), count: int = 1000) -> list[KeptWish]:
    """A page of the wishes, those for addresses first, from the one after `after` (its kind and value) on."""
    kind, value = after
    later = (Wish.kind > kind) | ((Wish.kind == kind) & (Wish.value > value))
    later &= Wish.kind.not_in(hashed_wishes.KINDS)  # nobody could tell whose they are
    with db.read() as connection:
        rows = connection.execute(
            select(Wish.__table__).where(later).order_by(Wish.kind, Wish.value).limit(count)
        ).all()
    return [_kept(*row) for row in rows]


def all_kept_wishes(db: Database) -> Iterator[KeptWish]:
    """All wishes, read page by page."""
    after = ("", "")
    while page := kept_wishes(db, after=after):
        yield from page
        kind, _, value = page[-1].place.partition(":")
        after = (kind, value)


def _kept(kind: str, value: str, unsubscribed_at: int, kept_at: int, kept_by: str, source: str) -> KeptWish:
    address, user_id = (None, value) if kind == WishOf.USER else (value, None)
    return KeptWish(address, user_id, unsubscribed_at, kept_at, kept_by, source, shared=kind == WishOf.SHARED)
