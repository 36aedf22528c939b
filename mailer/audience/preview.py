"""Preview a campaign: find out who would receive it, without sending it."""

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

SAMPLE = 10  # users shown


@dataclass(frozen=True, slots=True)
class Sampled:
    """A user of an audience as callers may see them: with the address masked."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Audience:
    """How many users would receive a campaign that is accepted now, and some of them.

    `suppressed` is how many more would receive it if their addresses were not suppressed.
    """

    count: int
    suppressed: int
    sample: tuple[Sampled, ...]


def measure(db: Database, query: Mapping[str, Any], *, merge: bool = False, limit: float | None = None) -> Audience:
    """Return the audience of `query` as it is now. The sample is its first users by id.

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
