"""How fast mail goes out: by the last campaigns, by the transport's rate, and by what its quota leaves of the day."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from mailer.delivery.minutes import MINUTE
from mailer.storage.models import Batch, Campaign, CampaignMinute, CampaignState
from transports.slots import Count, Limits

LAST = 20  # campaigns whose throughput is looked at
LATELY = 30 * 24 * 60 * 60 * 1000  # ms; what is older says nothing of today's server
ENOUGH = 20  # messages of a campaign that is so quick that a minute says nothing of it
_MOST_DAYS = 1000  # that a quota is followed into

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


def throughput(connection: Connection, now: int) -> float | None:
    """The most messages a second that the last campaigns have reached before `now` (ms); None: there were none.

    Campaigns that were over within a minute tell it by how long they took, and longer ones by their best minute.
    """
    known = (Campaign.id, Campaign.started_at, Campaign.finished_at)
    latest = select(*known).where(~Campaign.dry_run, Campaign.started_at > now - LATELY)
    latest = latest.where(Campaign.state.in_([*ENDED, CampaignState.RUNNING])).order_by(Campaign.id.desc()).limit(LAST)
    took = {row.id: (row.finished_at or now) - row.started_at for row in connection.execute(latest)}
    sums = (
        select(Batch.campaign_id, func.sum(Batch.sent)).where(Batch.campaign_id.in_(took)).group_by(Batch.campaign_id)
    )
    sent = {campaign_id: int(count) for campaign_id, count in connection.execute(sums)}
    whole = [1000 * count / max(took[one], 1) for one, count in sent.items() if count >= ENOUGH]
    return max([*whole, *_best_minute(connection, list(took), now)], default=None) or None


def _best_minute(connection: Connection, campaign_ids: list[str], now: int) -> list[float]:
    """Over all campaigns together, since they share the way."""
    theirs = (CampaignMinute.campaign_id.in_(campaign_ids), CampaignMinute.minute > now - LATELY)
    by_minute = select(func.sum(CampaignMinute.sent)).where(*theirs).group_by(CampaignMinute.minute)
    best = connection.scalar(select(func.max(by_minute.subquery().c[0])))
    return [int(best) * 1000 / MINUTE] if best else []
