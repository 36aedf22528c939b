"""Whom a new campaign would share the delivery with, and how much goes out until it has all of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from mailer.delivery.due_batch import PENDING
from mailer.delivery.turns import COSTS, PRIORITY
from mailer.storage.models import Batch, BatchState, Campaign, CampaignState, Priority

UNPLANNED = (CampaignState.ACCEPTED, CampaignState.PLANNING)
_MOST = 1000  # campaigns that are looked at one by one

Account = tuple[str, Priority]  # whose turns are counted together, as `delivery.turns` has them


@dataclass(frozen=True, slots=True)
class Share:
    """One campaign that is being sent: the account that pays for its turns, and how many it has not tried yet."""

    account: Account
    left: float


@dataclass(frozen=True, slots=True)
class Ahead:
    """What is under way: campaigns that are being sent, and how many are not planned, so that their size is unknown."""

    shares: Sequence[Share] = ()
    unplanned: int = 0

    @property
    def people(self) -> int:
        """How many recipients have not been tried yet."""
        return round(sum(one.left for one in self.shares))


def ahead(connection: Connection) -> Ahead:
    """Look at what is under way now."""
    left = func.sum(PENDING)
    running = select(Campaign.caller_id, PRIORITY, left).join(Batch, Batch.campaign_id == Campaign.id)
    running = running.where(Campaign.state == CampaignState.RUNNING, Batch.state != BatchState.DONE)
    running = running.group_by(Campaign.id, Campaign.caller_id, Campaign.priority).having(left > 0)
    unplanned = select(func.count()).select_from(Campaign).where(Campaign.state.in_(UNPLANNED))
    rows = connection.execute(running.order_by(Campaign.id).limit(_MOST)).all()
    shares = [Share((caller_id, Priority(priority)), int(count)) for caller_id, priority, count in rows]
    return Ahead(shares, connection.scalar(unplanned) or 0)


def messages_until(mine: Share, others: Sequence[Share]) -> float:
    """How many messages go out in all until `mine` has its last one.

    Accounts get shares by their priority, and the campaigns of one account get equal ones. Whenever one is done, the
    rest share what it had.
    """
    left, sent = [mine, *others], 0.0
    while True:
        rates = _rates(left)
        step = min(one.left / rate for one, rate in zip(left, rates, strict=True))
        left = [Share(one.account, one.left - step * rate) for one, rate in zip(left, rates, strict=True)]
        sent += step
        if left[0].left <= 1e-6:
            return sent
        left = [left[0], *(one for one in left[1:] if one.left > 1e-6)]


def _rates(campaigns: Sequence[Share]) -> list[float]:
    """Which share of all messages each of them gets, so that they add up to 1."""
    members = Counter(one.account for one in campaigns)
    total = sum(1 / COSTS[priority] for _, priority in members)
    return [1 / COSTS[one.account[1]] / total / members[one.account] for one in campaigns]
