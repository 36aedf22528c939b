"""Take the batch of a campaign whose turn it is: lock the one that is due first, and hold it by a lease."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, and_, bindparam, or_, select

from mailer.audience.overlapping_batches import OVERLAP
from mailer.delivery import circuit_breaker, ledger, resting, turns
from mailer.delivery.due_batch import ADMITTED, GOING, LEFT_BEHIND, PENDING, STOPPED, WAITING, Choice
from mailer.delivery.worklist import Claim
from mailer.pacing.admission import Admission
from mailer.storage.dialects import Statement, from_json
from mailer.storage.models import Batch, Campaign, CampaignState, Priority
from mailer.storage.workers import this_process
from mailer.timeline.events import Kind, happened

_BATCH = (Batch.campaign_id, Batch.number, Batch.fence, Batch.first_id, Batch.last_id, Batch.domain, Batch.attempting)
_COUNTS = (Batch.checkpoint, Batch.takeovers, PENDING.label("pending"))
_CAMPAIGN = (Campaign.dry_run, Campaign.merge_addresses, Campaign.state, Campaign.errors, Campaign.caller_id)
_SAYS = (Campaign.version,)


def _due_batch(_kind: str) -> Select[*tuple[Any, ...]]:
    waiting = and_(WAITING, GOING, ADMITTED, Batch.domain == bindparam("domain"))
    due = or_(waiting, and_(LEFT_BEHIND, or_(GOING, STOPPED)))
    mine = and_(Batch.campaign_id == bindparam("campaign"), due)
    query = select(*_BATCH, *_COUNTS, *_CAMPAIGN, *_SAYS, turns.PRIORITY, OVERLAP.correlate(None))
    query = query.join(Campaign, Campaign.id == Batch.campaign_id).where(mine)
    return query.order_by(Batch.due_at, Batch.number).limit(1).with_for_update(of=Batch, skip_locked=True)


_DUE_BATCH = Statement(_due_batch)


class Due(NamedTuple):
    """A batch that is due, and what matters of its campaign. `half_open`: it would try the transport."""

    campaign_id: str
    number: int
    fence: int
    first_id: str
    last_id: str
    domain: str
    attempting: Sequence[str]
    checkpoint: int
    takeovers: int
    pending: int
    dry_run: bool
    merged: bool
    state: str
    errors: int
    caller_id: str
    version: int
    priority: Priority
    overlaps: bool
    half_open: bool


def lock(connection: Connection, choice: Choice, now: int, admission: Admission) -> Due | None:
    """Lock the batch of the campaign that is due first; None: there is none any more, or others are claiming them.

    Batches of domains come first, for as long as those have slots.
    """
    may_send, half_open = circuit_breaker.may_try(connection, now)
    if not may_send:
        return None
    admitted = admission.now(connection, now)
    place = {"campaign": choice.campaign_id, "now": now, "urgent_only": admitted.urgent_only}
    rows = (_DUE_BATCH.row(connection, {**place, "domain": one}) for one in admitted.domains)
    return next((_due(row, half_open=half_open) for row in rows if row is not None), None)


def _due(row: tuple[Any, ...], *, half_open: bool) -> Due:
    due = Due._make([*row, half_open])
    due = due._replace(attempting=from_json(due.attempting), priority=Priority(due.priority))
    return due._replace(dry_run=bool(due.dry_run), merged=bool(due.merged), overlaps=bool(due.overlaps))


def take(
    connection: Connection, row: Due, choice: Choice, now: int, lease: int, admission: Admission, *, checkpoint: int
) -> Claim | None:
    """Take the batch that was locked, for `lease` ms. None: another worker tries the campaign, or has the slots.

    `checkpoint` is the number under which a flight record knows that it was taken.
    """
    room = admission.domains.take(connection, row.domain, now) if row.domain else None
    if room == 0 and not row.attempting:
        return None
    rests = row.state == CampaignState.RESTING
    if rests and not resting.reserve_try(connection, row.campaign_id, now, now + lease):
        return None
    if row.half_open:
        circuit_breaker.reserve(connection, now + lease)
    fence = ledger.take(connection, row.campaign_id, row.number, row.fence, now + lease, checkpoint)
    if row.attempting:  # a batch that waits has nobody in hand: whoever had this one has died, or was frozen
        found = {"batch": row.number, "recipients": len(row.attempting), "by": this_process()}
        happened(connection, now, Kind.WORKER_LOST, row.campaign_id, **found)
    turns.pay(connection, row.caller_id, row.priority, choice.base)
    place = (row.campaign_id, row.number, fence, row.first_id, row.last_id)
    return Claim(
        *(*place, row.dry_run, row.half_open, row.merged, rests, row.errors),
        takeovers=row.takeovers + 1 if row.attempting else row.takeovers,
        pending=row.pending,
        caller_id=row.caller_id,
        priority=row.priority,
        claimed_at=now,
        domain=row.domain,
        overlaps=row.overlaps and not row.dry_run,
        room=room,
        version=row.version,
    )
