"""Who bears an outcome: the recipient, the campaign or the transport. A pure decision; docs/delivery.md has the table.

Only a refusal about an address ever counts against it. What is about whoever sends uses up nobody's attempts.
"""

from __future__ import annotations

from dataclasses import dataclass

from mailer.delivery.retry import next_attempt, uncertain_again
from mailer.storage.states import DeliveryStatus
from transports.base import About, Status


@dataclass(frozen=True, slots=True)
class Consequence:
    """What an outcome leads to.

    `status` is what the recipient's record becomes; None leaves it as it was, and they are tried again. `due_at` in ms
    is when, if ever. `counts`: against the address. `rests`: the campaign. `trips_breaker`: the
    transport's circuit breaker opens.
    """

    status: DeliveryStatus | None
    attempts: int
    uncertain_attempts: int
    due_at: int | None = None
    counts: bool = False
    rests: bool = False
    trips_breaker: bool = False


def consequence(
    status: Status,
    about: About,
    attempts: int,
    uncertain_attempts: int,
    first_at: int,
    now: int,
    *,
    chance: float,
    policy: str,
) -> Consequence:
    """What follows from an outcome, given the recipient's earlier tries, the first of them at `first_at` (ms).

    `chance` from 0 to 1 spreads retries; `policy` is `retry` or `hold` and says what becomes of an uncertain one.
    """
    if status is Status.SENT:
        return Consequence(DeliveryStatus.SENT, attempts + 1, uncertain_attempts)
    if status is Status.UNCERTAIN:  # whoever it is about, a copy may have arrived
        due = uncertain_again(uncertain_attempts + 1, now, policy=policy)
        return Consequence(DeliveryStatus.UNCERTAIN, attempts, uncertain_attempts + 1, due)
    if about in (About.RATE, About.TRANSPORT):
        return Consequence(None, attempts, uncertain_attempts, trips_breaker=True)
    if about is About.SENDER:
        return Consequence(None, attempts, uncertain_attempts, rests=True)
    if status is Status.REFUSED and about is not About.MAILBOX:
        return Consequence(DeliveryStatus.FAILED, attempts + 1, uncertain_attempts, counts=about is About.ADDRESS)
    due = next_attempt(attempts + 1, first_at, now, chance=chance)
    return Consequence(
        DeliveryStatus.FAILED if due is None else DeliveryStatus.DEFERRED, attempts + 1, uncertain_attempts, due
    )
