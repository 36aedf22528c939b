"""Why the transport is blocked and until when: one row that every process heeds, so that one probes at a time."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from mailer.delivery.retry import transport_back_off
from mailer.storage.models import TransportHealth

_CURRENT = select(TransportHealth.reason, TransportHealth.since, TransportHealth.step, TransportHealth.blocked_until)


@dataclass(frozen=True, slots=True)
class Blockage:
    """The transport's trouble: its words, when it began, how many probes failed, when to probe again."""

    reason: str
    since: int
    step: int
    blocked_until: int


def current(connection: Connection) -> Blockage | None:
    """The blockage in force, or None."""
    found = connection.execute(_CURRENT).one_or_none()
    return Blockage(*found) if found else None


def block(connection: Connection, reason: str, now: int, *, probe: bool) -> None:
    """Record a failure of the transport: a step further after a `probe`; others failing meanwhile change nothing."""
    before = current(connection)
    if before and not probe and before.blocked_until > now:
        return
    step = before.step + 1 if before else 1
    values = {"reason": reason, "step": step, "blocked_until": now + transport_back_off(step)}
    lift(connection)
    connection.execute(insert(TransportHealth).values(id=1, since=before.since if before else now, **values))


def reserve_probe(connection: Connection, until: int) -> None:
    """Keep the other workers away until `until`, while the caller probes."""
    connection.execute(update(TransportHealth).values(blocked_until=until))


def lift(connection: Connection) -> None:
    """The transport works."""
    connection.execute(delete(TransportHealth))
