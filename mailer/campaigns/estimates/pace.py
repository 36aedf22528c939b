"""How fast mail goes out: as it does now or did last, as the rate allows, and as the quota leaves of the day."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from sqlalchemy import Connection, func, select

from mailer.delivery.minutes import MINUTE, elapsed, lately
from mailer.storage.models import Batch, Campaign, CampaignMinute, CampaignState
from transports.slots import Count, Limits

LAST = 20  # campaigns whose throughput is looked at
LATELY = 30 * 24 * 60 * 60 * 1000  # ms; what is older says nothing of today's server
ENOUGH = 20  # messages; fewer tell no pace
COMPARABLE = 10  # times as many people, for whom a campaign's pace is still believed
_MOST_DAYS = 1000  # that a quota is followed into

_TRIED = CampaignMinute.sent + CampaignMinute.failed + CampaignMinute.deferred + CampaignMinute.uncertain
ENDED = (CampaignState.COMPLETED, CampaignState.COMPLETED_WITH_ISSUES)


@dataclass(frozen=True, slots=True)
class Quota:
    """A transport's limits by the day, and what was handed out of them, at `now` (ms since 1970)."""

    limits: Limits
    count: Count
    now: float

    def seconds_for(self, messages: float, per_second: float, starts_in: float) -> float | None:
        """In how many seconds from now so many messages have gone that begin in `starts_in`; None: not in years."""
        at, left, day, days = starts_in, messages, self.count.day, self.count.days
        room = max(0, self._allowed(days) - self.count.used)
        for _ in range(_MOST_DAYS):
            tomorrow = (self.limits.next_day(day) - self.now) / 1000
            possible = min(room, max(0.0, tomorrow - at) * per_second)
            if left <= possible:
                return at + left / per_second
            left, at, day, days = left - possible, max(at, tomorrow), day + 1, days + 1
            room = self._allowed(days)
        return None

    @property
    def opens_in(self) -> float:
        """In how many seconds the first message may go; 0: now."""
        if self.count.used < self._allowed(self.count.days):
            return 0.0
        return max(0.0, (self.limits.next_day(self.count.day) - self.now) / 1000)

    def _allowed(self, days: int) -> float:
        allowed = self.limits.allowance(days)
        return float("inf") if allowed is None else allowed


def throughput(connection: Connection, now: int, count: int) -> float | None:
    """How many messages a second go out, as far as is known at `now` (ms); None: none went out lately.

    That is the pace of what is being sent now. If nothing is, it is that of the last campaign for at least a tenth of
    `count` people, or of the largest one: a server that takes twenty messages at once may not take thousands so.
    """
    current = _current(connection, now)
    return current if current is not None else _of_the_last(connection, now, count / COMPARABLE)


def _current(connection: Connection, now: int) -> float | None:
    """Over all campaigns that are under way, since they share the way."""
    counts = (func.sum(_TRIED), func.min(CampaignMinute.minute), func.min(Campaign.started_at))
    query = select(*counts).join(Campaign, Campaign.id == CampaignMinute.campaign_id)
    running = (Campaign.state == CampaignState.RUNNING, ~Campaign.dry_run, CampaignMinute.minute >= lately(now))
    tried, first, began = connection.execute(query.where(*running)).one()
    return 1000 * int(tried) / elapsed(first, began, now) if tried and int(tried) >= ENOUGH else None


def _of_the_last(connection: Connection, now: int, least: float) -> float | None:
    known = (Campaign.id, Campaign.started_at, Campaign.finished_at)
    latest = select(*known).where(~Campaign.dry_run, Campaign.started_at > now - LATELY)
    latest = latest.where(Campaign.state.in_([*ENDED, CampaignState.RUNNING])).order_by(Campaign.id.desc()).limit(LAST)
    rows = sorted(connection.execute(latest), key=lambda row: row.finished_at is None)  # those that have ended first
    sums = select(Batch.campaign_id, func.sum(Batch.sent + Batch.failed + Batch.deferred + Batch.uncertain))
    sums = sums.where(Batch.campaign_id.in_([row.id for row in rows])).group_by(Batch.campaign_id)
    tried = {campaign_id: int(number) for campaign_id, number in connection.execute(sums)}
    sizes = [(tried.get(row.id, 0), row) for row in rows]
    comparable = [one for one in sizes if one[0] >= max(ENOUGH, least)] or sorted(sizes, key=lambda one: -one[0])
    if not comparable or comparable[0][0] < ENOUGH:
        return None
    number, row = comparable[0]
    return _usual_minute(connection, row.id) or 1000 * number / max((row.finished_at or now) - row.started_at, 1)


def _usual_minute(connection: Connection, campaign_id: str) -> float | None:
    """The median of a long campaign's busy minutes but for the first and the last, which were not whole.

    So hours in which it rested say nothing, and neither does one minute that was quicker than all others.
    """
    mine = CampaignMinute.campaign_id == campaign_id
    by_minute = select(func.sum(_TRIED)).where(mine).group_by(CampaignMinute.minute).order_by(CampaignMinute.minute)
    busy = [int(number) for number in connection.scalars(by_minute) if number]
    return median(busy[1:-1]) * 1000 / MINUTE if len(busy) > 2 else None
