"""Who bears an outcome, as a table; and the whole of it on record, on both databases."""

from __future__ import annotations

import pytest

from mailer.delivery.blame import Consequence, consequence
from mailer.delivery.retry import MINUTE
from mailer.storage.models import DeliveryStatus
from transports.base import About, Status

SOFT = Consequence(DeliveryStatus.DEFERRED, 3, 0, 15 * MINUTE)
HARD = Consequence(DeliveryStatus.FAILED, 3, 0)
TABLE = [
    *[(Status.SENT, about, Consequence(DeliveryStatus.SENT, 3, 0)) for about in About],
    *[(Status.UNCERTAIN, about, Consequence(DeliveryStatus.UNCERTAIN, 2, 1, 0)) for about in About],
    (Status.REFUSED, About.ADDRESS, Consequence(DeliveryStatus.FAILED, 3, 0, counts=True)),
    (Status.DEFERRED, About.ADDRESS, SOFT),
    (Status.REFUSED, About.MAILBOX, SOFT),
    (Status.DEFERRED, About.MAILBOX, SOFT),
    (Status.REFUSED, About.MESSAGE, HARD),
    (Status.DEFERRED, About.MESSAGE, SOFT),
    *[(status, About.SENDER, Consequence(None, 2, 0, rests=True)) for status in (Status.REFUSED, Status.DEFERRED)],
    *[
        (status, about, Consequence(None, 2, 0, trips_breaker=True))
        for status in (Status.REFUSED, Status.DEFERRED)
        for about in (About.RATE, About.TRANSPORT)
    ],
]


@pytest.mark.parametrize(("status", "about", "follows"), TABLE, ids=[f"{row[0]} {row[1]}" for row in TABLE])
def test_each_outcome_has_its_bearer(status: Status, about: About, follows: Consequence) -> None:
    assert consequence(status, about, 2, 0, 0, 0, chance=0.5, policy="retry") == follows


def test_table_has_every_status_about_everybody() -> None:
    assert {row[:2] for row in TABLE} == {(status, about) for status in Status for about in About}


@pytest.mark.parametrize("status", [Status.REFUSED, Status.DEFERRED])
def test_mailbox_that_stays_full_fails_in_the_end_and_never_counts(status: Status) -> None:
    last = consequence(status, About.MAILBOX, 7, 0, 0, 0, chance=0.5, policy="retry")
    assert last == Consequence(DeliveryStatus.FAILED, 8, 0)


def test_uncertain_is_sent_once_more_or_held() -> None:
    once, again = (
        consequence(Status.UNCERTAIN, About.MESSAGE, 0, uncertain_attempts, 0, 7, chance=0.5, policy="retry")
        for uncertain_attempts in (0, 1)
    )
    assert (once.due_at, again.due_at) == (7, None)
    assert consequence(Status.UNCERTAIN, About.MESSAGE, 0, 0, 0, 7, chance=0.5, policy="hold").due_at is None
