"""Which user gets the one message for an address that several users share, as SQL conditions.

It is the first of them by id who is in the audience. But if one of them has unsubscribed, nobody at the address gets
it. Once the campaign has begun, the choice stays: neither an unsubscription nor a change of the directory makes a
second user of the address get the message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, exists, func, or_, select
from sqlalchemy.orm import aliased

from mailer.audience.conditions import audience, audience_since
from mailer.storage.models import Batch, BatchState, Delivery, DeliveryStatus, User, Wish, WishOf, comparable_address


def merged_audience(query: Mapping[str, Any]) -> ColumnElement[bool]:
    """A condition: of the users in the audience of `query` who have this address, the user is the first by id.

    For this all users are grouped by address once. Searching the other users of every single address would take hours
    where thousands share one. Only those who have unsubscribed are searched, and for them there is an index.
    """
    member = aliased(User)
    wanted = [~one for one in _wishes(member)]  # each denied alone, so that PostgreSQL can make a join of it
    firsts = select(func.min(member.id)).where(audience(query, member), *wanted).group_by(comparable_address(member))
    return User.id.in_(firsts)


def address_unsubscribed(user: type[User] = User, *, before: int | None = None) -> ColumnElement[bool]:
    """A condition: somebody has unsubscribed who has the user's address, or had it when they did.

    With `before` (ms since 1970), they did so before that time.
    """
    return or_(*_wishes(user, before=before))


def _wishes(user: type[User], *, before: int | None = None) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    twin = aliased(User)
    have = exists().where(twin.unsubscribed_at.is_not(None), comparable_address(twin) == comparable_address(user))
    had = exists().where(Wish.kind == WishOf.SHARED, Wish.value == comparable_address(user))
    if before is not None:
        have, had = have.where(twin.unsubscribed_at < before), had.where(Wish.unsubscribed_at < before)
    return have, had


def covered_by_another_user(campaign_id: str, query: Mapping[str, Any], since: int) -> ColumnElement[bool]:
    """A condition: the user does not get the campaign's message, because of another user with the same address.

    The other user has unsubscribed, was written to already, or comes first in the audience as it was at `since` (ms
    since 1970). Coming first counts only with a recorded outcome, or in a batch that is not done. Otherwise a user who
    was added while the campaign ran, and is in no batch, would keep the message from everybody at the address.
    """
    twin = aliased(User)
    outcome = aliased(Delivery)
    recorded = exists().where(outcome.campaign_id == campaign_id, outcome.user_id == twin.id)
    in_batch = and_(Batch.first_id <= twin.id, Batch.last_id >= twin.id)
    coming = exists().where(Batch.campaign_id == campaign_id, in_batch, Batch.state != BatchState.DONE)
    first = and_(twin.id < User.id, audience_since(query, since, twin), or_(recorded, coming))
    written = recorded.where(outcome.status != DeliveryStatus.SKIPPED)
    return or_(address_unsubscribed(before=since), exists().where(_shares(twin), or_(written, first)))


def _shares(twin: type[User]) -> ColumnElement[bool]:
    return and_(comparable_address(twin) == comparable_address(), twin.id != User.id)


_AMONG = User.id.in_(bindparam("ids", expanding=True))


def _address_written_to() -> Any:
    twin = aliased(User)
    arrived = Delivery.status.in_([DeliveryStatus.SENT, DeliveryStatus.UNCERTAIN])
    campaign = Delivery.campaign_id == bindparam("campaign_id")
    theirs = exists().where(_shares(twin), campaign, Delivery.user_id == twin.id, arrived)
    return select(User.id).where(_AMONG, theirs)


ADDRESS_WRITTEN_TO = _address_written_to()
"""Of the users `ids`, those whose address got the message of the campaign `campaign_id` already, or may have."""

ADDRESS_UNSUBSCRIBED = select(User.id).where(_AMONG, address_unsubscribed())
"""Of the users `ids`, those at whose address somebody has unsubscribed."""
