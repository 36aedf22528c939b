"""Find whose turn it is to be delivered, and the batch that is due first: what decides what is delivered next.

The campaigns that may be delivered are put in turn, as `turns` says. Then they are looked at in this order, by one
probe of an index for a batch that is due, until there are enough. So campaigns of which all batches wait for later cost
one probe each, and batches behind the first nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    Integer,
    Select,
    Subquery,
    and_,
    bindparam,
    case,
    false,
    literal,
    not_,
    or_,
    select,
    true,
    union_all,
)

from mailer.audience.overlapping_batches import OVERLAP
from mailer.delivery import circuit_breaker, ledger, resting, turns
from mailer.delivery.worklist import Claim
from mailer.pacing.admission import Admission, Admitted
from mailer.storage.dialects import Statement, from_json, one_of
from mailer.storage.models import Batch, BatchState, Campaign, CampaignState, Priority, Turn
from mailer.storage.models.states import ACTIVE

CHOICES = 20  # campaigns that a claim tries in turn, since others may be claiming at the same moment

# how many recipients of a batch have no record yet
PENDING = Batch.planned - sum(ledger.COUNTERS.values(), start=literal(0))
_ONE = and_(Batch.campaign_id == bindparam("campaign"), Batch.number == bindparam("number"))
# who of a batch was being attempted, and how many have no record yet; for whoever holds it
IN_HAND = select(Batch.attempting, PENDING.label("pending")).where(_ONE)
_BATCH = (Batch.campaign_id, Batch.number, Batch.fence, Batch.first_id, Batch.last_id, Batch.domain, Batch.attempting)
_COUNTS = (Batch.takeovers, PENDING.label("pending"))
_CAMPAIGN = (Campaign.dry_run, Campaign.merge_addresses, Campaign.state, Campaign.errors, Campaign.caller_id)
_NOW = bindparam("now", type_=BigInteger)
_GOING = or_(Campaign.state == CampaignState.RUNNING, resting.due(_NOW))
_ADMITTED = or_(Campaign.priority == Priority.URGENT, not_(bindparam("urgent_only", type_=Boolean)))
_STOPPED = Campaign.state.in_([CampaignState.CANCELLED, CampaignState.FAILED])
_WAITING = and_(Batch.state == BatchState.WAITING, Batch.due_at <= _NOW)
_LEFT_BEHIND = and_(Batch.state == BatchState.RUNNING, Batch.due_at <= _NOW)  # its holder has died


@dataclass(frozen=True, slots=True)
class Choice:
    """A campaign whose turn it is. `base` is where accounts began when it was found."""

    campaign_id: str
    base: int


def unplanned(now: ColumnElement[int] | int) -> ColumnElement[bool]:
    """A condition: the campaign has no batches yet, and a planner may take it at `now` (ms since 1970)."""
    early = Campaign.state.in_([CampaignState.ACCEPTED, CampaignState.PLANNING])
    unbegun = and_(Campaign.state == CampaignState.RESTING, Campaign.started_at.is_(None))
    return and_(or_(early, unbegun), Campaign.due_at <= now)


def _ranked() -> Subquery:
    """All campaigns that may be delivered, in turn. `left`: a batch was left behind by a holder that died.

    Of a stopped campaign nothing more is sent, but what a dead worker was sending must go on record. It comes first.
    """
    used = case((_STOPPED, -1), else_=turns.USED).label("used")
    facts = (Campaign.id, Campaign.turn_at, turns.COST.label("cost"), used)
    going = select(*facts, false().label("left")).outerjoin(Turn, turns.ACCOUNT).where(_GOING, _ADMITTED)
    left = select(*facts, true()).join(Batch, Batch.campaign_id == Campaign.id).outerjoin(Turn, turns.ACCOUNT)
    found = union_all(going, left.where(_LEFT_BEHIND, or_(_GOING, _STOPPED))).subquery()
    ranked = select(found).order_by(found.c.used, found.c.cost, found.c.turn_at, found.c.id)
    return ranked.offset(0).subquery()  # with an offset, it is sorted before anybody looks for batches


_RANKED = _ranked()


def _has_work(kind: str) -> ColumnElement[bool]:
    mine = and_(Batch.campaign_id == _RANKED.c.id, _WAITING, one_of(kind, Batch.domain, "domains"))
    first = select(literal(1)).where(mine).limit(1).correlate(_RANKED)
    return or_(_RANKED.c.left, first.scalar_subquery().is_not(None))


def _in_turn(kind: str) -> Select[*tuple[Any, ...]]:
    return select(_RANKED.c.id).where(_has_work(kind)).limit(CHOICES)


def _somebody_else(kind: str) -> Select[*tuple[Any, ...]]:
    used, cost = bindparam("used", type_=BigInteger), bindparam("cost", type_=Integer)
    before_me = and_(_RANKED.c.id != bindparam("mine"), _RANKED.c.used <= used, _RANKED.c.cost < cost)
    return select(_RANKED.c.id).where(before_me, _has_work(kind)).limit(1)


def _due_batch(_kind: str) -> Select[*tuple[Any, ...]]:
    waiting = and_(_WAITING, _GOING, _ADMITTED, Batch.domain == bindparam("domain"))
    due = or_(waiting, and_(_LEFT_BEHIND, or_(_GOING, _STOPPED)))
    mine = and_(Batch.campaign_id == bindparam("campaign"), due)
    query = select(*_BATCH, *_COUNTS, *_CAMPAIGN, turns.PRIORITY, OVERLAP.correlate(None))
    query = query.join(Campaign, Campaign.id == Batch.campaign_id).where(mine)
    return query.order_by(Batch.due_at, Batch.number).limit(1).with_for_update(of=Batch, skip_locked=True)


# they run for every batch, several times a second beside it, and while there is none
_IN_TURN = Statement(_in_turn)
_SOMEBODY_ELSE = Statement(_somebody_else)
_DUE_BATCH = Statement(_due_batch)
_OTHER = and_(Campaign.state.in_(ACTIVE), Campaign.id != bindparam("mine"))
_OTHERS = Statement(lambda _kind: select(Campaign.id).where(_OTHER).limit(1))
_UNPLANNED = Statement(lambda _kind: select(Campaign.id).where(unplanned(_NOW)).limit(1))


def choices(connection: Connection, now: int, admission: Admission) -> Sequence[Choice]:
    """Return the campaigns that may be delivered at `now` (ms since 1970), whose turn it is first: at most `CHOICES`.

    There are none while the circuit breaker is open, or all sending is held.
    """
    return _choices(connection, now, admission.now(connection, now))


def _choices(connection: Connection, now: int, admitted: Admitted) -> Sequence[Choice]:
    if not circuit_breaker.may_send(connection, now):
        return ()
    base = turns.base(connection)
    found = _IN_TURN.rows(connection, {"now": now, "base": base, **_parameters(admitted)})
    return [Choice(one, base) for (one,) in found]


class Due(NamedTuple):
    """A batch that is due, and what matters of its campaign. `half_open`: it would try the transport."""

    campaign_id: str
    number: int
    fence: int
    first_id: str
    last_id: str
    domain: str
    attempting: Sequence[str]
    takeovers: int
    pending: int
    dry_run: bool
    merged: bool
    state: str
    errors: int
    caller_id: str
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


def alone(connection: Connection, claim: Claim) -> bool:
    """Whether no other campaign is under way, so that nobody's turn can have come."""
    return _OTHERS.row(connection, {"mine": claim.campaign_id}) is None


def next_slot(connection: Connection, now: int, admission: Admission) -> float | None:
    """The seconds until a batch may be claimed that only waits for a slot of its domain; None: there is none."""
    admitted = admission.now(connection, now)
    waiting = replace(admitted, domains=admitted.waiting)
    return admitted.wait / 1000 if admitted.waiting and _choices(connection, now, waiting) else None


def take(connection: Connection, row: Due, choice: Choice, now: int, lease: int, admission: Admission) -> Claim | None:
    """Take the batch that was locked, for `lease` ms. None: another worker tries the campaign, or has the slots."""
    room = admission.domains.take(connection, row.domain, now) if row.domain else None
    if room == 0 and not row.attempting:
        return None
    rests = row.state == CampaignState.RESTING
    if rests and not resting.reserve_try(connection, row.campaign_id, now, now + lease):
        return None
    if row.half_open:
        circuit_breaker.reserve(connection, now + lease)
    fence = ledger.take(connection, row.campaign_id, row.number, row.fence, now + lease)
    turns.pay(connection, row.caller_id, row.priority, choice.base)
    place = (row.campaign_id, row.number, fence, row.first_id, row.last_id)
    return Claim(
        *(*place, row.dry_run, row.half_open, row.merged, rests, row.errors),
        takeovers=row.takeovers + 1 if row.attempting else row.takeovers,
        pending=max(0, row.pending - len(row.attempting)),
        caller_id=row.caller_id,
        priority=row.priority,
        claimed_at=now,
        domain=row.domain,
        overlaps=row.overlaps and not row.dry_run,
        room=room,
    )


def work_is_due(connection: Connection, now: int, admission: Admission) -> bool:
    """Whether there is a campaign to plan, or a batch to deliver that is admitted, at `now` (ms since 1970).

    A batch that waits for a slot of its domain counts too: the slot comes soon, and is to find somebody who waits.
    """
    admitted = admission.now(connection, now)
    all_domains = replace(admitted, domains=(*admitted.domains, *admitted.waiting))
    return _UNPLANNED.row(connection, {"now": now}) is not None or bool(_choices(connection, now, all_domains))


def turn_is_over(connection: Connection, claim: Claim, now: int, admission: Admission) -> bool:
    """Whether the holder of `claim` should give the batch back, since another campaign's turn has come.

    A campaign that waits to be planned may be a small one: whoever gives a batch back plans before claiming again.
    """
    if _UNPLANNED.row(connection, {"now": now}) is not None:
        return True
    if not circuit_breaker.may_send(connection, now):
        return False
    base = turns.base(connection)
    place = {"used": turns.standing(connection, claim, now, base), "cost": turns.outranked(claim, now)}
    place |= {"now": now, "base": base, **_parameters(admission.now(connection, now))}
    return _SOMEBODY_ELSE.row(connection, {"mine": claim.campaign_id, **place}) is not None


def _parameters(admitted: Admitted) -> dict[str, Any]:
    return {"urgent_only": admitted.urgent_only, "domains": json.dumps(admitted.domains)}
