"""What is recorded of those whom a worker was attempting when it stopped, once another has its batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from mailer.delivery.checkpoints.recipients import items_of
from mailer.delivery.checkpoints.taking import Due
from mailer.delivery.flight.places import results_from
from mailer.delivery.flight.recorder import NOBODY, Intent
from mailer.delivery.worklist import Claim, Result
from mailer.storage.database import AnyRow
from mailer.storage.models import DeliveryStatus

STOPPED_WORKER = "The worker stopped while it was sending this message."
LOST_OUTCOME = "The outcome was lost in an unexpected error."


@dataclass(frozen=True, slots=True)
class Left:
    """What is known of the attempts that were not recorded.

    `lost` is what is said of those who are uncertain. `places` is the flight record of them, if there is one that can
    be relied on. `next` is the intent on record from there on: nobody yet, with or without a flight record.
    """

    lost: str
    places: bytes | None = None
    next: Intent = NOBODY


def settled(
    connection: Connection, claim: Claim, row: Due | AnyRow, now: int, left: Left, *, policy: str
) -> tuple[Claim, Sequence[Result], int]:
    """Return what came of those in hand on the batch's `row`, and how many of its recipients have no record then.

    The claim knows it too: also that processes do not die over this batch, if some message of it had an outcome. Times
    are in ms since 1970.
    """
    items = items_of(connection, claim.campaign_id, row.attempting)
    results = results_from(left.places, items, now, left.lost, policy=policy)
    untried = row.pending - sum(result.item.status is None for result in results)
    got_on = any(result.status is not DeliveryStatus.UNCERTAIN for result in results)
    claim = replace(claim, pending=max(0, untried), takeovers=0 if got_on else claim.takeovers)
    return claim, results, untried
