"""Rate limits for callers. Requests are counted in the database, so a limit holds over all workers and machines."""

from __future__ import annotations

import math
from dataclasses import dataclass

from limits import RateLimitItem, parse_many
from sqlalchemy import BigInteger, bindparam, case
from sqlalchemy.sql.dml import ReturningInsert

from mailer.errors import TooManyRequests
from mailer.storage.database import Database
from mailer.storage.dialects import Statement, new_row
from mailer.storage.models import RateLimit


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a rate: `remaining` of `limit` requests, until `resets_at` (ms since 1970)."""

    limit: int
    remaining: int
    resets_at: int

    def headers(self) -> dict[str, str]:
        """The headers in which Rocket.Chat says so; the reset is in ms since 1970."""
        told = {"Limit": self.limit, "Remaining": self.remaining, "Reset": self.resets_at}
        return {f"X-RateLimit-{name}": str(value) for name, value in told.items()}


def _hitting(kind: str) -> ReturningInsert[int, int]:
    """Begin a window with its first request, or count one more in it."""
    ends = bindparam("ends", type_=BigInteger)
    over = RateLimit.expires_at <= bindparam("now", type_=BigInteger)
    counted = {
        "hits": case((over, 1), else_=RateLimit.hits + 1),
        "expires_at": case((over, ends), else_=RateLimit.expires_at),
    }
    first = new_row(kind, RateLimit).values(key=bindparam("counted"), hits=1, expires_at=ends)
    return first.on_conflict_do_update(index_elements=["key"], set_=counted).returning(
        RateLimit.hits, RateLimit.expires_at
    )


_HIT = Statement(_hitting)


class RateLimiter:
    """Applies the configured rates, such as `10/minute`, to a caller. An empty text means no limit.

    A window has a fixed length and begins with a caller's first request. After a power cut the last counts may be lost.
    """

    def __init__(self, db: Database, rates: str) -> None:
        self._db = db
        self._rates: list[RateLimitItem] = parse_many(rates) if rates else []

    def hit(self, *identity: str) -> Allowance | None:
        """Count one request of the caller `identity`. Returns what is left of the tightest rate; None: no limit is set.

        Raises `TooManyRequests` when a rate is used up; the rates after it are then not counted.
        """
        left = [self._count(rate, rate.key_for(*identity)) for rate in self._rates]
        return min(left, key=lambda one: (one.remaining, -one.resets_at), default=None)

    def _count(self, rate: RateLimitItem, key: str) -> Allowance:
        with self._db.write(durable=False) as connection:
            now = self._db.clock(connection)
            ends = now + rate.get_expiry() * 1000
            hits, ends = _HIT.row(connection, {"counted": key, "now": now, "ends": ends})
        left = Allowance(rate.amount, max(0, rate.amount - hits), ends)
        if hits > rate.amount:
            raise TooManyRequests(max(1, math.ceil((ends - now) / 1000)), left.headers())
        return left
