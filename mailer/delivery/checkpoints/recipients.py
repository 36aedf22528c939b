"""Read who of a batch is to be attempted, and what came of earlier attempts.

In the usual case nobody in the batch was attempted before, so that there is nothing to join with. Both ways give the
same.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Select, and_, bindparam, literal, or_, select

from mailer.audience.conditions import audience_since
from mailer.audience.shared_addresses import covered_by_another_user
from mailer.delivery.worklist import Claim, WorkItem
from mailer.directory.users import find_by_address
from mailer.messages.recipient import Recipient
from mailer.storage.database import AnyRow
from mailer.storage.dialects import Statement, driver_rows
from mailer.storage.erased.people import anybody_erased
from mailer.storage.models import Campaign, Delivery, DeliveryStatus, User

_make = tuple.__new__
_NO_PAST = tuple(WorkItem._field_defaults.values())
_NOW = bindparam("now", type_=BigInteger)
_IN_RANGE = and_(User.id >= bindparam("first"), User.id <= bindparam("last"))
_AUDIENCE = select(Campaign.query, Campaign.started_at).where(Campaign.id == bindparam("campaign"))
_RECORD = and_(Delivery.user_id >= bindparam("first"), Delivery.user_id <= bindparam("last"))
_ANY_RECORD = Statement(
    lambda _kind: select(literal(1)).where(Delivery.campaign_id == bindparam("campaign"), _RECORD).limit(1)
)
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
    query, started_at = connection.execute(_AUDIENCE, {"campaign": claim.campaign_id}).one()
    about = (claim.campaign_id, json.dumps(query), started_at, claim.merged)
    place = {"first": claim.first_id, "last": claim.last_id, "now": now}
    if mine is None and not _ANY_RECORD.rows(connection, {"campaign": claim.campaign_id, **place}):
        rows = driver_rows(connection, _first(_untried_users(*about), limit), place)
        return [_make(WorkItem, (_make(Recipient, row), *_NO_PAST)) for row in rows]  # as if by name, but quicker
    due = _due_users(*about) if mine is None else _due_users.__wrapped__(*about, mine, claim.number)
    items = [_item(row) for row in driver_rows(connection, _first(due, limit), place)]
    if anybody_erased(connection):
        more = _due_without_user(connection, claim, now, everywhere=mine is None)
        items = sorted([*items, *more], key=lambda item: item.recipient.user_id)
    return items[:limit]


def _due_without_user(connection: Connection, claim: Claim, now: int, *, everywhere: bool) -> list[WorkItem]:
    """Those who are to be tried again and were erased: they have no address, so they are recorded as skipped."""
    in_range = (Delivery.user_id >= claim.first_id, Delivery.user_id <= claim.last_id, Delivery.due_at <= now)
    mine = and_(Delivery.campaign_id == claim.campaign_id, *in_range)
    mine = mine if everywhere else and_(mine, Delivery.batch == claim.number)
    gone = ~select(User.id).where(User.id == Delivery.user_id).exists()
    rows = connection.execute(select(Delivery.user_id, *_PAST).where(mine, gone).order_by(Delivery.user_id))
    return [_with_past(Recipient(row.user_id, "", ""), row) for row in rows]


def _first(query: Select[*tuple[Any, ...]], limit: int | None) -> Select[*tuple[Any, ...]]:
    return query if limit is None else query.limit(limit)


@lru_cache(maxsize=16)
def _untried_users(campaign_id: str, query: str, started_at: int, merged: bool) -> Select[*tuple[Any, ...]]:
    """Those in a range of whom none has a record. Kept for the campaign: building it takes as long as reading a third
    of its rows.
    """
    users = select(User.id, User.name, User.email)
    return users.where(_IN_RANGE, _untried(campaign_id, query, started_at, merged)).order_by(User.id)


@lru_cache(maxsize=16)
def _due_users(
    campaign_id: str,
    query: str,
    started_at: int,
    merged: bool,
    mine: ColumnElement[bool] | None = None,
    batch: int | None = None,
) -> Select[*tuple[Any, ...]]:
    """Those in a range who have no record or are due, with their earlier attempts; of `batch`, if there are others."""
    untried = and_(Delivery.user_id.is_(None), _untried(campaign_id, query, started_at, merged))
    again = Delivery.due_at <= _NOW
    if mine is not None:
        untried, again = and_(untried, mine), and_(again, Delivery.batch == batch)
    return _users_and_past(campaign_id).where(_IN_RANGE, or_(untried, again)).order_by(User.id)


def _untried(campaign_id: str, query: str, started_at: int, merged: bool) -> ColumnElement[bool]:
    selector = json.loads(query)
    member = audience_since(selector, started_at)
    return and_(member, ~covered_by_another_user(campaign_id, selector, started_at)) if merged else member


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
    """The address of this batch, subscribed or not, if it is due: the sender's own, or the one that is named.

    Its name is that of the user who has the address, or that given with the sender, or the address's local part.
    """
    mine = and_(Delivery.campaign_id == Campaign.id, Delivery.user_id == claim.first_id)
    columns = (Campaign.sender, Campaign.sender_name, Campaign.test_recipients, Delivery.due_at, *_PAST)
    query = select(*columns).outerjoin(Delivery, mine).where(Campaign.id == claim.campaign_id)
    row = connection.execute(query).one()
    address = row.test_recipients[claim.number] if row.test_recipients else row.sender
    user = find_by_address(connection, address)
    own_name = "" if row.test_recipients else row.sender_name
    name = (user and user.name) or own_name or address.rpartition("@")[0]
    due = row.status is None or (row.due_at is not None and row.due_at <= now)
    return [_with_past(Recipient(claim.first_id, name, address), row)] if due else []


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
