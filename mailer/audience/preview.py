"""Preview a campaign: find out who would receive it, without sending it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from mailer.audience.conditions import audience, can_get_nothing, left_out_by_reason, reachable, suppressed_audience
from mailer.audience.shared_addresses import address_unsubscribed, merged_audience
from mailer.directory.users import find_id
from mailer.messages.recipient import Recipient
from mailer.storage.database import Database
from mailer.storage.models import RefusedAddress, User

SAMPLE = 10  # users shown

_ANYBODY_LEFT_OUT = select(User.id).where(can_get_nothing()).limit(1)
_ANYBODY_SUPPRESSED = select(RefusedAddress.address).where(RefusedAddress.suppressed_at.is_not(None)).limit(1)


@dataclass(frozen=True, slots=True)
class Sampled:
    """A user of an audience as callers may see them: with the address masked."""

    user_id: str
    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Audience:
    """How many users would receive a campaign that is accepted now, and some of them.

    `suppressed` is how many more would receive it if their addresses were not suppressed. Of the others whom
    the query selects some are `deactivated`, `unsubscribed` or have `no_address`; each is counted by the first of these
    reasons. Where addresses are merged, `shared_address` counts those who share one with somebody who receives it, or
    who has unsubscribed.
    """

    count: int
    suppressed: int
    deactivated: int
    unsubscribed: int
    no_address: int
    shared_address: int
    sample: tuple[Sampled, ...]


def measure(db: Database, query: Mapping[str, Any], *, merge: bool = False, limit: float | None = None) -> Audience:
    """Return the audience of `query` as it is now. The sample is its first users by id.

    With `merge`, users who share an address count as one. Raises `InvalidQuery`, and `QueryTimeout` after `limit`
    seconds.
    """
    who, everyone = merged_audience(query) if merge else audience(query), audience(query)
    with db.read(limit=limit) as connection:
        count = _count(connection, who)
        shared = _count(connection, everyone) - count if merge else 0
        without = left_out(connection, query)
        chosen = select(User.id, User.name, User.email).where(who).order_by(User.id).limit(SAMPLE)
        rows = connection.execute(chosen).all()
    sample = tuple(Sampled(row.id, row.name, masked(row.email or "")) for row in rows)
    return Audience(count, **without, shared_address=shared, sample=sample)


def count(db: Database, query: Mapping[str, Any], *, merge: bool = False, limit: float | None = None) -> int:
    """How many are in the audience of `query` now. `merge`, `limit` and the errors are those of `measure`."""
    with db.read(limit=limit) as connection:
        return _count(connection, merged_audience(query) if merge else audience(query))


def left_out(connection: Connection, query: Mapping[str, Any]) -> dict[str, int]:
    """How many whom `query` selects are not in its audience, by the reasons that `Audience` has for one person."""
    deactivated = unsubscribed = no_address = suppressed = 0
    if connection.scalar(_ANYBODY_LEFT_OUT):  # else there is no need to make a statement of the query
        deactivated, unsubscribed, no_address = connection.execute(left_out_by_reason(query)).one()
    if connection.scalar(_ANYBODY_SUPPRESSED):
        suppressed = _count(connection, suppressed_audience(query))
    counts = {"suppressed": suppressed, "deactivated": deactivated, "unsubscribed": unsubscribed}
    return {**counts, "no_address": no_address}


def _count(connection: Connection, which: ColumnElement[bool]) -> int:
    return connection.execute(select(func.count()).select_from(User).where(which)).scalar_one()


def masked(address: str) -> str:
    """Return `address` with its local part masked: only those who know the address recognise it.

    If the local part has more than three letters, the first is shown.
    """
    local, at, domain = address.rpartition("@")
    return f"{local[0] if len(local) > 3 else ''}***{at}{domain}"


def first_recipient(
    db: Database, query: Mapping[str, Any], *, merge: bool = False, limit: float | None = None
) -> Recipient | None:
    """Return the first user by id in the audience of `query`; None: nobody would receive it.

    `merge`, `limit` and the errors are those of `measure`.
    """
    who = audience(query)
    return _recipient(db, who & ~address_unsubscribed() if merge else who, limit)


def addressee(db: Database, user_id: str) -> Recipient | None:
    """Return the user with this id or, if nobody has it, this username, even if unsubscribed.

    None if there is no such user, or they are inactive or have no address.
    """
    with db.read() as connection:
        found = find_id(connection, user_id)
    return _recipient(db, (User.id == found) & reachable())


def _recipient(db: Database, which: Any, limit: float | None = None) -> Recipient | None:
    found = select(User.id, User.name, User.email).where(which).order_by(User.id).limit(1)
    with db.read(limit=limit) as connection:
        row = connection.execute(found).one_or_none()
    return Recipient(row.id, row.name, row.email or "") if row else None
