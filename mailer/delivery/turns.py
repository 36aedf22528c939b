"""Whose turn it is: an account of how much of the delivery each caller has used with each priority.

An account is of one caller and one priority, however many campaigns they are. The account that has used least comes
next. A turn is paid for in advance, as if it lasted a second; when the batch is given back, the rest is returned, or
what it took longer is added. A millisecond of a worker costs more the lower the priority, so that accounts which all
have work get shares in these proportions.

Nothing can be saved up. Who comes back after a rest, or comes for the first time, begins where those are who had their
turns meanwhile (`base`). The rule is known from networks as start-time fair queueing.

That rule alone would let newcomers without end, each of whom begins at the same `base`, keep away who has used more. So
there is a clock as well, which goes on with each turn by what an account gets that has its share of it, as in weighted
fair queueing. Nobody begins further behind it than a second of `bulk`. So everybody's turn comes in the end.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Insert,
    and_,
    bindparam,
    case,
    func,
    literal,
    select,
    union_all,
    update,
)
from sqlalchemy.exc import OperationalError

from mailer.delivery.worklist import Claim
from mailer.storage.database_errors import own_words
from mailer.storage.dialects import Statement, is_postgresql, new_row
from mailer.storage.models import Campaign, CampaignState, Priority, Turn

log = logging.getLogger(__name__)

ASK_SECONDS = 0.2  # between two questions of a process whether a turn is over
ASIDE_SECONDS, ASIDE_PAUSE = 10.0, 0.25  # for how long a thread without slots stands aside, and looks again meanwhile
TURN = 1000  # ms that a turn lasts while somebody of the same priority waits
LEAST = 50  # ms that a turn costs at least, for what claiming and giving back take
COSTS = {Priority.URGENT: 1, Priority.NORMAL: 8, Priority.BULK: 64}  # of a millisecond of one worker

NOBODY = ""  # the caller of the rows that are the clock; of several, since threads would wait for each other
PARTS = 8

PRIORITY = func.coalesce(Campaign.priority, Priority.NORMAL.value)
COST = case({priority.value: cost for priority, cost in COSTS.items()}, value=PRIORITY)
_BASE = bindparam("base", type_=BigInteger)
# what the caller of a campaign has used with whatever priority; 0: it has never had a turn
SPENT: ColumnElement[int] = func.coalesce(
    select(func.max(Turn.used)).where(Turn.caller_id == Campaign.caller_id).correlate(Campaign).scalar_subquery(), 0
)


def _lead(priority: Priority, cost: int) -> Any:
    most = select(func.max(Turn.used)).where(Turn.priority == priority.value).scalar_subquery()
    return select((most - TURN * cost).label("lead"))


_CLOCK = select(func.max(Turn.used)).where(Turn.caller_id == NOBODY).scalar_subquery()
_BEHIND_THE_CLOCK = select((_CLOCK - TURN * max(COSTS.values())).label("lead"))
_LEADS = union_all(*(_lead(priority, cost) for priority, cost in COSTS.items()), _BEHIND_THE_CLOCK).subquery()
_BASE_NOW = Statement(lambda _kind: select(func.max(_LEADS.c.lead)))


def base(connection: Connection) -> int:
    """Return where accounts begin now: what they have used who had the last turns, without these turns."""
    return max(_BASE_NOW.row(connection, {})[0] or 0, 0)


ACCOUNT = and_(Turn.caller_id == Campaign.caller_id, Turn.priority == PRIORITY)
# what the account of a campaign, outer joined by `ACCOUNT`, has used; at least the parameter `base`
USED: ColumnElement[int] = case((Turn.used > _BASE, Turn.used), else_=_BASE)
# among equals: since when it has waited, if it has waited for more than its due; those who begin come after it
OVERDUE_SINCE: ColumnElement[int] = case((Turn.used < _BASE, Campaign.turn_at), else_=literal(2**62, BigInteger))


def _paying(kind: str) -> Insert:
    new = new_row(kind, Turn)
    price = case({priority.value: TURN * cost for priority, cost in COSTS.items()}, value=new.excluded.priority)
    paid = case((Turn.used + price > new.excluded.used, Turn.used + price), else_=new.excluded.used)
    mine: dict[str, Any] = {
        "caller_id": bindparam("caller"),
        "priority": bindparam("of_priority"),
        "used": bindparam("from_nothing"),
    }
    return new.values(mine).on_conflict_do_update(index_elements=["caller_id", "priority"], set_={"used": paid})


_PAY = Statement(_paying)
_MINE = (Turn.caller_id == bindparam("caller"), Turn.priority == bindparam("of_priority"))
_ADD = Statement(lambda _kind: update(Turn).where(*_MINE).values(used=Turn.used + bindparam("more", type_=BigInteger)))
_THEIRS = Campaign.id == bindparam("campaign")
_LAST = Statement(lambda _kind: update(Campaign).where(_THEIRS).values(turn_at=bindparam("at")))
_USED = Statement(lambda _kind: select(Turn.used).where(*_MINE))


def pay(connection: Connection, caller_id: str, priority: Priority, since: int) -> None:
    """Have an account pay for a turn in advance. `since` is the `base` at which the turn was found."""
    from_nothing = since + TURN * COSTS[priority]
    mine = {"caller": caller_id, "of_priority": priority.value}
    _PAY.changed(connection, {**mine, "from_nothing": from_nothing})


# how many accounts have work, each counted by how much of a share it has: one of the dearest priority is 1
_SHARE = case({priority.value: max(COSTS.values()) // cost for priority, cost in COSTS.items()}, value=PRIORITY)
_ACCOUNTS = select(Campaign.caller_id, _SHARE.label("share")).where(Campaign.state == CampaignState.RUNNING).distinct()
_SHARES = select(func.sum(_ACCOUNTS.subquery().c.share)).scalar_subquery()
_TIME = Statement(lambda _kind: select(_CLOCK, _SHARES))


def _ticking(kind: str) -> Insert:
    new = new_row(kind, Turn)
    later = case((Turn.used > new.excluded.used, Turn.used), else_=new.excluded.used)
    row: dict[str, Any] = {"caller_id": NOBODY, "priority": bindparam("part"), "used": bindparam("time")}
    return new.values(row).on_conflict_do_update(index_elements=["caller_id", "priority"], set_={"used": later})


_TICK = Statement(_ticking)


def _go_on(connection: Connection, took: int, cost: int) -> None:
    """Set the clock forward after a turn that `took` so many ms. Turns that end at once may count as one."""
    clock, shares = _TIME.row(connection, {})
    dearest = max(COSTS.values())
    fair = took * dearest // (int(shares or 0) + dearest // cost)  # who had the turn may have no more work
    part = threading.get_native_id() % PARTS if is_postgresql(connection) else 0
    _TICK.changed(connection, {"part": str(part), "time": max(clock or 0, base(connection)) + fair})


def settle(connection: Connection, claim: Claim, now: int) -> None:
    """Have the account pay for what the turn really took, which ends at `now` (ms since 1970).

    The caller must hold a lock on the campaign's row.
    """
    took = max(now - claim.claimed_at, LEAST)
    more = (took - TURN) * COSTS[claim.priority]
    _ADD.changed(connection, {"caller": claim.caller_id, "of_priority": claim.priority.value, "more": more})
    _LAST.changed(connection, {"campaign": claim.campaign_id, "at": now})
    _go_on(connection, took, COSTS[claim.priority])


def standing(connection: Connection, claim: Claim, now: int, since: int) -> int:
    """Return what the account of `claim` would have used, if the turn ended `now`; `since` is the `base`."""
    mine = {"caller": claim.caller_id, "of_priority": claim.priority.value}
    [so_far] = _USED.row(connection, mine) or (0,)
    return max(so_far, since) + (now - claim.claimed_at - TURN) * COSTS[claim.priority]


def outranked(claim: Claim, now: int) -> int:
    """Return which costs a waiting campaign must stay below for the turn of `claim` to end: those of its own priority
    once the turn has lasted long enough, so that equals do not swap with every checkpoint.
    """
    cost = COSTS[claim.priority]
    return cost if now - claim.claimed_at < TURN else max(COSTS.values()) + 1


class TurnWatch:
    """Finds out after checkpoints whether a turn is over, for all threads of a process.

    It asks only some times a second, so of several threads one after the other gives way. `ask` looks into the
    database. So does `others_first`, for a thread that found too few slots of the rate: whether it stands aside, so
    that the next slot goes to a batch that comes before its own (with None, before the next one).
    """

    def __init__(
        self, ask: Callable[[Claim], bool], others_first: Callable[[Claim | None], bool] = lambda _claim: False
    ) -> None:
        self._ask = ask
        self._others_first = others_first
        self._next = 0.0  # when it may ask again, by `time.monotonic`
        self._lock = threading.Lock()
        self._aside = threading.local()  # `wanted`: the thread is to stand aside before it claims again

    def is_over(self, claim: Claim, *, few_slots: bool = False) -> bool:
        """Whether another campaign's turn has come. A batch that tries the transport or its campaign comes to its end.

        `few_slots`: in a whole checkpoint the rate had few slots for it, or none. A database that does not answer says
        no: the outcomes in hand are not to be lost for this.
        """
        if claim.half_open or claim.campaign_rests:
            return False
        if few_slots and _answers(self._others_first, claim):
            self._aside.wanted = True
            return True
        return self._may_ask() and _answers(self._ask, claim)

    def stand_aside(self, stopping: Callable[[], bool]) -> None:
        """Wait while batches in other hands come first, if this thread is to. Not for long: they may need no slot."""
        if not getattr(self._aside, "wanted", False):
            return
        self._aside.wanted = False
        ends = time.monotonic() + ASIDE_SECONDS
        while not stopping() and time.monotonic() < ends and _answers(self._others_first, None):
            time.sleep(ASIDE_PAUSE)

    def _may_ask(self) -> bool:
        with self._lock:
            now = time.monotonic()
            if now < self._next:
                return False
            self._next = now + ASK_SECONDS
            return True


def _answers(ask: Callable[[Any], bool], claim: Claim | None) -> bool:
    try:
        return ask(claim)
    except OperationalError as error:
        log.error("database trouble, going on: %s", own_words(error))
        return False
