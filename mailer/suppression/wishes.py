"""Wishes that no user holds (yet): of an address, and of an id that is still to come; whoever comes is marked by them.

A wish belongs to a user. It is the address's where no user has the address: when a list names one that nobody has, and
when somebody who has unsubscribed leaves an address at which nobody else is written to. Where others are, what is left
counts only for campaigns that are one message for all of them. The users are marked by the transaction that brings
them, so who else may be written to is told by `users.unsubscribed_at` alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, select, text

from mailer.messages.addresses import comparable
from mailer.storage.database import Database
from mailer.storage.models import User, Wish, WishOf, comparable_address

LOCK = 0x77697368  # an advisory lock on PostgreSQL; on SQLite one transaction writes at a time
LEFT_BEHIND = "left behind"  # the source of a wish that a user has left with the address


@dataclass(frozen=True, slots=True)
class KeptWish:
    """A wish without a user of its own. `address` or `user_id`; times in ms; who kept it, and from which list."""

    address: str | None
    user_id: str | None
    unsubscribed_at: int
    kept_at: int
    kept_by: str
    source: str
    shared: bool = False  # others have the address: it marks nobody, and counts where addresses are merged

    @property
    def place(self) -> str:
        """Where it stands in a listing."""
        if self.address is None:
            return f"{WishOf.USER}:{self.user_id}"
        return f"{WishOf.SHARED if self.shared else WishOf.ADDRESS}:{self.address}"


class Held(NamedTuple):
    """At which address a user had unsubscribed, when (ms), and whether they were active."""

    address: str
    unsubscribed_at: int
    active: bool


def lock(connection: Connection, *, listing: bool = False) -> None:
    """To be called before users are brought: a list (`listing`) waits for all who bring users, and they for it.

    Otherwise neither would see the other's rows, and somebody who has unsubscribed would be written to.
    """
    if connection.dialect.name == "postgresql":
        mode = "" if listing else "_shared"
        connection.execute(text(f"SELECT pg_advisory_xact_lock{mode}(:key)"), {"key": LOCK})


_NOBODY_ELSE = """
NOT EXISTS (SELECT 1 FROM users u WHERE lower(u.email) = lower(v.email) AND u.active AND u.unsubscribed_at IS NULL)
"""
_HELD = f"""
CREATE TEMPORARY TABLE held_wishes{{on_commit}} AS SELECT v.id, lower(v.email) AS address, v.unsubscribed_at,
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
_STAGED = "id IN (SELECT id FROM staged_users)"
_ONE = "id = :user_id"


def before_merge(connection: Connection) -> None:
    """Note who has unsubscribed at which address, before the table `staged_users` is merged into the directory."""
    lock(connection)
    on_commit = " ON COMMIT DROP" if connection.dialect.name == "postgresql" else ""
    connection.exec_driver_sql("DROP TABLE IF EXISTS held_wishes")
    connection.exec_driver_sql(_HELD.format(on_commit=on_commit))


def after_merge(connection: Connection, now: int) -> None:
    """Leave the wishes of those who went with their addresses, and mark who came: the last step of an import."""
    left = {"now": now, "source": LEFT_BEHIND}
    for kind, holders in ((WishOf.ADDRESS, _LEFT), (WishOf.SHARED, _LEFT_TO_OTHERS)):
        connection.execute(text(_KEEP.format(kind=kind.value, address="v.address", holders=holders)), left)
    keep_inactive(connection, now, _STAGED)
    connection.exec_driver_sql("DROP TABLE held_wishes")
    if connection.scalar(select(Wish.kind).limit(1)) is not None:
        connection.execute(text(_MARK.format(scope=_STAGED)))


def after_write(connection: Connection, user_id: str, held: Held | None, now: int) -> None:
    """The same for one user, who held a wish at an address before."""
    if held is not None:
        _leave(connection, user_id, held, now)
    keep_inactive(connection, now, _ONE, user_id=user_id)
    connection.execute(text(_MARK.format(scope=_ONE)), {"user_id": user_id})


def keep_inactive(connection: Connection, now: int, scope: str = _ONE, **values: Any) -> None:
    """Of the users in `scope` (SQL), who is inactive and has unsubscribed leaves their wish."""
    statement = _KEEP.format(
        kind=WishOf.ADDRESS.value, address="lower(v.email)", holders=_INACTIVE.format(scope=f"v.{scope}")
    )
    connection.execute(text(statement), {"now": now, "source": LEFT_BEHIND, **values})


def _leave(connection: Connection, user_id: str, held: Held, now: int) -> None:
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
    """The person has subscribed again: nobody who comes is marked by their id or address. Returns if anybody was."""
    mine = (Wish.kind == WishOf.USER) & (Wish.value == user_id)
    if address is not None:
        mine |= of_address(address)
    return connection.execute(delete(Wish).where(mine)).rowcount > 0


def of_address(address: str) -> ColumnElement[bool]:
    """The wishes kept for an address, of whatever case."""
    return (Wish.kind != WishOf.USER) & (Wish.value == comparable(address))


def kept_wishes(db: Database, *, after: tuple[str, str] = ("", ""), count: int = 1000) -> list[KeptWish]:
    """The wishes kept, addresses first, from the one after `after` (its kind and value) on."""
    kind, value = after
    later = (Wish.kind > kind) | ((Wish.kind == kind) & (Wish.value > value))
    with db.read() as connection:
        rows = connection.execute(
            select(Wish.__table__).where(later).order_by(Wish.kind, Wish.value).limit(count)
        ).all()
    return [_kept(*row) for row in rows]


def all_kept_wishes(db: Database) -> Iterator[KeptWish]:
    """All of them, read page by page."""
    after = ("", "")
    while page := kept_wishes(db, after=after):
        yield from page
        kind, _, value = page[-1].place.partition(":")
        after = (kind, value)


def _kept(kind: str, value: str, *facts: Any) -> KeptWish:
    unsubscribed_at, kept_at, kept_by, source = facts
    address, user_id = (None, value) if kind == WishOf.USER else (value, None)
    return KeptWish(address, user_id, unsubscribed_at, kept_at, kept_by, source, shared=kind == WishOf.SHARED)
