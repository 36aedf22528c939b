"""Find whose turn it is to be delivered, and the batch that is due first: what decides what is delivered next.

The campaigns that may be delivered are put in turn, as `turns` says. Then they are looked at in this order, by one
probe of an index for a batch that is due, until there are enough. So campaigns of which all batches wait for later cost
one probe each, and batches behind the first nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

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

from mailer.delivery import circuit_breaker, ledger, resting, turns
from mailer.delivery.worklist import Claim
from mailer.pacing.admission import Admission, Admitted
from mailer.storage.dialects import Statement, one_of
from mailer.storage.models import Batch, BatchState, Campaign, CampaignState, Priority, Turn
from mailer.storage.models.states import ACTIVE

CHOICES = 20  # campaigns that a claim tries in turn, since others may be claiming at the same moment

# how many recipients of a batch have no record yet
PENDING = Batch.planned - sum(ledger.COUNTERS.values(), start=literal(0))
_ONE = and_(Batch.campaign_id == bindparam("campaign"), Batch.number == bindparam("number"))
# who of a batch was being attempted, and how many have no record yet; for whoever holds it
IN_HAND = select(Batch.attempting, PENDING.label("pending")).where(_ONE)
_NOW = bindparam("now", type_=BigInteger)
GOING = or_(Campaign.state == CampaignState.RUNNING, resting.due(_NOW))
ADMITTED = or_(Campaign.priority == Priority.URGENT, not_(bindparam("urgent_only", type_=Boolean)))
STOPPED = Campaign.state.in_([CampaignState.CANCELLED, CampaignState.FAILED])
WAITING = and_(Batch.state == BatchState.WAITING, Batch.due_at <= _NOW)
LEFT_BEHIND = and_(Batch.state == BatchState.RUNNING, Batch.due_at <= _NOW)  # its holder has died


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
    used = case((STOPPED, -1), else_=turns.USED).label("used")
    facts = (Campaign.id, Campaign.turn_at, turns.COST.label("cost"), used, turns.OVERDUE_SINCE.label("overdue"))
    going = select(*facts, false().label("left")).outerjoin(Turn, turns.ACCOUNT).where(GOING, ADMITTED)
    left = select(*facts, true()).join(Batch, Batch.campaign_id == Campaign.id).outerjoin(Turn, turns.ACCOUNT)
    found = union_all(going, left.where(LEFT_BEHIND, or_(GOING, STOPPED))).subquery()
    ranked = select(found).order_by(found.c.used, found.c.overdue, found.c.cost, found.c.turn_at, found.c.id)
    return ranked.offset(0).subquery()  # with an offset, it is sorted before anybody looks for batches


_RANKED = _ranked()


def _has_work(kind: str) -> ColumnElement[bool]:
    mine = and_(Batch.campaign_id == _RANKED.c.id, WAITING, one_of(kind, Batch.domain, "domains"))
    first = select(literal(1)).where(mine).limit(1).correlate(_RANKED)
    return or_(_RANKED.c.left, first.scalar_subquery().is_not(None))


def _in_turn(kind: str) -> Select[*tuple[Any, ...]]:
    return select(_RANKED.c.id).where(_has_work(kind)).limit(CHOICES)


def _somebody_else(kind: str) -> Select[*tuple[Any, ...]]:
    used, cost = bindparam("used", type_=BigInteger), bindparam("cost", type_=Integer)
    before_me = and_(_RANKED.c.id != bindparam("mine"), _RANKED.c.used <= used, _RANKED.c.cost < cost)
    return select(_RANKED.c.id).where(before_me, _has_work(kind)).limit(1)


# they run for every batch, several times a second beside it, and while there is none
_IN_TURN = Statement(_in_turn)
_SOMEBODY_ELSE = Statement(_somebody_else)
_OTHER = and_(Campaign.state.in_(ACTIVE), Campaign.id != bindparam("mine"))
_OTHERS = Statement(lambda _kind: select(Campaign.id).where(_OTHER).limit(1))
_UNPLANNED = Statement(lambda _kind: select(Campaign.id).where(unplanned(_NOW)).limit(1))
_MINE = Campaign.id == bindparam("mine")
_ACCOUNTS = select(turns.USED).select_from(Campaign).outerjoin(Turn, turns.ACCOUNT)
_USED = Statement(lambda _kind: _ACCOUNTS.where(_MINE))


def _in_hand(_kind: str) -> Select[*tuple[Any, ...]]:
    held = and_(Batch.state == BatchState.RUNNING, Batch.due_at > _NOW, Batch.campaign_id == Campaign.id)
    before_me = and_(~_MINE, Turn.used < bindparam("used", type_=BigInteger))
    return select(Campaign.id).join(Batch, held).join(Turn, turns.ACCOUNT).where(before_me).limit(1)


_IN_HAND_BEFORE = Statement(_in_hand)


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


def alone(connection: Connection, claim: Claim) -> bool:
    """Whether no other campaign is under way, so that nobody's turn can have come."""
    return _OTHERS.row(connection, {"mine": claim.campaign_id}) is None


def next_slot(connection: Connection, now: int, admission: Admission) -> float | None:
    """The seconds until a batch may be claimed that only waits for a slot of its domain; None: there is none."""
    admitted = admission.now(connection, now)
    waiting = replace(admitted, domains=admitted.waiting)
    return admitted.wait / 1000 if admitted.waiting and _choices(connection, now, waiting) else None


def work_is_due(connection: Connection, now: int, admission: Admission) -> bool:
    """Whether there is a campaign to plan, or a batch to deliver that is admitted, at `now` (ms since 1970).

    A batch that waits for a slot of its domain counts too: the slot comes soon, and is to find somebody who waits.
    """
    admitted = admission.now(connection, now)
    all_domains = replace(admitted, domains=(*admitted.domains, *admitted.waiting))
    return _UNPLANNED.row(connection, {"now": now}) is not None or bool(_choices(connection, now, all_domains))


def turn_is_over(connection: Connection, claim: Claim, now: int, admission: Admission) -> bool:
    """Whether the holder of `claim` should give the batch back, since another campaign's turn has come.

    A campaign that waits to be planned may be a small one: whoever gives a batch back plans before claiming again. Who
    is alone is asked nothing more.
    """
    if alone(connection, claim):
        return False
    if _UNPLANNED.row(connection, {"now": now}) is not None:
        return True
    if not circuit_breaker.may_send(connection, now):
        return False
    base = turns.base(connection)
    place = {"used": turns.standing(connection, claim, now, base), "cost": turns.outranked(claim, now)}
    place |= {"now": now, "base": base, **_parameters(admission.now(connection, now))}
    return _SOMEBODY_ELSE.row(connection, {"mine": claim.campaign_id, **place}) is not None


def others_first(connection: Connection, claim: Claim | None, now: int, admission: Admission) -> bool:
    """Whether a batch is in a worker's hand that goes before `claim` or, without one, before what would be claimed.

    A rate has few slots, and whoever waits for one may get it. So the others stand aside for whom it is due to.
    """
    if claim is not None:
        used = turns.standing(connection, claim, now, turns.base(connection))
        return _in_hand_before(connection, claim.campaign_id, used, now)
    if _UNPLANNED.row(connection, {"now": now}) is not None:
        return False
    for first in choices(connection, now, admission)[:1]:
        [used] = _USED.row(connection, {"mine": first.campaign_id, "base": first.base}) or (0,)
        return _in_hand_before(connection, first.campaign_id, used, now)
    return False


def _in_hand_before(connection: Connection, mine: str, used: int, now: int) -> bool:
    return _IN_HAND_BEFORE.row(connection, {"mine": mine, "used": used, "now": now}) is not None


def _parameters(admitted: Admitted) -> dict[str, Any]:
    return {"urgent_only": admitted.urgent_only, "domains": json.dumps(admitted.domains)}
