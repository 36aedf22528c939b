"""When to try again: pure decisions on numbers. All times are milliseconds."""

from __future__ import annotations

MINUTE = 60_000
RECIPIENT_DELAYS = tuple(minutes * MINUTE for minutes in (1, 5, 15, 60, 240, 720))
MAX_ATTEMPTS = 8
MAX_AGE = 24 * 60 * MINUTE
JITTER = 0.2
REST_DELAYS = tuple(minutes * MINUTE for minutes in (1, 5, 15, 60, 240))
ERROR_DELAYS = tuple(minutes * MINUTE for minutes in (1, 5))
TRANSPORT_DELAYS = tuple(seconds * 1000 for seconds in (5, 15, 30, 60, 120, 300))


def next_attempt(attempts: int, first_at: int, now: int, *, chance: float) -> int | None:
    """When to try a recipient again after `attempts` soft failures, the first at `first_at`; None: give up.

    `chance` from 0 to 1 spreads the delay by up to a fifth, so that a relay is not asked for everyone at one moment.
    """
    delay = RECIPIENT_DELAYS[min(attempts, len(RECIPIENT_DELAYS)) - 1]
    due = now + int(delay * (1 + JITTER * (chance - 0.5)))
    return due if attempts < MAX_ATTEMPTS and due - first_at <= MAX_AGE else None


def uncertain_again(uncertain_attempts: int, now: int, *, policy: str) -> int | None:
    """When to send what may have arrived already: once and at once under `retry`, never (None) under `hold`."""
    return now if policy == "retry" and uncertain_attempts < 2 else None


def transport_back_off(step: int) -> int:
    """How long to leave a transport alone after its `step`-th failure in a row, counted from 1."""
    return TRANSPORT_DELAYS[min(step, len(TRANSPORT_DELAYS)) - 1]


def sender_back_off(step: int) -> int | None:
    """How long a campaign rests after its sender was refused for the `step`-th time in a row; None: until a person."""
    return REST_DELAYS[step - 1] if step <= len(REST_DELAYS) else None


def error_back_off(step: int) -> int | None:
    """How long a campaign rests after its `step`-th unexpected error; None: it has failed."""
    return ERROR_DELAYS[step - 1] if step <= len(ERROR_DELAYS) else None
