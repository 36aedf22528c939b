"""A limit that a storage such as Redis counts, for all processes that name it.

The service's own database needs no such storage: `slots` has the counters for that.
"""

from __future__ import annotations

import time

from limits import RateLimitItem
from limits.errors import ConfigurationError, StorageError
from limits.storage import storage_from_string
from limits.strategies import MovingWindowRateLimiter

from transports.base import TransportConfigError, TransportUnavailable


class SharedLimit:
    """A moving-window limit that all processes with the same storage and key share."""

    def __init__(self, item: RateLimitItem, storage: str, key: str) -> None:
        """`storage` is a URL of the `limits` library. Raises `TransportConfigError`."""
        try:
            self._limiter = MovingWindowRateLimiter(storage_from_string(storage, wrap_exceptions=True))
        except (ConfigurationError, ValueError, NotImplementedError) as error:
            raise TransportConfigError("rate_storage is not a storage that can count in a moving window") from error
        self._item = item
        self._key = key

    def take(self, count: int = 1) -> float:
        """Count `count` messages and return 0, or the seconds until that may be tried again.

        Raises `TransportUnavailable` when the storage does not answer.
        """
        try:
            if self._limiter.hit(self._item, self._key, cost=count):
                return 0.0
            return self._limiter.get_window_stats(self._item, self._key).reset_time - time.time()
        except StorageError as error:
            raise TransportUnavailable(
                f"the storage that the rate of {self._key} is counted in does not answer"
            ) from error
