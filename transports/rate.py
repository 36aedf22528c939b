"""The options `rate=`, `quota=` and `warmup=` of a transport's URL, and waiting until a message may go.

`share` has the limits of a transport kept together with other processes. Without it they hold in this one alone.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from operator import length_hint

from transports.base import About, Message, Transport, TransportUnavailable
from transports.held_slots import MAX_WAIT, Slots
from transports.options import Options
from transports.rate_options import read_limits, read_storage
from transports.shared_limit import SharedLimit
from transports.slots import CounterAway, Limits, MemoryCounter, SlotCounter, used_up

PATIENCE = 10.0  # seconds to wait for a counter that does not answer
MIN_PAUSE, PAUSE = 0.005, 0.25  # seconds between two questions to a limit, and whether there is still a message
KEPT = 1.0  # seconds for which a shared limit's count that was given back may be used


class TooSlow(TransportUnavailable):
    """The rate has no slot for so long that waiting for it would hold up whoever sends."""

    about = About.RATE

    def __init__(self, key: str, seconds: float) -> None:
        super().__init__(f"the rate for {key} has no room for a message in the next {seconds:.0f} seconds")
        self.retry_after = seconds


class Rate:
    """Decides when the next message may go. Safe to use from several threads.

    A message needs a slot of `slots`, which are shared with whoever shares their counter, one of `own`, which this
    process alone keeps, and a place in `shared`, a limit that a storage such as Redis keeps. Each may be missing.
    """

    def __init__(
        self,
        slots: Slots | None,
        own: Slots | None = None,
        shared: SharedLimit | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._slots = slots
        self._own = own
        self._shared = shared
        self._sleep = sleep
        self._kept = 0  # counted by the shared limit and given back
        self._kept_until = float("-inf")

    @classmethod
    def from_options(cls, options: Options, key: str) -> Rate | None:
        """From the options of `rate_options.OPTIONS`; None if none is set. `key` tells whose limits they are.

        Raises `TransportConfigError`.
        """
        limits, storage = read_limits(options, key), read_storage(options, key)
        if storage is None:
            return cls(Slots(limits, MemoryCounter())) if limits.text else None
        daily = Slots(replace(limits, interval=0.0), MemoryCounter()) if limits.are_daily else None
        own = Slots(Limits(key, limits.interval, text=limits.text), MemoryCounter(time.monotonic))
        return cls(daily, own, storage)

    def share(self, counter: SlotCounter) -> None:
        """Keep the limits together with all who share `counter`."""
        if self._slots is not None:
            self._slots.counter = counter

    @property
    def limits(self) -> Limits:
        """The limits, to be shown."""
        held = self._slots or self._own
        assert held is not None  # noqa: S101 - `from_options` makes no rate without any
        return held.limits

    def at_once(self, most: int) -> int:
        """How many of `most` messages a request may hold that counts as one: at most what may go in a second."""
        interval = self._own.limits.interval if self._own else self.limits.interval
        return max(1, min(most, int(1000 / interval))) if interval else most

    def take(self) -> bool:
        """Whether a message may go at once; if so, it is counted. Trouble with the counting is left to `wait`."""
        taken: list[Slots] = []
        try:
            for slots in self._held():
                if not slots.reserve(patience=0)[1]:
                    return self._give_up(taken, 1)
                taken.append(slots)
            return self._count(1) == 0 or self._give_up(taken, 1)
        except TransportUnavailable:
            return self._give_up(taken, 1)

    def wait(self, wanted: Callable[[], bool] = lambda: True, most: int = 1) -> int:
        """Wait until a message may go; count it, and up to `most` in all that may go with it. Returns how many.

        0: while it waited, none was `wanted` any more. Raises `TransportUnavailable`: no more may go today, the next
        slot is far away, or the counting fails.
        """
        taken: list[Slots] = []
        count = most
        try:
            for slots in self._held():
                fewer = self._wait_for(slots, wanted, count)
                self._give_up(taken, count - fewer)
                if not fewer:
                    return 0
                taken.append(slots)
                count = fewer
            while seconds := self._count(count):
                if not wanted():
                    self._give_up(taken, count)
                    return 0
                self._sleep(min(max(seconds, MIN_PAUSE), PAUSE))
        except BaseException:
            self._give_up(taken, count)
            raise
        return count

    def give_back(self, count: int = 1) -> None:
        """Let other messages go in place of `count` that were counted and have not gone."""
        self._give_up(self._held(), count)
        if self._shared is not None:
            self._kept, self._kept_until = count, time.monotonic() + KEPT

    def check(self) -> None:
        """Raise `QuotaUsedUp` if nothing may go today, and `TransportUnavailable` if the counting fails."""
        if self._slots is None or not self._slots.limits.are_daily:
            return
        count, now = self._slots.counter.read(self._slots.limits)
        if error := used_up(self._slots.limits, count, now):
            raise error

    def _held(self) -> Sequence[Slots]:
        return [slots for slots in (self._own, self._slots) if slots is not None]

    def _give_up(self, taken: Sequence[Slots], count: int) -> bool:
        for slots in taken:
            slots.give_back(count)
        return False

    def _count(self, count: int) -> float:
        """Count messages with the shared limit, if there is one; the seconds until that may be tried again, or 0."""
        if self._shared is None:
            return 0.0
        kept, self._kept = self._kept if time.monotonic() < self._kept_until else 0, 0
        return self._shared.take(count - kept) if count > kept else 0.0

    def _wait_for(self, slots: Slots, wanted: Callable[[], bool], most: int) -> int:
        ends = time.monotonic() + PATIENCE
        while wanted():
            try:
                seconds, count = slots.reserve(most, PAUSE)
            except CounterAway:
                if time.monotonic() >= ends:
                    raise
                seconds, count = PAUSE, 0
            if seconds > MAX_WAIT:
                raise TooSlow(slots.limits.key, seconds)
            self._sleep(seconds if count else min(seconds, PAUSE))
            if count:
                return count
        return 0


class Rated(ABC):
    """A transport whose limits can be shared with other processes."""

    @abstractmethod
    def rates(self) -> Sequence[Rate]:
        """Its rate, those of its members, or nothing."""


def share(transport: Transport, counter: SlotCounter) -> None:
    """Have the limits of `transport`, and of its members, kept together with all who share `counter`."""
    for rate in rates_of(transport):
        rate.share(counter)


def rates_of(transport: Transport) -> Sequence[Rate]:
    """The rates of a transport and its members."""
    return transport.rates() if isinstance(transport, Rated) else ()


def in_groups(messages: Iterable[Message], rate: Rate | None, most: int) -> Iterator[list[Message]]:
    """The messages in lists of at most `most`, each of those that may go at this moment."""
    source = iter(messages)
    wanted = partial(_wanted, source)
    while wanted() and (rate is None or rate.wait(wanted)):
        group = list(islice(source, 1 if rate else most))
        while rate and group and len(group) < most and wanted() and rate.take():
            following = next(source, None)
            if following is None:
                rate.give_back()
                break
            group.append(following)
        if not group:
            if rate:
                rate.give_back()
            return
        yield group


def in_requests(messages: Iterable[Message], rate: Rate | None, most: int) -> Iterator[list[Message]]:
    """The messages in lists of at most `most` that go as one, and no more often than the rate allows.

    A list has at most what may go in a second. So a request may take up to a second without slowing the rate down.
    """
    source = iter(messages)
    wanted = partial(_wanted, source)
    while wanted():
        count = rate.wait(wanted, rate.at_once(most)) if rate else most
        request = list(islice(source, count))
        if rate and len(request) < count:
            rate.give_back(count - len(request))
        if not request:
            return
        yield request


def _wanted(source: Iterator[Message]) -> bool:
    """Whether there is a message to wait for, as far as the source tells."""
    return length_hint(source, 1) > 0
