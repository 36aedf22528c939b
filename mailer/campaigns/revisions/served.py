"""To how many people each version of a campaign's text went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from mailer.campaigns.revisions.edit import Revision, revisions
from mailer.errors import QueryTimeout
from mailer.storage.database import Database
from mailer.storage.models import Delivery, DeliveryStatus

LIMIT = 1.0  # seconds: all outcomes of the campaign are counted
ARRIVED = (DeliveryStatus.SENT, DeliveryStatus.UNCERTAIN)  # or may have


@dataclass(frozen=True, slots=True)
class Served:
    """One version, and how many people have it or may have it; None: the counting took too long."""

    revision: Revision
    people: int | None


def served(
    db: Database, campaign_id: str, caller_id: str | None = None, *, limit: float = LIMIT
) -> tuple[Sequence[Served], int]:
    """Every version, the first one first, and for how many people nobody knows which they have.

    Raises `NotFound` like `revisions`. A campaign whose text was never replaced costs nothing: nobody is counted.
    """
    found = revisions(db, campaign_id, caller_id)
    if len(found) < 2:
        return [Served(one, None) for one in found], 0
    version = func.coalesce(Delivery.version, 1)
    theirs = (Delivery.campaign_id == campaign_id, Delivery.status.in_(ARRIVED))
    try:
        with db.read(limit=limit) as connection:
            rows = connection.execute(select(version, func.count()).where(*theirs).group_by(version)).all()
    except QueryTimeout:
        return [Served(one, None) for one in found], 0
    people: dict[int, int] = {row[0]: row[1] for row in rows}
    return [Served(one, people.get(one.version, 0)) for one in found], people.get(0, 0)
