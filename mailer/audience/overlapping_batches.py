"""Whose a recipient is, where the batches of a campaign overlap.

A campaign has batches of their own for domains that have a rate of their own, beside those for all other addresses. A
recipient with a record belongs to the batch that made it (`Delivery.batch`). One without belongs to the first of these
batches whose range has the user's id and which are not done:

1. one for the domain of the user's address, as the address is now;
2. the one for all other addresses;
3. any, the one with the lowest number.

So nobody is lost or written to twice who changes the address while the campaign runs. A batch leaves a user to another
at its next checkpoint. It leaves alone whom another is sending to at this moment. When it has come to its end, it looks
once more for users who have become its own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from sqlalchemy import ColumnElement, Connection, and_, bindparam, exists, false, not_, or_, select

from mailer.storage.dialects import in_turn
from mailer.storage.models import Batch, BatchState, Delivery, User, comparable_address

_OPEN = Batch.state.in_([BatchState.WAITING, BatchState.RUNNING])


class Held(Protocol):
    """A batch that a worker holds. An empty `domain` means that it is for all addresses that have no batches."""

    @property
    def campaign_id(self) -> str: ...  # noqa: D102
    @property
    def number(self) -> int: ...  # noqa: D102
    @property
    def first_id(self) -> str: ...  # noqa: D102
    @property
    def last_id(self) -> str: ...  # noqa: D102
    @property
    def domain(self) -> str: ...  # noqa: D102


class Other(NamedTuple):
    """An open batch whose range overlaps with that of the one in hand. `attempting`: to whom it is sending."""

    number: int
    first_id: str
    last_id: str
    domain: str
    attempting: Sequence[str]


_OTHERS = select(Batch.number, Batch.first_id, Batch.last_id, Batch.domain, Batch.attempting).where(
    Batch.campaign_id == bindparam("campaign"),
    Batch.number != bindparam("number"),
    Batch.first_id <= bindparam("last"),
    Batch.last_id >= bindparam("first"),
    _OPEN,
)
OVERLAP = exists().where(
    Batch.campaign_id == bindparam("campaign"), Batch.state.in_(list(BatchState)), Batch.domain > ""
)
"""A condition: the campaign has batches for single domains, so that its batches overlap."""


def is_at(domain: str) -> ColumnElement[bool]:
    """A condition: the user's address is at `domain`, and not at a part of it. Domains have no wildcards of LIKE."""
    return comparable_address().like(f"%@{domain}")


def own(connection: Connection, batch: Held) -> ColumnElement[bool]:
    """A condition: a user without a record, in the range of `batch`, belongs to it, and nobody is sending to them."""
    place = {"campaign": batch.campaign_id, "number": batch.number, "first": batch.first_id, "last": batch.last_id}
    others = [Other(*row) for row in connection.execute(_OTHERS, place)]
    busy = [user_id for other in others for user_id in other.attempting]
    theirs = or_(*_theirs(batch, others))
    return and_(not_(theirs), User.id.not_in(busy)) if busy else not_(theirs)


def _theirs(batch: Held, others: Sequence[Other]) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [false()]
    for other in others:
        covered = and_(User.id >= other.first_id, User.id <= other.last_id)
        if not batch.domain:
            found.append(and_(covered, is_at(other.domain)))
        elif other.domain != batch.domain:
            first = not other.domain or other.number < batch.number
            elsewhere = not_(is_at(batch.domain))
            found.append(and_(covered, elsewhere, *(() if first else (is_at(other.domain),))))
    return found


def left_to_others(connection: Connection, batch: Held, user_ids: Collection[str]) -> set[str]:
    """Return who of these users, who had no record when the batch was read, are not its own any more.

    Checkpoints of a campaign with such batches follow one another, so that each sees to whom the others are sending.
    """
    in_turn(connection, f"batches of {batch.campaign_id}")
    mine = own(connection, batch)
    recorded = exists().where(Delivery.campaign_id == batch.campaign_id, Delivery.user_id == User.id)
    lost = select(User.id).where(User.id.in_(user_ids), or_(not_(mine), recorded))
    return set(connection.scalars(lost))
