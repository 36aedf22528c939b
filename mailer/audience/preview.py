"""A preview: who would receive a campaign, without sending it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from mailer.audience.conditions import audience, reachable, suppressed_audience
from mailer.audience.shared_addresses import address_unsubscribed, merged_audience
from mailer.directory.users import find_id
from mailer.messages.recipient import Recipient
from mailer.storage.database import Database
from mailer.storage.models import User

SAMPLE = 10


@dataclass(frozen=True, slots=True)
class Sampled:
    """One of an audience, with the address masked: whoever asks may see no more."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Audience:
    """How many users would receive a campaign accepted now, and some of them.

    `suppressed`: how many do not receive it only because their addresses are suppressed.
    """

    count: int
    suppressed: int
    sample: tuple[Sampled, ...]


def measure(db: Database, query: Mapping[str, Any], *, merge: bool = False, limit: float | None = None) -> Audience:
    """The audience of `query` now; the sample is its first users by id.

    With `merge`, users who share an address count as one. Raises `InvalidQuery`, and `QueryTimeout` after `limit`
    seconds.
    """
    who, left_out = merged_audience(query) if merge else audience(query), suppressed_audience(query)
    with db.read(limit=limit) as connection:
        count, suppressed = (
            connection.execute(select(func.count()).select_from(User).where(which)).scalar_one()
            for which in (who, left_out)
        )
        rows = connection.execute(select(User.name, User.email).where(who).order_by(User.id).limit(SAMPLE)).all()
    return Audience(count, suppressed, tuple(Sampled(row.name, masked(row.email or "")) for row in rows))


def masked(address: str) -> str:
    """`address` with its first letter, if it has more than three, and its domain: known to whoever knows it already."""
    local, at, domain = address.rpartition("@")
    return f"{local[0] if len(local) > 3 else ''}***{at}{domain}"


def first_recipient(
    db: Database, query: Mapping[str, Any], *, merge: bool = False, limit: float | None = None
) -> Recipient | None:
    """The first of the audience of `query` by id; None: nobody would receive it. `merge` and `limit` as above."""
    who = audience(query)
    return _recipient(db, who & ~address_unsubscribed() if merge else who, limit)


def addressee(db: Database, user_id: str) -> Recipient | None:
    """The user with this id or else username, even if unsubscribed; None: nobody, or not reachable."""
    with db.read() as connection:
        found = find_id(connection, user_id)
    return _recipient(db, (User.id == found) & reachable())


def _recipient(db: Database, which: Any, limit: float | None = None) -> Recipient | None:
    found = select(User.id, User.name, User.email).where(which).order_by(User.id).limit(1)
    with db.read(limit=limit) as connection:
        row = connection.execute(found).one_or_none()
    return Recipient(row.id, row.name, row.email or "") if row else None
