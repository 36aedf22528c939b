"""Purge finished campaigns: what they said and the addresses go, the counts and each outcome stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, update

from mailer.campaigns import draft
from mailer.delivery import same_refusals
from mailer.storage.database import Database
from mailer.storage.models import Batch, BatchState, Campaign, Delivery, IdempotencyKey, RateLimit, RefusedAddress


@dataclass(frozen=True, slots=True)
class Purged:
    """How many campaigns were stripped, and how many deliveries of theirs."""

    campaigns: int
    deliveries: int


def purge(db: Database, older_than: int) -> Purged:
    """Strip every campaign that ended more than `older_than` ms ago. Stopped half-way, it goes on when run again.

    What it said (its draft), its reason, addresses and replies (which quote addresses) go; ids, states, counts and
    times stay. So do suppressed addresses, until a person lifts them; refusals that old that suppress nothing are
    forgotten.
    """
    with db.read() as connection:
        cutoff = db.clock(connection) - older_than
        over = and_(Campaign.finished_at < cutoff, Campaign.body != "")
        campaign_ids = connection.scalars(select(Campaign.id).where(over).order_by(Campaign.id)).all()
    stripped = sum(_strip(db, campaign_id) for campaign_id in campaign_ids)
    with db.write() as connection:
        connection.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < cutoff))
        forgotten = (RefusedAddress.refused_at < cutoff, RefusedAddress.suppressed_at.is_(None))
        connection.execute(delete(RefusedAddress).where(*forgotten))
        connection.execute(delete(RateLimit).where(RateLimit.expires_at < cutoff))
    return Purged(len(campaign_ids), stripped)


def _strip(db: Database, campaign_id: str) -> int:
    with db.read() as connection:
        ranges = connection.execute(
            select(Batch.first_id, Batch.last_id).where(Batch.campaign_id == campaign_id).order_by(Batch.number)
        ).all()
    stripped = sum(_strip_range(db, campaign_id, ends) for ends in ranges)
    nothing = {**draft.forgotten(), "reason": None, "fingerprint": None}
    with db.write() as connection:
        same_refusals.forget(connection, campaign_id)
        connection.execute(update(Campaign).where(_over(campaign_id)).values(**nothing))
    return stripped


def _strip_range(db: Database, campaign_id: str, ends: Sequence[str]) -> int:
    """Purge one batch in a transaction of its own, so that accepting and delivering go on meanwhile."""
    first_id, last_id = ends
    theirs = and_(Delivery.campaign_id == campaign_id, Delivery.user_id >= first_id, Delivery.user_id <= last_id)
    kept = or_(Delivery.address.is_not(None), Delivery.reply != "")
    with db.write() as connection:
        if connection.scalar(select(func.count()).where(_over(campaign_id))) != 1:
            return 0  # a person has had it tried again meanwhile
        return connection.execute(update(Delivery).where(theirs, kept).values(address=None, reply="")).rowcount


def _over(campaign_id: str) -> ColumnElement[bool]:
    at_work = exists().where(Batch.campaign_id == campaign_id, Batch.state == BatchState.RUNNING)
    return and_(Campaign.id == campaign_id, Campaign.finished_at.is_not(None), ~at_work)
