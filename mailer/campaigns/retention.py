"""Purge finished campaigns: delete what they said and their addresses, keep their counts and each outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, update

from mailer.campaigns import draft
from mailer.delivery import minutes, same_refusals
from mailer.storage.database import Database
from mailer.storage.models import Batch, BatchState, Campaign, Delivery, IdempotencyKey, RateLimit, RefusedAddress


@dataclass(frozen=True, slots=True)
class Purged:
    """How many campaigns were purged, and from how many of their deliveries an address or a reply was deleted."""

    campaigns: int
    deliveries: int


def purge(db: Database, older_than: int) -> Purged:
    """Purge every campaign that ended more than `older_than` ms ago. A purge that was interrupted can be run again.

    It deletes what the campaign said (its draft), its reason, its minutes, and the addresses and replies of its
    deliveries, since replies quote addresses. Ids, states, counts and times stay. Suppressed addresses stay too, until
    a person lifts them. Recorded refusals of other addresses are deleted when they are as old.
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
        minutes.forget(connection, campaign_id)
        connection.execute(update(Campaign).where(_over(campaign_id)).values(**nothing))
    return stripped


def _strip_range(db: Database, campaign_id: str, ends: Sequence[str]) -> int:
    """Purge the deliveries of one batch in a transaction of its own, so that accepting and delivering hardly wait."""
    first_id, last_id = ends
    theirs = and_(Delivery.campaign_id == campaign_id, Delivery.user_id >= first_id, Delivery.user_id <= last_id)
    kept = or_(Delivery.address.is_not(None), Delivery.reply != "")
    with db.write() as connection:
        if connection.scalar(select(func.count()).where(_over(campaign_id))) != 1:
            return 0  # `retry_failed` has started the campaign again meanwhile
        return connection.execute(update(Delivery).where(theirs, kept).values(address=None, reply="")).rowcount


def _over(campaign_id: str) -> ColumnElement[bool]:
    """A condition: the campaign has ended, and no worker holds a batch of it any more."""
    at_work = exists().where(Batch.campaign_id == campaign_id, Batch.state == BatchState.RUNNING)
    return and_(Campaign.id == campaign_id, Campaign.finished_at.is_not(None), ~at_work)
