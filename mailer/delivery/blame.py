"""Decide what an outcome leads to for the recipient, the campaign and the transport; docs/delivery.md has the table.

The decision needs no database and no clock. Only a refusal about an address ever counts against that address. An
outcome that is about the sender or the transport uses up none of the recipient's attempts.
"""

from __future__ import annotations

from dataclasses import dataclass

from mailer.delivery.retry import next_attempt, uncertain_again
from mailer.delivery.worklist import Result, WorkItem
from mailer.storage.models.states import DeliveryStatus
from transports.base import About, Status


@dataclass(frozen=True, slots=True)
class Consequence:
    """What an outcome leads to.

    `status` is the new status of the recipient's record; with None the record stays as it was, and the recipient is
    tried again. `due_at` (ms since 1970) is when the next attempt is due; None: there will be none. `counts`: the
    refusal counts against the address. `rests`: the campaign rests. `trips_breaker`: the transport's breaker opens.
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
    """Return what follows from an outcome, given the recipient's earlier attempts, the first at `first_at` (ms).

    `chance`, from 0 to 1, spreads the times of retries. `policy` says what becomes of a message that may have arrived:
    `retry` sends it once more, `hold` does not.
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


def result_of(item: WorkItem, then: Consequence, about: About, reply: str) -> Result | None:
    """Return what is recorded of an outcome about `about`; None: nothing, the recipient stays as they were."""
    if then.status is None:
        return None
    failed_about = about if then.status is DeliveryStatus.FAILED else None
    counted = (then.attempts, then.uncertain_attempts, reply, then.due_at, failed_about, then.counts)
    return Result(item, then.status, *counted)
