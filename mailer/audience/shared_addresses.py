"""One message for an address that several users share: which of them it is for, as SQL conditions.

It is for the first of them by id who is in the audience, unless one of them has unsubscribed: with merged addresses a
wish holds for everybody at the address. Once the campaign has begun that choice stays where it fell: neither an
unsubscription nor a later change of the directory has a second user of an address written to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, exists, func, or_, select
from sqlalchemy.orm import aliased

from mailer.audience.conditions import audience, audience_since
from mailer.storage.models import Batch, BatchState, Delivery, DeliveryStatus, User, Wish, WishOf, comparable_address


def merged_audience(query: Mapping[str, Any]) -> ColumnElement[bool]:
    """The audience of `query`, of each address the first user by id.

    Grouped once: a look at the other users of each address would take hours where thousands have the same one. Those
    who have unsubscribed have an index of their own.
    """
    member = aliased(User)
    wanted = [~one for one in _wishes(member)]  # one by one: PostgreSQL joins what is denied by itself
    firsts = select(func.min(member.id)).where(audience(query, member), *wanted).group_by(comparable_address(member))
    return User.id.in_(firsts)


def unwanted(user: type[User] = User, *, before: int | None = None) -> ColumnElement[bool]:
    """Somebody who has the user's address, or had it then, has unsubscribed (already `before` a time in ms)."""
    return or_(*_wishes(user, before=before))


def _wishes(user: type[User], *, before: int | None = None) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    twin = aliased(User)
    have = exists().where(twin.unsubscribed_at.is_not(None), comparable_address(twin) == comparable_address(user))
    had = exists().where(Wish.kind == WishOf.SHARED, Wish.value == comparable_address(user))
    if before is not None:
        have, had = have.where(twin.unsubscribed_at < before), had.where(Wish.unsubscribed_at < before)
    return have, had


def covered_by_another_user(campaign_id: str, query: Mapping[str, Any], since: int) -> ColumnElement[bool]:
    """Another user has the address, and has not wanted it, was written to, or comes first in the audience of `since`.

    Who comes first counts only where their outcome is on record or their batch is yet to end: of users who came while
    the campaign ran, some are in no batch any more, and would keep the message from everybody.
    """
    twin = aliased(User)
    outcome = aliased(Delivery)
    recorded = exists().where(outcome.campaign_id == campaign_id, outcome.user_id == twin.id)
    in_batch = and_(Batch.first_id <= twin.id, Batch.last_id >= twin.id)
    coming = exists().where(Batch.campaign_id == campaign_id, in_batch, Batch.state != BatchState.DONE)
    first = and_(twin.id < User.id, audience_since(query, since, twin), or_(recorded, coming))
    written = recorded.where(outcome.status != DeliveryStatus.SKIPPED)
    return or_(unwanted(before=since), exists().where(_shares(twin), or_(written, first)))


def _shares(twin: type[User]) -> ColumnElement[bool]:
    return and_(comparable_address(twin) == comparable_address(), twin.id != User.id)


_AMONG = User.id.in_(bindparam("ids", expanding=True))


def _taken() -> Any:
    twin = aliased(User)
    arrived = Delivery.status.in_([DeliveryStatus.SENT, DeliveryStatus.UNCERTAIN])
    campaign = Delivery.campaign_id == bindparam("campaign_id")
    theirs = exists().where(_shares(twin), campaign, Delivery.user_id == twin.id, arrived)
    return select(User.id).where(_AMONG, theirs)


TAKEN = _taken()
"""Of the users `ids`, those whose address has, or may have, the message of the campaign `campaign_id` already."""

UNWANTED = select(User.id).where(_AMONG, unwanted())
"""Of the users `ids`, those at whose address somebody has unsubscribed."""
