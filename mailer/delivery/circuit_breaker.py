"""The transport's circuit breaker: one row of the database, so that all processes leave a failing transport alone.

| state     | in the database           | who sends                                                |
|-----------|---------------------------|----------------------------------------------------------|
| closed    | no row                    | everybody                                                |
| open      | `retry_at` is yet to come | nobody                                                   |
| half-open | `retry_at` has come       | one worker: success closes the breaker, failure opens it |
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, exists, insert, select, update

from mailer.delivery.retry import told_back_off, transport_back_off
from mailer.storage.dialects import Statement
from mailer.storage.models import CircuitBreaker, SendingHold
from mailer.timeline.events import Kind, happened
from transports.slots import says_used_up

HELD = exists(select(SendingHold.id))
"""A condition: an operator holds all sending (`campaigns.hold`), whatever the breaker says."""

# every claim runs it
_OBSTACLES = Statement(lambda _kind: select(HELD, select(CircuitBreaker.retry_at).scalar_subquery()))
_TRIPPED = select(CircuitBreaker.reason, CircuitBreaker.since, CircuitBreaker.failures, CircuitBreaker.retry_at)


@dataclass(frozen=True, slots=True)
class Tripped:
    """A breaker that is open or half-open. Times are milliseconds since 1970.

    `reason` is what the transport said at its last failure. `since` is when it first failed, `failures` is how often in
    a row. From `retry_at` on, one worker may try the transport.
    """

    reason: str
    since: int
    failures: int
    retry_at: int

    def is_open(self, now: int) -> bool:
        """Whether nobody may send at `now` (ms since 1970). If this is false, the breaker is half-open."""
        return self.retry_at > now

    @property
    def is_planned(self) -> bool:
        """Whether only a quota or a warm-up of the settings is used up for the day, which is no trouble."""
        return says_used_up(self.reason)


def may_send(connection: Connection, now: int) -> bool:
    """Whether anything may be claimed at `now` (ms): the breaker is not open, and nobody holds all sending."""
    return may_try(connection, now)[0]


def may_try(connection: Connection, now: int) -> tuple[bool, bool]:
    """As `may_send`, and whether it would be a try: the breaker is half-open."""
    held, retry_at = _OBSTACLES.row(connection, {})
    return not held and (retry_at is None or retry_at <= now), retry_at is not None


def tripped(connection: Connection) -> Tripped | None:
    """Return the breaker if it is open or half-open; None means that it is closed."""
    found = connection.execute(_TRIPPED).one_or_none()
    return Tripped(*found) if found else None


def trip(connection: Connection, reason: str, now: int, *, half_open: bool, retry_after: float | None = None) -> None:
    """Open the breaker after a failure at `now` (ms since 1970), for longer with each failure in a row.

    Where the transport said when it can be tried again, in seconds, that is when, but after five minutes at the latest:
    a limit may be raised meanwhile.
    `half_open` means that the caller was the one worker that tried the transport. While the breaker is open, failures
    of the others change nothing: they began to send before it opened.
    """
    before = tripped(connection)
    if before and not half_open and before.is_open(now):
        return
    failures = before.failures + 1 if before else 1
    wait = transport_back_off(failures) if retry_after is None else told_back_off(retry_after)
    values = {"reason": reason, "failures": failures, "retry_at": now + wait}
    connection.execute(delete(CircuitBreaker))
    connection.execute(insert(CircuitBreaker).values(id=1, since=before.since if before else now, **values))
    if before is None:
        happened(connection, now, Kind.BREAKER_OPENED, reason=reason)


def reserve(connection: Connection, until: int) -> None:
    """Keep the breaker open for the other workers until `until` (ms), while the caller tries the transport."""
    connection.execute(update(CircuitBreaker).values(retry_at=until))


def close(connection: Connection, now: int) -> None:
    """Close the breaker at `now` (ms since 1970), since the transport works: everybody may send."""
    before = tripped(connection)
    connection.execute(delete(CircuitBreaker))
    if before is not None:
        was = before.reason
        happened(connection, now, Kind.BREAKER_CLOSED, reason=was, since=before.since, tries=before.failures)
