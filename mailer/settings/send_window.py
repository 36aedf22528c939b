"""The hours in which mail goes out, such as `Mon-Fri 08:00-20:00, Sat 09:00-12:00 Europe/Vienna`. Pure.

Mail goes out while a clock on a wall in that zone shows a time within one of the windows. So a window has the same
hours in summer and in winter. An hour that the clock leaves out in spring is in no window, and one that it shows twice
in autumn counts both times. Times are milliseconds since 1970.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY, WEEK = 24 * 60, 7 * 24 * 60  # minutes
_WINDOW = re.compile(r"(?:([a-z]{3})(?:-([a-z]{3}))? +)?(\d\d):(\d\d) *- *(\d\d):(\d\d)", re.ASCII | re.IGNORECASE)
_FORM = "such as 08:00-20:00 or Mon-Fri 08:00-20:00"


@dataclass(frozen=True, slots=True)
class Hours:
    """One window: on which days of the week it begins (0 is Monday), and from when to when, in minutes of the day.

    One that goes over midnight ends after the minute 1440.
    """

    days: frozenset[int]
    start: int
    end: int

    def has(self, minute: float) -> bool:
        """Whether the window is open at a minute of the week."""
        return any((minute - day * DAY - self.start) % WEEK < self.end - self.start for day in self.days)


@dataclass(frozen=True, slots=True)
class SendWindow:
    """Some windows in one time zone. `text` is how they were written."""

    hours: tuple[Hours, ...]
    zone: ZoneInfo
    text: str = ""

    @classmethod
    def parse(cls, text: str) -> SendWindow:
        """Read windows, separated by commas, and the time zone behind them. Raises ValueError, in words for people."""
        windows, _, zone = text.strip().rpartition(" ")
        try:
            known = ZoneInfo(zone)
        except (KeyError, OSError, ValueError) as error:
            raise ValueError(f"No time zone such as Europe/Vienna at the end: {zone!r}.") from error
        return cls(tuple(map(_hours, windows.split(","))), known, text.strip())

    def is_open(self, now: float) -> bool:
        """Whether mail may go out at `now`."""
        shown = self._shown(now)
        minute = shown.weekday() * DAY + shown.hour * 60 + shown.minute + shown.second / 60
        return any(hours.has(minute) for hours in self.hours)

    def next_change(self, now: float) -> int | None:
        """When it opens or closes next, after `now`; None: never."""
        before = self.is_open(now)
        times = sorted(time for time in self._boundaries(now) if time > now)
        return next((time for time in times if self.is_open(time) != before), None)

    def opened_at(self, now: float) -> int:
        """When it opened last, at `now` or before; 0: longer than two days ago."""
        times = sorted((time for time in self._boundaries(now) if time <= now), reverse=True)
        return next((time for time in times if self.is_open(time) and not self.is_open(time - 1)), 0)

    def in_words(self, now: float) -> str:
        """Whether it is open and until when, for people."""
        state = "open" if self.is_open(now) else "closed"
        change = self.next_change(now)
        return state if change is None else f"{state} until {self.told(change)}"

    def waits(self, now: float) -> str | None:
        """What a campaign waits for at `now`, for people; None while the window is open."""
        change = None if self.is_open(now) else self.next_change(now)
        return None if change is None else f"waits for the send window until {self.told(change)}"

    def told(self, time: float) -> str:
        """A time as people in the zone write it."""
        return f"{self._shown(time):%Y-%m-%d %H:%M} {self.zone.key}"

    def _shown(self, time: float) -> datetime:
        return datetime.fromtimestamp(time / 1000, self.zone)

    def _boundaries(self, now: float) -> Iterator[int]:
        """All times near enough at which it may open or close: its hours, and when clocks are changed."""
        first = self._shown(now).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None) - timedelta(days=2)
        mornings = [first + timedelta(days=number) for number in range(12)]
        minutes = {minute for hours in self.hours for minute in (hours.start, hours.end)}
        for morning in mornings:
            for minute in minutes:
                yield from self._times_of(morning + timedelta(minutes=minute))
        for morning, following in pairwise(mornings):
            yield from self._clock_changes(self._times_of(morning)[0], self._times_of(following)[-1])

    def _times_of(self, wall: datetime) -> list[int]:
        """When a clock on the wall shows `wall`: both times, if it does so twice."""
        return [int(wall.replace(tzinfo=self.zone, fold=fold).timestamp() * 1000) for fold in (0, 1)]

    def _clock_changes(self, start: int, end: int) -> Iterator[int]:
        """When the clocks are changed between two times about a day apart, if they are."""
        before = self._shown(start).utcoffset()
        if before == self._shown(end).utcoffset():
            return
        while end - start > 1000:
            middle = (start + end) // 2000 * 1000
            start, end = (middle, end) if self._shown(middle).utcoffset() == before else (start, middle)
        yield end


def _hours(text: str) -> Hours:
    match = _WINDOW.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"Not hours {_FORM}: {text.strip()!r}.")
    first, last, *numbers = match.groups()
    start_hour, start_minute, end_hour, end_minute = map(int, numbers)
    start, end = start_hour * 60 + start_minute, end_hour * 60 + end_minute
    if max(start_minute, end_minute) > 59 or start >= DAY or end > DAY or start == end:
        raise ValueError(f"Not hours {_FORM}: {text.strip()!r}.")
    return Hours(_days(first, last), start, end if end > start else end + DAY)


def _days(first: str | None, last: str | None) -> frozenset[int]:
    if first is None:
        return frozenset(range(7))
    names = [first.lower(), (last or first).lower()]
    if not set(names) <= set(DAYS):
        raise ValueError(f"Not days of the week, which are {', '.join(name.title() for name in DAYS)}: {first!r}.")
    begins, ends = map(DAYS.index, names)
    return frozenset((begins + number) % 7 for number in range((ends - begins) % 7 + 1))
