"""Find the batch that is due first, of all campaigns: the one query that decides what is delivered next."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Connection, Select, and_, bindparam, literal, or_, select

from mailer.delivery import hold, ledger, resting
from mailer.storage.models import Batch, BatchState, Campaign, CampaignState

# how many recipients of a batch have no record yet
PENDING = Batch.planned - sum(ledger.COUNTERS.values(), start=literal(0))
_BATCH = (Batch.campaign_id, Batch.number, Batch.fence, Batch.first_id, Batch.last_id, Batch.attempting)
_COUNTS = (Batch.takeovers, PENDING.label("pending"))
_CAMPAIGN = (Campaign.dry_run, Campaign.merge_addresses, Campaign.state, Campaign.errors)
_STOPPED = (CampaignState.CANCELLED, CampaignState.FAILED)


def _due_batch(*columns: Any) -> Select[*tuple[Any, ...]]:
    now = bindparam("now", type_=BigInteger)
    # a stopped campaign sends nothing more, but what a dead worker was sending must go on record
    left_over = and_(Campaign.state.in_(_STOPPED), Batch.state == BatchState.RUNNING)
    wanted = or_(Campaign.state == CampaignState.RUNNING, resting.due(now), left_over)
    states = Batch.state.in_([BatchState.WAITING, BatchState.RUNNING])
    due = and_(states, Batch.due_at <= now, wanted, bindparam("may_send", type_=Boolean))
    query = select(*columns).join(Campaign, Campaign.id == Batch.campaign_id).where(due)
    return query.order_by(Batch.due_at, Batch.campaign_id, Batch.number).limit(1)


# built once: they run for every batch, and while there is none
DUE_BATCH = _due_batch(*_BATCH, *_COUNTS, *_CAMPAIGN)
DUE_BATCH_LOCKED = DUE_BATCH.with_for_update(of=Batch, skip_locked=True)
DUE_CAMPAIGN = _due_batch(Batch.campaign_id)


def parameters(connection: Connection, now: int) -> dict[str, Any]:
    """Return the queries' parameters at `now` (ms since 1970). Nothing is due while all sending is held up."""
    return {"now": now, "may_send": hold.may_send(connection, now)}
