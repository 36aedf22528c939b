"""Who in a batch is to be attempted, and what came of it: plain values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mailer.messages.recipient import Recipient
from mailer.storage.models import DeliveryStatus, Priority
from mailer.suppression.refused_addresses import AddressOutcome
from transports.base import About


@dataclass(frozen=True, slots=True)
class Claim:
    """A batch that this worker holds.

    `half_open`: the circuit breaker is half-open, and this batch tries the transport. `campaign_rests`: the campaign
    rests, and this batch tries it. `merged`: of the users who share an address, only one gets the message. `errors`:
    how many unexpected errors the campaign has met in a row. `takeovers`: how many processes in a row died while they
    were sending this batch. `pending`: how many of its recipients had no record when it was claimed. `claimed_at`, in
    ms since 1970, is when the turn of the caller with this priority began.

    `domain`: the batch is for addresses at this domain. `overlaps`: other batches of the campaign are for users in the
    same range (`audience.overlapping_batches`). `room`: how many messages may go to the domain now; None: any number.

    `version`: of the campaign's text; 0: not known, of what a dead worker had in hand.
    """

    campaign_id: str
    number: int
    fence: int
    first_id: str
    last_id: str
    dry_run: bool
    half_open: bool
    merged: bool = False
    campaign_rests: bool = False
    errors: int = 0
    takeovers: int = 0
    caller_id: str = ""
    priority: Priority = Priority.NORMAL
    claimed_at: int = 0
    pending: int = 0
    domain: str = ""
    overlaps: bool = False
    room: int | None = None
    version: int = 1


class Unclaimable(Exception):
    """No batch of the campaign can be claimed, by a fault of its own: the error that this one was raised from."""

    def __init__(self, campaign_id: str) -> None:
        super().__init__(campaign_id)
        self.campaign_id = campaign_id


class WorkItem(NamedTuple):
    """One recipient to attempt, and what came of earlier attempts. `status` is None if there were none.

    `first_at` is the time of the first, in ms since 1970. `refused_before`: refusals of the address are on record,
    which are deleted when it takes a message.
    """

    recipient: Recipient
    status: DeliveryStatus | None = None
    attempts: int = 0
    uncertain_attempts: int = 0
    first_at: int | None = None
    refused_before: bool = False


class Result(NamedTuple):
    """What came of an attempt.

    `due_at` (ms since 1970) is when another is due; None: there will be none. `about` is whom a failure is about.
    `counts`: the failure counts against the address.
    """

    item: WorkItem
    status: DeliveryStatus
    attempts: int
    uncertain_attempts: int
    reply: str
    due_at: int | None = None
    about: About | None = None
    counts: bool = False


def address_outcomes(results: Sequence[Result]) -> list[AddressOutcome]:
    """Return what `results` show about addresses: refusals that count against one, and messages that were taken.

    Nothing, if all that they show is on record: no refusals are, and there were none.
    """
    if not any(one.counts or one.item.refused_before for one in results):
        return []
    return [_address_outcome(one) for one in results if one.counts or one.status is DeliveryStatus.SENT]


def _address_outcome(result: Result) -> AddressOutcome:
    refusal = result.reply if result.counts else None
    return AddressOutcome(result.item.recipient.address, refusal, result.item.refused_before)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the database said at a checkpoint: who may be attempted now, and whether the batch goes on at all.

    It does if the campaign still runs and nobody holds all sending.
    `now` is its clock, in ms since 1970. The lease was extended at `since` or later, in seconds of `boot_time`.
    `places` has a byte of the flight record for each of `items`.
    """

    since: float
    now: int
    items: Sequence[WorkItem]
    running: bool
    places: memoryview


def within(claim: Claim, items: Sequence[WorkItem]) -> tuple[Sequence[WorkItem], int]:
    """Return those of `items` for whom there are slots, and how many more there are without a record."""
    if claim.room is None or len(items) <= claim.room:
        return items, 0
    first = items[: claim.room]
    return first, max(0, claim.pending - untried(first))


def untried(items: Sequence[WorkItem], beyond: int = 0) -> int:
    """Return how many of `items` have no record, and with them those `beyond`."""
    return sum(item.status is None for item in items) + beyond


def user_ids(items: Sequence[WorkItem]) -> str:
    """The ids of `items`, as a JSON array."""
    return json.dumps([item.recipient.user_id for item in items])
