"""Requests per caller, counted in the database: the limit holds over all workers and machines."""

from __future__ import annotations

import math

from limits import RateLimitItem, parse_many
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter
from sqlalchemy import case, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from mailer.database import Database
from mailer.errors import TooManyRequests
from mailer.models import RateLimit


class DatabaseStorage(Storage):
    """Counters for the `limits` library in the table `rate_limits`; a power cut may forget the last of them."""

    STORAGE_SCHEME = ["mailer-database"]  # noqa: RUF012 - the library declares it so

    def __init__(self, db: Database) -> None:
        super().__init__()
        self._db = db

    @property
    def base_exceptions(self) -> type[Exception]:
        """Errors that the library may wrap: none, they are the caller's."""
        return _Never

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Add to the counter, which starts anew once its window of `expiry` seconds is over."""
        with self._db.write(durable=False) as connection:
            now = self._db.clock(connection)
            ends = now + int(expiry * 1000)
            insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(RateLimit)
            over = RateLimit.expires_at <= now
            upsert = insert.values(key=key, hits=amount, expires_at=ends).on_conflict_do_update(
                index_elements=["key"],
                set_={
                    "hits": case((over, amount), else_=RateLimit.hits + amount),
                    "expires_at": case((over, ends), else_=RateLimit.expires_at),
                },
            )
            hits: int = connection.execute(upsert.returning(RateLimit.hits)).scalar_one()
            return hits

    def get(self, key: str) -> int:
        """The counter's value now."""
        with self._db.read() as connection:
            now = self._db.clock(connection)
            hits = select(RateLimit.hits).where(RateLimit.key == key, RateLimit.expires_at > now)
            return connection.scalar(hits) or 0

    def get_expiry(self, key: str) -> float:
        """When the window ends, in seconds since 1970."""
        with self._db.read() as connection:
            ends = connection.scalar(select(RateLimit.expires_at).where(RateLimit.key == key))
            return (ends if ends is not None else self._db.clock(connection)) / 1000

    def check(self) -> bool:
        """Whether the database answers."""
        return self.get("") == 0

    def reset(self) -> int | None:
        """Forget every counter; return how many there were."""
        with self._db.write() as connection:
            return connection.execute(delete(RateLimit)).rowcount

    def clear(self, key: str) -> None:
        """Forget one counter."""
        with self._db.write() as connection:
            connection.execute(delete(RateLimit).where(RateLimit.key == key))


class _Never(Exception):
    """Raised by nobody."""


class Throttle:
    """Applies the configured rates, such as `10/minute`, to a caller; an empty one lets everything through."""

    def __init__(self, db: Database, rates: str) -> None:
        self._db = db
        self._limiter = FixedWindowRateLimiter(DatabaseStorage(db))
        self._rates: list[RateLimitItem] = parse_many(rates) if rates else []

    def hit(self, *identity: str) -> None:
        """Count one request of `identity`; raise `TooManyRequests` when a rate is used up."""
        for rate in self._rates:
            if not self._limiter.hit(rate, *identity):
                raise self._refusal(rate, *identity)

    def _refusal(self, rate: RateLimitItem, *identity: str) -> TooManyRequests:
        reset = self._limiter.get_window_stats(rate, *identity).reset_time
        with self._db.read() as connection:
            now = self._db.clock(connection) / 1000
        return TooManyRequests(rate.amount, math.ceil(reset), max(1, math.ceil(reset - now)))
