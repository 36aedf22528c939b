"""Who in a batch is to be attempted, and what came of it: plain values, and the queries that read them."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, or_, select

from mailer.audience.conditions import audience_since
from mailer.audience.shared_addresses import covered_by_another_user
from mailer.directory.users import find_by_address
from mailer.messages.recipient import Recipient
from mailer.storage.database import AnyRow
from mailer.storage.dialects import driver_rows
from mailer.storage.erased.people import anybody_erased
from mailer.storage.models import Campaign, Delivery, DeliveryStatus, Priority, User
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


_PAST = (Delivery.status, Delivery.attempts, Delivery.uncertain_attempts, Delivery.first_at)


def due_items(
    connection: Connection,
    claim: Claim,
    now: int,
    *,
    mine: ColumnElement[bool] | None = None,
    limit: int | None = None,
) -> list[WorkItem]:
    """Return everyone in the batch who has no final outcome and is due at `now` (ms), ordered by user id.

    `mine` is a condition on users without a record who are in the range: that they belong to this batch and not to one
    that overlaps with it. With `limit`, at most so many are returned.

    First run, retry after a soft failure and recovery after a crash all start here.
    """
    if claim.dry_run:
        return _dry_run(connection, claim, now)
    wanted = select(Campaign.query, Campaign.started_at).where(Campaign.id == claim.campaign_id)
    campaign = connection.execute(wanted).one()
    untried = and_(Delivery.user_id.is_(None), audience_since(campaign.query, campaign.started_at))
    if claim.merged:
        untried = and_(untried, ~covered_by_another_user(claim.campaign_id, campaign.query, campaign.started_at))
    again = Delivery.due_at <= now
    if mine is not None:
        untried, again = and_(untried, mine), and_(again, Delivery.batch == claim.number)
    in_range = and_(User.id >= claim.first_id, User.id <= claim.last_id)
    query = _users_and_past(claim.campaign_id).where(in_range, or_(untried, again))
    rows = driver_rows(connection, query.order_by(User.id).limit(limit))
    items = [WorkItem(Recipient(row[0], row[1], row[2] or "")) if row[3] is None else _item(row) for row in rows]
    if anybody_erased(connection):
        items = sorted([*items, *_due_without_user(connection, claim, again)], key=lambda item: item.recipient.user_id)
    return items[:limit]


def _due_without_user(connection: Connection, claim: Claim, again: ColumnElement[bool]) -> list[WorkItem]:
    """Those who are to be tried again and were erased: they have no address, so they are recorded as skipped."""
    in_range = (Delivery.user_id >= claim.first_id, Delivery.user_id <= claim.last_id)
    mine = and_(Delivery.campaign_id == claim.campaign_id, *in_range)
    gone = ~select(User.id).where(User.id == Delivery.user_id).exists()
    rows = connection.execute(select(Delivery.user_id, *_PAST).where(mine, again, gone).order_by(Delivery.user_id))
    return [_with_past(Recipient(row.user_id, "", ""), row) for row in rows]


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


def items_of(connection: Connection, campaign_id: str, user_ids: Collection[str]) -> list[WorkItem]:
    """Return these users with their earlier attempts. One who has left the directory has no name and no address."""
    rows = connection.execute(_users_and_past(campaign_id).where(User.id.in_(user_ids)))
    known = {row.id: _item(row) for row in rows}
    return [known.get(user_id) or _item_without_user(connection, campaign_id, user_id) for user_id in user_ids]


def _users_and_past(campaign_id: str) -> Select[*tuple[Any, ...]]:
    mine = and_(Delivery.campaign_id == campaign_id, Delivery.user_id == User.id)
    return select(User.id, User.name, User.email, *_PAST).outerjoin(Delivery, mine)


def _item_without_user(connection: Connection, campaign_id: str, user_id: str) -> WorkItem:
    mine = and_(Delivery.campaign_id == campaign_id, Delivery.user_id == user_id)
    past = connection.execute(select(*_PAST).where(mine)).one_or_none()
    return _with_past(Recipient(user_id, "", ""), past)


def _dry_run(connection: Connection, claim: Claim, now: int) -> list[WorkItem]:
    """The sender's own address, subscribed or not, if it is due.

    Its name is that of the user who has the address, or that given with the sender, or the address's local part.
    """
    mine = and_(Delivery.campaign_id == Campaign.id, Delivery.user_id == claim.first_id)
    columns = (Campaign.sender, Campaign.sender_name, Delivery.due_at, *_PAST)
    query = select(*columns).outerjoin(Delivery, mine).where(Campaign.id == claim.campaign_id)
    row = connection.execute(query).one()
    user = find_by_address(connection, row.sender)
    name = (user and user.name) or row.sender_name or row.sender.rpartition("@")[0]
    due = row.status is None or (row.due_at is not None and row.due_at <= now)
    return [_with_past(Recipient(claim.first_id, name, row.sender), row)] if due else []


def _item(row: AnyRow | tuple[Any, ...]) -> WorkItem:
    user_id, name, email, status, attempts, uncertain_attempts, first_at = row
    recipient = Recipient(user_id, name, email or "")
    if status is None:
        return WorkItem(recipient)
    return WorkItem(recipient, DeliveryStatus(status), attempts, uncertain_attempts, first_at)


def _with_past(recipient: Recipient, past: AnyRow | None) -> WorkItem:
    if past is None or past.status is None:
        return WorkItem(recipient)
    return WorkItem(recipient, DeliveryStatus(past.status), past.attempts, past.uncertain_attempts, past.first_at)
