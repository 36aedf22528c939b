"""Write outcomes to deliveries, counters to batches and ends to campaigns, always inside the caller's transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    Update,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    or_,
    select,
    update,
)

from mailer.delivery.checkpoints import outcomes
from mailer.delivery.flight.recorder import Intent
from mailer.delivery.worklist import Claim, Result
from mailer.storage.dialects import Statement
from mailer.storage.lease import Leases
from mailer.storage.models import Batch, BatchState, Campaign, CampaignState, Delivery, DeliveryStatus
from mailer.timeline.events import Kind, happened

COUNTERS = {status: getattr(Batch, status) for status in DeliveryStatus}
LEASES = Leases(Batch, Batch.campaign_id, Batch.number, ends=Batch.due_at)


class LeaseLost(Exception):
    """Another worker holds the batch now, so nothing more of it may be sent or written."""


def fenced(connection: Connection, claim: Claim, **values: Any) -> None:
    """Update the batch if the claim still holds it. Otherwise raise `LeaseLost`, which rolls the transaction back."""
    if not LEASES.write(connection, (claim.campaign_id, claim.number), claim.fence, values):
        raise LeaseLost


def take(connection: Connection, campaign_id: str, number: int, fence: int, until: int, checkpoint: int) -> int:
    """Take a batch that the caller has locked until `until` (ms since 1970), and return its new fence."""
    held = {"held_campaign": campaign_id, "held_number": number, "held_fence": fence}
    _TAKE.changed(connection, {**held, "ends": until, "held_checkpoint": checkpoint})
    return fence + 1


def record(
    connection: Connection,
    claim: Claim,
    results: Sequence[Result],
    intent: Intent,
    *,
    now: int,
    lease: int,
    untried: int,
    takeovers: int,
) -> Sequence[Result]:
    """Write outcomes, bring the batch's counters up to date, and see that half of its lease is left or more.

    A lease that has more than half of its time left keeps its end: PostgreSQL would add to an index with each
    checkpoint, and the heartbeat extends the lease often enough.

    `now` is in ms since 1970, `lease` in ms. `intent` is who is attempted next. `untried` is how many recipients of the
    batch have no record yet; `planned` is computed from it, since users come and go while a batch runs. `takeovers` is
    how many processes in a row died while they were sending the batch. Returns `results` as they were written: without
    what was erased meanwhile. Raises `LeaseLost`.
    """
    changes = Counter(outcomes.counted(results))
    changes.subtract([result.item.status for result in results if result.item.status is not None])
    values: dict[str, Any] = {f"{status.value}_added": changes[status] for status in COUNTERS}
    values |= {"enough": now + lease // 2, "renewed": now + lease, "untried": untried}
    values |= {"held_takeovers": takeovers, "held_checkpoint": intent.number, "held_attempting": intent.user_ids}
    if _RECORD.changed(connection, {**_held(claim), **values}) != 1:
        raise LeaseLost
    return outcomes.write(connection, claim, results, now) if results else results


_HELD = LEASES.mine((bindparam("held_campaign"), bindparam("held_number")), bindparam("held_fence"))
_CHECKPOINT = bindparam("held_checkpoint", type_=BigInteger)
_TAKEN = {
    "state": BatchState.RUNNING.value,
    "fence": Batch.fence + 1,
    "due_at": bindparam("ends"),
    "checkpoint": _CHECKPOINT,
}
_TAKE = Statement(lambda _kind: update(Batch).where(_HELD).values(_TAKEN))


def _recording(_kind: str) -> Update:
    counts = {status.value: counter + bindparam(f"{status}_added") for status, counter in COUNTERS.items()}
    planned = sum(counts.values(), start=cast(bindparam("untried"), Integer))
    enough, renewed = (bindparam(name, type_=BigInteger) for name in ("enough", "renewed"))
    rest: dict[str, Any] = {"due_at": case((Batch.due_at >= enough, Batch.due_at), else_=renewed)}
    rest |= {"attempting": bindparam("held_attempting"), "takeovers": bindparam("held_takeovers")}
    rest["checkpoint"] = _CHECKPOINT
    return update(Batch).where(_HELD).values(**counts, **rest, planned=planned)


_RECORD = Statement(_recording)
_GIVEN_BACK = {"state": bindparam("left"), "due_at": func.coalesce(bindparam("due", type_=BigInteger), Batch.due_at)}
_GIVE_BACK = Statement(lambda _kind: update(Batch).where(_HELD).values(_GIVEN_BACK))


def _in_batch(campaign_id: Any, number: Any, first_id: Any, last_id: Any) -> ColumnElement[bool]:
    in_range = (Delivery.user_id >= first_id, Delivery.user_id <= last_id)
    owned = or_(Delivery.batch.is_(None), Delivery.batch == number)
    return and_(Delivery.campaign_id == campaign_id, *in_range, owned)


_IN_BATCH = _in_batch(*map(bindparam, ("campaign", "number", "first", "last")))
_THE_BATCH = and_(Batch.campaign_id == bindparam("campaign"), Batch.number == bindparam("number"))
# without any of these there is nothing to look for among its deliveries
_SOME_AGAIN = exists().where(_THE_BATCH, Batch.deferred + Batch.uncertain > 0)
_NEXT_DUE = Statement(lambda _kind: select(func.min(Delivery.due_at)).where(_SOME_AGAIN, _IN_BATCH))


def next_due(connection: Connection, claim: Claim) -> int | None:
    """Return when the first of the batch's deliveries is to be tried again, in ms since 1970; None: all are final."""
    place = {"campaign": claim.campaign_id, "number": claim.number, "first": claim.first_id, "last": claim.last_id}
    [due] = _NEXT_DUE.row(connection, place)
    return None if due is None else int(due)


def end_open(connection: Connection, claim: Claim, now: int) -> int:
    """End the batch's deliveries after a cancellation: deferred ones become skipped, uncertain ones stay uncertain.

    Returns how many were skipped. Raises `LeaseLost`.
    """
    theirs = _in_batch(claim.campaign_id, claim.number, claim.first_id, claim.last_id)
    skipped = _end_deliveries(connection, theirs, now)
    fenced(connection, claim, skipped=Batch.skipped + skipped, deferred=Batch.deferred - skipped)
    return skipped


def close_waiting(connection: Connection, campaign_id: str, now: int) -> int:
    """Do as `end_open` does for all batches that nobody holds. The caller must hold a lock on the campaign's row."""
    waiting = and_(Batch.campaign_id == campaign_id, Batch.state == BatchState.WAITING)
    connection.execute(select(Batch.number).where(waiting).with_for_update())  # so that no worker changes them
    theirs = and_(Delivery.campaign_id == campaign_id, exists().where(waiting, of_batch()))
    skipped = _end_deliveries(connection, theirs, now)
    values = {"skipped": Batch.skipped + Batch.deferred, "deferred": 0}
    connection.execute(update(Batch).where(waiting).values(state=BatchState.DONE, **values))
    return skipped


def _end_deliveries(connection: Connection, theirs: ColumnElement[bool], now: int) -> int:
    deferred = and_(theirs, Delivery.status == DeliveryStatus.DEFERRED)
    skipped = {"status": DeliveryStatus.SKIPPED, "reply": "The campaign was cancelled.", "due_at": None}
    count = connection.execute(update(Delivery).where(deferred).values(updated_at=now, **skipped)).rowcount
    connection.execute(update(Delivery).where(theirs, Delivery.due_at.is_not(None)).values(due_at=None))
    return count


def reopen(connection: Connection, campaign_id: str, statuses: Collection[DeliveryStatus], now: int) -> int:
    """Have the final deliveries with one of `statuses` tried again, as if for the first time; return how many they are.

    The caller must hold a lock on the campaign's row.
    """
    mine = Batch.campaign_id == campaign_id
    connection.execute(select(Batch.number).where(mine).with_for_update())  # so that no worker changes them meanwhile
    resting = and_(Delivery.campaign_id == campaign_id, Delivery.due_at.is_(None))
    counts = {s: _count_in_batch(and_(resting, Delivery.status == s)) for s in statuses}
    moved: dict[str, Any] = {status.value: COUNTERS[status] - count for status, count in counts.items()}
    moved["deferred"] = sum(counts.values(), start=Batch.deferred)
    idle = Batch.state != BatchState.RUNNING
    moved |= {"state": case((idle, BatchState.WAITING.value), else_=Batch.state)}
    moved |= {"due_at": case((idle, now), else_=Batch.due_at)}
    concerned = exists().where(resting, Delivery.status.in_(statuses), of_batch())
    connection.execute(update(Batch).where(mine, concerned).values(**moved))
    fresh = {"status": DeliveryStatus.DEFERRED, "attempts": 0, "uncertain_attempts": 0, "first_at": now, "due_at": now}
    again = update(Delivery).where(resting, Delivery.status.in_(statuses)).values(updated_at=now, **fresh)
    return connection.execute(again).rowcount


def _count_in_batch(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return select(func.count()).select_from(Delivery).where(condition, of_batch()).correlate(Batch).scalar_subquery()


def of_batch() -> ColumnElement[bool]:
    """A condition: of a delivery and a batch of the same campaign, the delivery belongs to the batch."""
    owned = or_(Delivery.batch.is_(None), Delivery.batch == Batch.number)
    return and_(Delivery.user_id.between(Batch.first_id, Batch.last_id), owned)


def give_back(connection: Connection, claim: Claim, state: str | None, now: int, *, more: bool) -> int:
    """Give up the lease. The batch then waits until its next delivery is due, or is done if none will be.

    With `more` there are recipients left, and the batch is due at once. The last batch that is done completes the
    campaign. `state` is the state of the campaign, whose row the caller has locked. Returns how many deliveries it
    ended as skipped, because the campaign was cancelled. Raises `LeaseLost`.
    """
    due = None if state == CampaignState.CANCELLED else now if more else next_due(connection, claim)
    if due is not None:
        _leave(connection, claim, BatchState.WAITING, due)
        return 0
    skipped = end_open(connection, claim, now) if state == CampaignState.CANCELLED else 0
    _leave(connection, claim, BatchState.DONE, None)
    complete_campaign(connection, claim.campaign_id, now)
    return skipped


def _leave(connection: Connection, claim: Claim, state: BatchState, due: int | None) -> None:
    if _GIVE_BACK.changed(connection, {**_held(claim), "left": state.value, "due": due}) != 1:
        raise LeaseLost


def complete_campaign(connection: Connection, campaign_id: str, now: int) -> None:
    """Complete the campaign if all its batches are done. The caller must hold a lock on the campaign's row."""
    if _COMPLETE.changed(connection, {"campaign": campaign_id, "now": now}):
        happened(connection, now, Kind.COMPLETED, campaign_id)


def _completing(_kind: str) -> Update:
    theirs = Batch.campaign_id == bindparam("campaign")
    unfinished = exists().where(theirs, Batch.state != BatchState.DONE)
    trouble = exists().where(theirs, Batch.failed + Batch.uncertain > 0)
    over = case((trouble, CampaignState.COMPLETED_WITH_ISSUES.value), else_=CampaignState.COMPLETED.value)
    ongoing = Campaign.state.in_([CampaignState.RUNNING, CampaignState.RESTING, CampaignState.PAUSED])
    ended = update(Campaign).where(Campaign.id == bindparam("campaign"), ongoing, ~unfinished)
    return ended.values(state=over, finished_at=bindparam("now", type_=BigInteger), reason=None)


_COMPLETE = Statement(_completing)


def _held(claim: Claim) -> dict[str, Any]:
    return {"held_campaign": claim.campaign_id, "held_number": claim.number, "held_fence": claim.fence}
