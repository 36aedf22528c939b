"""Requests per caller, counted in the database: the limit holds over all workers and machines."""

from __future__ import annotations

import math
from dataclasses import dataclass

from limits import RateLimitItem, parse_many
from sqlalchemy import case
from sqlalchemy.dialects import postgresql, sqlite

from mailer.errors import TooManyRequests
from mailer.storage.database import Database
from mailer.storage.models import RateLimit


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a rate: `limit` requests, of which `remaining`, until `resets_at` (ms since 1970)."""

    limit: int
    remaining: int
    resets_at: int

    def headers(self) -> dict[str, str]:
        """As Rocket.Chat tells it; the reset is in milliseconds."""
        told = {"Limit": self.limit, "Remaining": self.remaining, "Reset": self.resets_at}
        return {f"X-RateLimit-{name}": str(value) for name, value in told.items()}


class RateLimiter:
    """Applies the configured rates, such as `10/minute`, to a caller; an empty one lets everything through.

    The windows are fixed: one begins with the first request. A power cut may forget the last counts.
    """

    def __init__(self, db: Database, rates: str) -> None:
        self._db = db
        self._rates: list[RateLimitItem] = parse_many(rates) if rates else []

    def hit(self, *identity: str) -> Allowance | None:
        """Count one request of `identity`; return what is left of the tightest rate, None where there is none.

        Raises `TooManyRequests` when a rate is used up; the rates after it are then not counted.
        """
        left = [self._count(rate, rate.key_for(*identity)) for rate in self._rates]
        return min(left, key=lambda one: (one.remaining, -one.resets_at), default=None)

    def _count(self, rate: RateLimitItem, key: str) -> Allowance:
        with self._db.write(durable=False) as connection:
            now = self._db.clock(connection)
            ends = now + rate.get_expiry() * 1000
            insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(RateLimit)
            over = RateLimit.expires_at <= now
            upsert = insert.values(key=key, hits=1, expires_at=ends).on_conflict_do_update(
                index_elements=["key"],
                set_={
                    "hits": case((over, 1), else_=RateLimit.hits + 1),
                    "expires_at": case((over, ends), else_=RateLimit.expires_at),
                },
            )
            hits, ends = connection.execute(upsert.returning(RateLimit.hits, RateLimit.expires_at)).one()
        left = Allowance(rate.amount, max(0, rate.amount - hits), ends)
        if hits > rate.amount:
            raise TooManyRequests(max(1, math.ceil((ends - now) / 1000)), left.headers())
        return left
