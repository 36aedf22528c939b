"""When a campaign that is accepted now would begin, and when everybody would have been tried once."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mailer.campaigns.estimates.pace import Quota, throughput
from mailer.campaigns.estimates.queue_ahead import Ahead, Share, ahead, messages_until
from mailer.campaigns.planning import SMALL
from mailer.campaigns.stops import Stops, stops
from mailer.pacing.shared_slots import SharedSlots
from mailer.settings.send_window import SendWindow
from mailer.storage.database import Database
from mailer.storage.models import Priority
from mailer.storage.workers import workers
from transports.base import Transport
from transports.rate import rates_of
from transports.slots import CounterAway

NO_WORKER = "no worker is running"
NEVER_SENT = "nothing was sent in the last weeks that it could be told by"
FAR_AWAY = "the quota is too small for it"


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimate, from now on, in seconds. None: it cannot be known, and `why` says why not.

    `starts_in` is when its first message goes, `estimated_seconds` when everybody has been tried once. Meanwhile it
    shares the way with `others` campaigns that have `people` left, and with `unplanned` ones of which nobody knows the
    size. `why` may also say what it has to wait for.
    """

    estimated_seconds: int | None = None
    starts_in: int | None = None
    others: int = 0
    people: int = 0
    unplanned: int = 0
    why: str = ""

    @property
    def words(self) -> str:
        """The same for people, such as `about 25 s, beside one other campaign of 3,000`."""
        if self.estimated_seconds is None:
            said = [f"cannot be told now: {self.why}"]
        else:
            said = [f"about {duration(self.estimated_seconds)}"]
            said += [f"{self.why}, so it begins in about {duration(self.starts_in)}"] if self.starts_in else []
        if self.others:
            campaigns = "one other campaign" if self.others == 1 else f"{self.others} other campaigns"
            said.append(f"beside {campaigns} of {self.people:,}")
        if self.unplanned:
            said.append(f"{self.unplanned} more not planned yet")
        return ", ".join(said)


def duration(seconds: float) -> str:
    """Two units at most: `25 s`, `4 min`, `3 h 20 min`, `2 d 3 h`."""
    whole = math.ceil(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86_400
    if hours == 0:
        return f"{minutes} min" if minutes else f"{max(whole, 1)} s"
    return f"{hours} h {minutes % 60} min" if days == 0 else f"{days} d {hours % 24} h"


class Estimator:
    """Estimates by the database and the limits of `transport`. Mail goes out in the hours of `window`; None: always.

    Rates of single domains are not looked at: nobody knows yet who of the audience is where.
    """

    def __init__(self, db: Database, transport: Transport, window: SendWindow | None = None) -> None:
        self._db = db
        self._window = window
        self._rate = next(iter(rates_of(transport)), None)  # of a failover transport the first, which is used first

    def estimate(self, caller_id: str, count: int, priority: Priority | None = None) -> Estimate:
        """The estimate for a campaign of this caller for `count` people. `priority` None: by its size."""
        chosen = priority or (Priority.NORMAL if count <= SMALL else Priority.BULK)
        with self._db.read() as connection:
            now = self._db.clock(connection)
            stopped, before, reached = stops(connection, now), ahead(connection), throughput(connection, now, count)
        if not any(one.delivers for one in workers(self._db)):
            return _unknown(before, NO_WORKER)
        if stopped.hold is not None:
            return _unknown(before, f"all sending is {stopped.hold}")
        quota = self._quota()
        starts_in, why = self._starts(stopped, quota, now, chosen)
        if stopped.breaker is not None and not stopped.breaker.is_planned:
            return _unknown(before, f"the transport fails: {stopped.breaker.reason}", starts_in)
        speed = self._speed(reached)
        if speed is None:
            return _unknown(before, NEVER_SENT, starts_in)
        messages = messages_until(Share((caller_id, chosen), count), before.shares) if count else 0.0
        seconds = quota.seconds_for(messages, speed, starts_in) if quota else starts_in + messages / speed
        if seconds is None:
            return _unknown(before, FAR_AWAY, starts_in)
        known = (len(before.shares), before.people, before.unplanned)
        return Estimate(math.ceil(seconds), math.ceil(starts_in), *known, why)

    def _starts(self, stopped: Stops, quota: Quota | None, now: int, priority: Priority) -> tuple[float, str]:
        """In how many seconds its first message may go, and what it waits for until then."""
        waits = [(0.0, "")]
        if self._window is not None and priority is not Priority.URGENT and not self._window.is_open(now):
            waits.append((((self._window.next_change(now) or now) - now) / 1000, "the send window is closed"))
        if quota is not None:
            waits.append((quota.opens_in, "the day's quota is used up"))
        if stopped.breaker is not None and not stopped.breaker.is_planned:
            waits.append((max(0, stopped.breaker.retry_at - now) / 1000, "the transport fails"))
        return max(waits)

    def _speed(self, reached: float | None) -> float | None:
        """Messages a second: those that were reached lately, and no more than the rate allows."""
        interval = self._rate.limits.interval if self._rate else 0.0
        limits = [reached, 1000 / interval if interval else None]
        return min((one for one in limits if one is not None), default=None)

    def _quota(self) -> Quota | None:
        """What is left of the day's quota; None: there is none, or nobody can read it now."""
        if self._rate is None or not self._rate.limits.are_daily:
            return None
        try:
            count, now = SharedSlots(self._db).read(self._rate.limits)
        except CounterAway:
            return None
        return Quota(self._rate.limits, count, now)


def _unknown(before: Ahead, why: str, starts_in: float | None = None) -> Estimate:
    starts = None if starts_in is None else math.ceil(starts_in)
    return Estimate(None, starts, len(before.shares), before.people, before.unplanned, why)
