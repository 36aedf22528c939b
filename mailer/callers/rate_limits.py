"""Rate limits for callers. Requests are counted in the database, so a limit holds over all workers and machines."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from limits import RateLimitItem, parse_many
from sqlalchemy import BigInteger, Connection, bindparam, case
from sqlalchemy.sql.dml import ReturningInsert

from mailer.errors import TooManyRequests
from mailer.storage.database import Database
from mailer.storage.dialects import Statement, new_row
from mailer.storage.models import RateLimit

MOST_NOTED = 1000  # callers whose rate is known to be used up


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

    A window has a fixed length and begins with a caller's first request. A request that is refused is not counted.
    After a power cut the last counts may be lost.
    """

    def __init__(self, db: Database, rates: str) -> None:
        self._db = db
        self._rates: list[RateLimitItem] = parse_many(rates) if rates else []
        self._used_up: dict[tuple[str, ...], tuple[float, Allowance]] = {}  # until when, by `time.monotonic`

    def hit(self, *identity: str) -> Allowance | None:
        """Count one request of the caller `identity`. Returns what is left of the tightest rate; None: no limit is set.

        Raises `TooManyRequests` when a rate is used up.
        """
        self.refuse_again(*identity)
        if not self._rates:
            return None
        with self._db.write(durable=False) as connection:
            return self.hit_within(connection, self._db.clock(connection), *identity)

    def hit_within(self, connection: Connection, now: int, *identity: str) -> Allowance | None:
        """Do as `hit` does in the caller's transaction, at `now` (ms since 1970), which has to fail if this raises."""
        left = [self._count(connection, now, rate, identity) for rate in self._rates]
        return min(left, key=lambda one: (one.remaining, -one.resets_at), default=None)

    def refuse_again(self, *identity: str) -> None:
        """Raise `TooManyRequests` without a look into the database, if this process knows that a rate is used up."""
        until, left = self._used_up.get(identity, (0.0, None))
        wait = until - time.monotonic()
        if left is not None and wait > 0:
            raise TooManyRequests(math.ceil(wait), left.headers())

    def _count(self, connection: Connection, now: int, rate: RateLimitItem, identity: tuple[str, ...]) -> Allowance:
        ends = now + rate.get_expiry() * 1000
        hits, ends = _HIT.row(connection, {"counted": rate.key_for(*identity), "now": now, "ends": ends})
        left = Allowance(rate.amount, max(0, rate.amount - hits), ends)
        if hits > rate.amount:
            self._note(identity, (ends - now) / 1000, left)
            raise TooManyRequests(max(1, math.ceil((ends - now) / 1000)), left.headers())
        return left

    def _note(self, identity: tuple[str, ...], seconds: float, left: Allowance) -> None:
        if len(self._used_up) >= MOST_NOTED:
            self._used_up.clear()
        self._used_up[identity] = time.monotonic() + seconds, left
