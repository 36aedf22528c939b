"""The slots that this process holds, and the moments at which its messages may go.

A process takes slots in blocks of what may go in a tenth of a second, and spaces its messages evenly within them. So
the counter is asked a few times a second and not for each message. A slot that is not used within a tenth of a second
is lost: in any `t` seconds at most `rate × (t + 0.1) + 1` messages go, over all who share the counter.

Blocks follow each other, whoever takes them. None is taken long before its time: where the rate is low, the next slot
belongs to nobody until a quarter of a second before its moment. That a slot may be used late lets the processes work
side by side: one uses up its block while the slots of the next are another's.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from transports.base import TransportUnavailable
from transports.slots import AHEAD, LATE, NOTHING, Limits, SlotCounter

BLOCK = 0.1  # seconds for which a process takes slots at a time
BLOCK_MESSAGES = 50  # at most; smaller blocks at high rates, so that several processes get theirs soon enough
DAY_BLOCKS = 100  # a block has at most this part of what may go in a day
MAX_WAIT = 60.0  # seconds to wait for a slot; if it comes later, the transport is unavailable until then
RETRY = 1.0  # seconds between two questions to a counter that gave nothing


class Slots:
    """The slots that this process holds of one key. `clock` tells seconds that only pass, as `time.monotonic`."""

    def __init__(self, limits: Limits, counter: SlotCounter, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self.counter = counter
        self._clock = clock
        self._interval = limits.interval / 1000
        self._block = NOTHING
        self._next = self._ends = 0.0  # by `clock`: the moment of the next slot, and from when on there are no more
        self._left = 0
        self._ask_again = 0.0  # by `clock`, after the counter gave none
        self._early = 0.0  # by `clock`: until then the counter has none, since the next slot is far away
        self._lock = threading.Lock()

    def reserve(self, most: int = 1, patience: float = MAX_WAIT) -> tuple[float, int]:
        """Take 1 to `most` slots that begin at the next free moment: the seconds until then, and how many they are.

        They are 0, and nothing is taken, if that moment is more than `patience` seconds away. If it is too far away for
        the counter to hand it out, the seconds are those until it can be asked again. Raises `TransportUnavailable`, as
        the counter does.
        """
        with self._lock:
            now = self._clock()
            if not self._usable(now):
                if not patience and now < self._ask_again:
                    return self._ask_again - now, 0
                if now >= self._early:
                    self._take_block(most)
                    now = self._clock()
                if now < self._early:
                    return self._early - now, 0
            moment = max(self._next, now - LATE) if self._interval else now
            if moment - now > patience:
                return moment - now, 0
            count = self._count(moment, most)
            self._next = moment + count * self._interval
            self._left -= count
            return max(0.0, moment - now), count

    def give_back(self, count: int) -> None:
        """Give back slots that were reserved and not used."""
        with self._lock:
            self._left += count
            self._next -= count * self._interval

    def _usable(self, now: float) -> bool:
        moment = max(self._next, now - LATE) if self._interval else now
        return self._left > 0 and moment < self._ends - self._interval / 2

    def _count(self, moment: float, most: int) -> int:
        room = round((self._ends - moment) / self._interval) if self._interval else most
        return max(1, min(most, self._left, room))

    def _take_block(self, most: int) -> None:
        now = self._clock()
        unused = replace(self._block, count=self._left, lasts=self._ends - now)
        try:
            self._block = self.counter.take(self.limits, max(most, self._block_size()), unused)
        except TransportUnavailable:
            self._ask_again = now + RETRY
            raise
        now = self._clock()  # taken after the answer, so that no slot is used before its time
        self._next, self._ends = now + self._block.wait, now + self._block.lasts
        self._left = self._block.count
        by_lot = AHEAD * random.random()  # noqa: S311 - of those who wait, not always the same is to ask first
        self._early = now if self._left else self._next - by_lot

    def _block_size(self) -> int:
        days = [self.limits.quota, self.limits.warmup.first if self.limits.warmup else None]
        sizes = [BLOCK_MESSAGES, *(number // DAY_BLOCKS for number in days if number is not None)]
        if self._interval:
            sizes.append(int(BLOCK / self._interval))
        return max(1, min(sizes))
