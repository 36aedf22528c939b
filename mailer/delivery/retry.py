"""Decide when to try again: pure functions of numbers. All times and delays are in milliseconds."""

from __future__ import annotations

from mailer.delivery.worklist import Result, WorkItem
from mailer.storage.models import DeliveryStatus

MINUTE = 60_000
# after a recipient's first soft failure, after the second, and so on; the last delay repeats
RECIPIENT_DELAYS = tuple(minutes * MINUTE for minutes in (1, 5, 15, 60, 240, 720))
MAX_ATTEMPTS = 8
MAX_AGE = 24 * 60 * MINUTE  # from a recipient's first attempt to the last
JITTER = 0.2  # a delay is up to half of this share longer or shorter
REST_DELAYS = tuple(minutes * MINUTE for minutes in (1, 5, 15, 60, 240))  # of a campaign whose sender is refused
ERROR_DELAYS = tuple(minutes * MINUTE for minutes in (1, 5))  # of a campaign that met an unexpected error
TRANSPORT_DELAYS = tuple(seconds * 1000 for seconds in (5, 15, 30, 60, 120, 300))  # of a transport that fails


def next_attempt(attempts: int, first_at: int, now: int, *, chance: float) -> int | None:
    """Return when to try a recipient again after `attempts` soft failures, the first at `first_at`; None: never.

    `chance`, from 0 to 1, makes the delay up to a tenth shorter or longer, so that not all retries reach a relay at the
    same moment.
    """
    delay = RECIPIENT_DELAYS[min(attempts, len(RECIPIENT_DELAYS)) - 1]
    due = now + int(delay * (1 + JITTER * (chance - 0.5)))
    return due if attempts < MAX_ATTEMPTS and due - first_at <= MAX_AGE else None


def uncertain_again(uncertain_attempts: int, now: int, *, policy: str) -> int | None:
    """Return when to send a message again that may have arrived: at once, but only once, by the policy `retry`.

    None means never, as always by the policy `hold`.
    """
    return now if policy == "retry" and uncertain_attempts < 2 else None


def transport_back_off(step: int) -> int:
    """Return how long to leave a transport alone after its `step`-th failure in a row, counted from 1."""
    return TRANSPORT_DELAYS[min(step, len(TRANSPORT_DELAYS)) - 1]


def told_back_off(seconds: float) -> int:
    """Return how long to leave a transport alone that says when it can be tried again: at least one second."""
    return min(max(1000, int(seconds * 1000) + 1), TRANSPORT_DELAYS[-1])


def sender_back_off(step: int) -> int | None:
    """Return how long a campaign rests after the `step`-th refusal of its sender in a row; None: it is to be paused."""
    return REST_DELAYS[step - 1] if step <= len(REST_DELAYS) else None


def error_back_off(step: int) -> int | None:
    """Return how long a campaign rests after its `step`-th unexpected error in a row; None: it is to fail."""
    return ERROR_DELAYS[step - 1] if step <= len(ERROR_DELAYS) else None


def uncertain_result(item: WorkItem, now: int, reply: str, *, policy: str) -> Result:
    """Return the outcome for a recipient whose message may have arrived; times and `policy` as in `uncertain_again`."""
    uncertain_attempts = item.uncertain_attempts + 1
    due = uncertain_again(uncertain_attempts, now, policy=policy)
    return Result(item, DeliveryStatus.UNCERTAIN, item.attempts, uncertain_attempts, reply, due)
