"""A sending rate such as `50/second`: evenly spaced in this process and, with a storage, shared by many."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from math import inf

from limits import RateLimitItem, parse
from limits.errors import ConfigurationError, StorageError
from limits.storage import storage_from_string
from limits.strategies import MovingWindowRateLimiter

from transports.base import TransportConfigError, TransportUnavailable

LATE = 0.01  # seconds that may be caught up on, so that a thread that wakes up late does not lower the rate
MIN_WAIT, MAX_WAIT = 0.005, 60.0  # seconds between two questions to a shared limit
PATIENCE = 0.25  # seconds between two questions whether there is still something to wait for
KEPT = 1.0  # seconds for which a count that was given back may be used


class Pace:
    """Hands out moments at least `interval` seconds apart. After a pause or a restart nothing is caught up on."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._next = float("-inf")
        self._lock = threading.Lock()

    def take(self, now: float) -> bool:
        """Take the moment `now` if it is free; whether it was."""
        with self._lock:
            if self._next > now:
                return False
            self._advance(now)
            return True

    def reserve(self, now: float, within: float = inf) -> float | None:
        """Take the next free moment and return the seconds until then; None if that is more than `within` seconds."""
        with self._lock:
            if self._next - now > within:
                return None
            moment = self._advance(now)
        return max(0.0, moment - now)

    def give_back(self) -> None:
        """Let the last moment that was taken be free again, since it was not used."""
        with self._lock:
            self._next -= self._interval

    def _advance(self, now: float) -> float:
        moment = max(self._next, now - min(LATE, self._interval))
        self._next = moment + self._interval
        return moment


class SharedLimit:
    """A moving-window limit that all processes with the same storage and key share."""

    def __init__(self, item: RateLimitItem, storage: str, key: str) -> None:
        try:
            self._limiter = MovingWindowRateLimiter(storage_from_string(storage, wrap_exceptions=True))
        except (ConfigurationError, ValueError, NotImplementedError) as error:
            raise TransportConfigError("rate_storage is not a storage that can count in a moving window") from error
        self._item = item
        self._key = key

    def take(self) -> float:
        """Count one message and return 0, or the seconds until that may be tried again."""
        try:
            if self._limiter.hit(self._item, self._key):
                return 0.0
            return self._limiter.get_window_stats(self._item, self._key).reset_time - time.time()
        except StorageError as error:
            raise TransportUnavailable(
                f"the storage that the rate of {self._key} is counted in does not answer"
            ) from error


class Rate:
    """Decides when the next message may go. Safe to use from several threads."""

    def __init__(self, pace: Pace, shared: SharedLimit | None = None, sleep: Callable[[float], None] = time.sleep):
        self._pace = pace
        self._shared = shared
        self._sleep = sleep
        self._kept_until = float("-inf")  # until when the shared limit's count that was given back may be used

    @classmethod
    def parse(cls, text: str, storage: str = "", key: str = "") -> Rate:
        """From `N/second` (minute, hour, day; `N per 10 seconds`) and a storage URL of the `limits` library, or none.

        Raises `TransportConfigError`.
        """
        try:
            item = parse(text)
        except ValueError as error:
            raise TransportConfigError(f"{text!r} is not a rate such as 50/second") from error
        if item.amount < 1:
            raise TransportConfigError(f"{text!r} is not a rate such as 50/second")
        pace = Pace(item.get_expiry() / item.amount)
        return cls(pace, SharedLimit(item, storage, key) if storage else None)

    def take(self) -> bool:
        """Whether a message may go at once; if so, it is counted. Raises `TransportUnavailable`, as `wait` does."""
        return self._pace.take(time.monotonic()) and self._count() == 0

    def wait(self, wanted: Callable[[], bool] | None = None) -> bool:
        """Wait until a message may go, and count it; False as soon as none is `wanted` any more."""
        longest = MAX_WAIT if wanted is None else PATIENCE
        while (seconds := self._pace.reserve(time.monotonic(), longest)) is None:
            if wanted is not None and not wanted():
                return False
            self._sleep(longest)
        self._sleep(seconds)
        while seconds := self._count():
            if wanted is not None and not wanted():
                self._pace.give_back()
                return False
            self._sleep(min(max(seconds, MIN_WAIT), longest))
        return True

    def give_back(self) -> None:
        """Let another message go in place of one that was counted and has not gone."""
        self._pace.give_back()
        if self._shared is not None:
            self._kept_until = time.monotonic() + KEPT

    def _count(self) -> float:
        """Count one message with the shared limit, if there is one; the seconds until that may be tried again, or 0."""
        if self._shared is None:
            return 0.0
        kept, self._kept_until = self._kept_until, float("-inf")
        return 0.0 if kept > time.monotonic() else self._shared.take()
