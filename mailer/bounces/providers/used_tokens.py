"""Tokens that count once, with what they came with, for all processes of the service.

They are kept as digests among the counters of requests, which expire as well: what stands there is not personal, and a
backup without it loses nothing.
"""

from __future__ import annotations

import hashlib
import threading
import time

from sqlalchemy import delete, select

from mailer.storage.database import Database
from mailer.storage.dialects import Upsert
from mailer.storage.models import RateLimit

TIDY_SECONDS = 600.0  # between two removals of what has expired

_ADD = Upsert(RateLimit, lambda new: new.on_conflict_do_nothing())


class UsedTokens:
    """The tokens of one provider, whose `name` no counter has. A token is forgotten `lifetime` ms after it came."""

    def __init__(self, db: Database, name: str, lifetime: int) -> None:
        self._db = db
        self._name = name
        self._lifetime = lifetime
        self._tidied = time.monotonic()
        self._lock = threading.Lock()

    def for_another(self, token: str, body: bytes, now: int) -> bool:
        """Whether the token came before, and with another body. `now` is in ms since 1970."""
        key, whole = self._keys(token, body)
        wanted = select(RateLimit.key).where(RateLimit.key.in_((key, whole)), RateLimit.expires_at > now)
        with self._db.read() as connection:
            found = set(connection.execute(wanted).scalars())
        return key in found and whole not in found

    def remember(self, token: str, body: bytes, now: int) -> None:
        """Take note that the token came with this body, at `now`."""
        rows = [{"key": key, "hits": 1, "expires_at": now + self._lifetime} for key in self._keys(token, body)]
        with self._db.write(durable=False) as connection:
            _ADD.run(connection, rows)
            if self._is_time_to_tidy():
                old = RateLimit.key.startswith(f"{self._name}/") & (RateLimit.expires_at <= now)
                connection.execute(delete(RateLimit).where(old))

    def _keys(self, token: str, body: bytes) -> tuple[str, str]:
        key = f"{self._name}/{hashlib.sha256(token.encode('utf-8', 'surrogatepass')).hexdigest()}"
        return key, f"{key}/{hashlib.sha256(body).hexdigest()}"

    def _is_time_to_tidy(self) -> bool:
        with self._lock:
            now = time.monotonic()
            if now - self._tidied < TIDY_SECONDS:
                return False
            self._tidied = now
            return True
