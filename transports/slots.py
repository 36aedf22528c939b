"""What a rate, a day's quota and a warm-up leave of messages, and who keeps count of them.

A *slot* is the right to send one message at one moment. Slots are handed out in blocks. The count of what was handed
out is one small record for each key, such as a relay. Who keeps it decides who shares the limits: `MemoryCounter` keeps
it in this process, and whoever builds a transport can give it another `SlotCounter` (see `transports.rate.share`).
Times are in milliseconds since 1970 by the counter's clock, days are ordinals (`datetime.date.toordinal`).
"""

from __future__ import annotations

import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, tzinfo

from transports.base import About, TransportUnavailable

LATE = 0.1  # seconds after its moment for which a slot is good
AHEAD = 0.25  # seconds before its moment from which a slot is handed out; it is nobody's until then
DAY = 86_400_000.0  # ms
_USED_UP = re.compile(r"(?:.*: )?(?:the quota|the warm-up's share) of \d+ messages a day for .+ is used up until .+")
LONGEST_QUEUE = 1000  # blocks that may be handed out ahead; a record that says more was made for another rate or clock


@dataclass(frozen=True, slots=True)
class Warmup:
    """`first` messages on the first day with mail, and `factor` times as many on each day with mail after it."""

    first: int
    factor: float

    def allowance(self, days: int) -> int:
        """How many messages may go on a day that has `days` days with mail before it."""
        return int(self.first * self.factor ** min(days, 60))


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one transport. `interval` is ms between two messages, 0: no rate. Days turn at midnight of `zone`.

    `key` tells whose they are; it has no secret. `text` is how the limits were written.
    """

    key: str
    interval: float = 0.0
    quota: int | None = None
    warmup: Warmup | None = None
    zone: tzinfo = UTC
    text: str = ""

    @property
    def are_daily(self) -> bool:
        """Whether there is a limit on what may go in a day."""
        return self.quota is not None or self.warmup is not None

    def warms_up(self, days: int) -> bool:
        """Whether, after `days` days with mail, the warm-up allows less than the quota or the rate would."""
        if self.warmup is None:
            return False
        end = self.quota if self.quota is not None else DAY / self.interval
        return self.warmup.allowance(days) < end

    def allowance(self, days: int) -> int | None:
        """How many messages may go on a day that has `days` days with mail before it; None: any number."""
        return self.warmup.allowance(days) if self.warmup and self.warms_up(days) else self.quota

    def day_of(self, now: float) -> int:
        """The day of a time, in `zone`."""
        return datetime.fromtimestamp(now / 1000, self.zone).toordinal()

    def next_day(self, day: int) -> float:
        """When the day after `day` begins, in ms since 1970."""
        morning = datetime.combine(date.fromordinal(day) + timedelta(days=1), datetime.min.time(), self.zone)
        return morning.timestamp() * 1000


@dataclass(frozen=True, slots=True)
class Count:
    """What is on record for one key.

    `next_at` is the first slot that nobody has, in ms. `used` messages were handed out on `day`. `first_day` is the
    first day with mail, `days` how many days with mail there were before `day`; both only during a warm-up.
    """

    next_at: float = 0.0
    day: int = 0
    used: int = 0
    first_day: int = 0
    days: int = 0

    def on(self, today: int) -> Count:
        """The count as it stands on `today`. A new day begins at 0; of a warm-up only days with mail are counted.

        A clock that was set back over midnight does not begin the day before once more.
        """
        if self.day in (today, today + 1):
            return self
        return replace(self, day=today, used=0, days=self.days + (self.first_day > 0 and self.used > 0))


@dataclass(frozen=True, slots=True)
class Block:
    """`count` slots. The first comes in `wait` seconds, the block is worth nothing after `lasts` seconds.

    `day` is the day of whose quota they are.
    """

    wait: float
    count: int
    lasts: float
    day: int


NOTHING = Block(0.0, 0, 0.0, 0)


class CounterAway(TransportUnavailable):
    """The count cannot be kept now."""


class QuotaUsedUp(TransportUnavailable):
    """No more messages may go today; `retry_after` is the seconds until the day turns."""

    about = About.RATE

    def __init__(self, text: str, retry_after: float) -> None:
        super().__init__(text)
        self.retry_after = retry_after


def used_up(limits: Limits, count: Count, now: float) -> QuotaUsedUp | None:
    """The error to raise if nothing may go at `now` for the day's sake; `count` is that of today."""
    allowed = limits.allowance(count.days)
    if allowed is None or count.used < allowed:
        return None
    turn = limits.next_day(count.day)
    until = datetime.fromtimestamp(turn / 1000, limits.zone).strftime("%Y-%m-%d %H:%M")
    what = "the warm-up's share of" if limits.warms_up(count.days) else "the quota of"
    words = f"{what} {allowed} messages a day for {limits.key} is used up until {until} {limits.zone}"
    return QuotaUsedUp(words, max(0.0, turn - now) / 1000)


def says_used_up(words: str) -> bool:
    """Whether these words of a transport that is unavailable are those of `used_up`, for each member of a group."""
    return all(_USED_UP.fullmatch(each) for each in words.split("; "))


def hand_out(limits: Limits, count: Count, now: float, wanted: int, unused: Block = NOTHING) -> tuple[Count, Block]:
    """Hand out up to `wanted` slots at `now`: the count afterwards and the block.

    `unused` is what its holder gives back of the block before; it counts for today's quota only if it is of today. If
    that block has only just ended, the new one begins where it ended, so that asking costs no slots. After a pause
    nothing is caught up on. If the first slot is more than `AHEAD` away, the block is empty, and begins and ends then:
    who comes later may have something more urgent. Raises `QuotaUsedUp`.
    """
    today = count.on(limits.day_of(now))
    if unused.day == today.day:
        today = replace(today, used=max(0, today.used - unused.count))
    if error := used_up(limits, today, now):
        raise error
    allowed = limits.allowance(today.days)
    number = wanted if allowed is None else min(wanted, allowed - today.used)
    length = number * limits.interval
    latest = now + LONGEST_QUEUE * max(length, 200.0)
    late = -unused.lasts if -LATE < unused.lasts < 0 else 0.0
    start = max(now - 1000 * late, min(today.next_at, latest)) if limits.interval else now
    if start - now > 1000 * AHEAD:
        return today, Block((start - now) / 1000, 0, (start - now) / 1000, today.day)
    after = _counted(limits, today, start + length, number)
    turn = limits.next_day(today.day)
    ends = turn if not limits.interval else min(start + length, turn) if limits.are_daily else start + length
    return after, Block((start - now) / 1000, number, (ends - now) / 1000, today.day)


def _counted(limits: Limits, today: Count, next_at: float, number: int) -> Count:
    warming = limits.warmup is not None
    first_day, days = (today.first_day or today.day, today.days) if warming else (0, 0)
    return Count(next_at if limits.interval else today.next_at, today.day, today.used + number, first_day, days)


class SlotCounter(ABC):
    """Keeps the count of each key, for all who share it. Safe to use from several threads."""

    @abstractmethod
    def take(self, limits: Limits, wanted: int, unused: Block) -> Block:
        """Hand out slots as `hand_out` does, and keep the count.

        Raises `QuotaUsedUp` and `CounterAway`.
        """

    @abstractmethod
    def read(self, limits: Limits) -> tuple[Count, float]:
        """The count as it stands now, and the counter's time (ms). Raises `CounterAway`."""


class MemoryCounter(SlotCounter):
    """Keeps the counts of one process, until it ends."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock` tells seconds since 1970."""
        self._clock = clock
        self._counts: dict[str, Count] = {}
        self._lock = threading.Lock()

    def take(self, limits: Limits, wanted: int, unused: Block) -> Block:
        """See `SlotCounter.take`."""
        with self._lock:
            count = self._counts.get(limits.key, Count())
            self._counts[limits.key], block = hand_out(limits, count, self._clock() * 1000, wanted, unused)
        return block

    def read(self, limits: Limits) -> tuple[Count, float]:
        """See `SlotCounter.read`."""
        now = self._clock() * 1000
        with self._lock:
            return self._counts.get(limits.key, Count()).on(limits.day_of(now)), now
