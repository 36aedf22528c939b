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
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, bindparam, exists, literal, not_, or_, select

from mailer.delivery.worklist import Claim
from mailer.storage.dialects import in_turn
from mailer.storage.models import Batch, BatchState, Delivery, User, comparable_address

_OPEN = Batch.state.in_([BatchState.WAITING, BatchState.RUNNING])


class Other(NamedTuple):
    """An open batch whose range overlaps with the claimed one's. `attempting`: to whom it is sending."""

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
_FOR_DOMAINS = exists().where(
    Batch.campaign_id == bindparam("campaign"), Batch.state.in_(list(BatchState)), Batch.domain > ""
)
_HAS_FOR_DOMAINS = select(_FOR_DOMAINS)


def overlap(connection: Connection, campaign_id: str) -> bool:
    """Whether the campaign has batches for single domains, so that its batches overlap."""
    return bool(connection.scalar(_HAS_FOR_DOMAINS, {"campaign": campaign_id}))


def is_at(domain: str) -> ColumnElement[bool]:
    """A condition: the user's address is at `domain`, and not at a part of it. Domains have no wildcards of LIKE."""
    return comparable_address().like(f"%@{domain}")


def unclaimed(connection: Connection, claim: Claim) -> ColumnElement[bool]:
    """A condition: a user without a record, in the range of `claim`, belongs to it, and nobody is sending to them."""
    place = {"campaign": claim.campaign_id, "number": claim.number, "first": claim.first_id, "last": claim.last_id}
    others = [Other(*row) for row in connection.execute(_OTHERS, place)]
    busy = [user_id for other in others for user_id in other.attempting]
    theirs = or_(*_theirs(claim, others))
    return and_(not_(theirs), User.id.not_in(busy)) if busy else not_(theirs)


def _theirs(claim: Claim, others: Sequence[Other]) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [literal(value=False)]
    for other in others:
        covered = User.id.between(other.first_id, other.last_id)
        if not claim.domain:
            found.append(and_(covered, is_at(other.domain)))
        elif other.domain != claim.domain:
            first = not other.domain or other.number < claim.number
            elsewhere = not_(is_at(claim.domain))
            found.append(and_(covered, elsewhere, *(() if first else (is_at(other.domain),))))
    return found


def left_to_others(connection: Connection, claim: Claim, user_ids: Collection[str]) -> set[str]:
    """Return who of these users, who had no record when the batch was read, are not its own any more.

    Checkpoints of a campaign with such batches follow one another, so that each sees to whom the others are sending.
    """
    in_turn(connection, f"batches of {claim.campaign_id}")
    mine = unclaimed(connection, claim)
    recorded = exists().where(Delivery.campaign_id == claim.campaign_id, Delivery.user_id == User.id)
    lost = select(User.id).where(User.id.in_(user_ids), or_(not_(mine), recorded))
    return set(connection.scalars(lost))
