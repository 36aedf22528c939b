"""Who is in an audience, as SQL conditions on the users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, not_, or_, select

from mailer.audience.earlier import selected
from mailer.storage.models import RefusedAddress, User, comparable_address


def reachable(user: type[User] = User) -> ColumnElement[bool]:
    """A condition: the user is active and has an address. `user`, here and below, may be an alias of the table."""
    return and_(user.active, user.email.is_not(None))


def has_suppressed_address(user: type[User] = User, *, before: int | None = None) -> ColumnElement[bool]:
    """A condition: the user's address is suppressed; with `before` (ms since 1970), since before that time."""
    since = RefusedAddress.suppressed_at
    then = since.is_not(None) if before is None else since < before
    return exists().where(RefusedAddress.address == comparable_address(user), then)


def subscribed(user: type[User] = User) -> ColumnElement[bool]:
    """A condition: the user is reachable and has not unsubscribed."""
    return and_(reachable(user), user.unsubscribed_at.is_(None))


def eligible_and_refused(among: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """Select the users who meet `among` and may be written to: the id, and the address if refusals of it are on record.

    One query answers both, since every checkpoint runs it.
    """
    found = select(User.id, RefusedAddress.address).outerjoin(
        RefusedAddress, RefusedAddress.address == comparable_address()
    )
    return found.where(among, subscribed(), RefusedAddress.suppressed_at.is_(None))


def audience(query: Mapping[str, Any], user: type[User] = User) -> ColumnElement[bool]:
    """A condition: the user matches `query` and may be written to now. No query can include users who may not.

    SQLite checks conditions in their order, so the search for the user's address comes last. Before it comes the
    question whether any address is suppressed at all, which is answered once. Without it PostgreSQL would join the
    tables and then sort. Raises `InvalidQuery`.
    """
    nobody = ~exists().where(RefusedAddress.suppressed_at.is_not(None))
    return and_(subscribed(user), selected(query, user), or_(nobody, ~has_suppressed_address(user)))


def suppressed_audience(query: Mapping[str, Any]) -> ColumnElement[bool]:
    """A condition: the user would be in the audience of `query` if their address were not suppressed.

    These users are found by the few suppressed addresses. Those are in lower case already, but without `lower` SQLite
    would use no index and look at all users.
    """
    addresses = select(func.lower(RefusedAddress.address)).where(RefusedAddress.suppressed_at.is_not(None))
    return and_(subscribed(), comparable_address().in_(addresses), selected(query))


def can_get_nothing() -> ColumnElement[bool]:
    """A condition: the user is deactivated, has unsubscribed or has no address. An index has it, word for word."""
    return or_(not_(User.active), User.email.is_(None), User.unsubscribed_at.is_not(None))


def left_out_by_reason(query: Mapping[str, Any]) -> Select[*tuple[Any, ...]]:
    """Select how many users match `query` and are deactivated, unsubscribed or without an address.

    Each is counted once, by the first of these reasons. The first condition is that of an index which has these users
    alone, word for word, so that no others are looked at. Raises `InvalidQuery`.
    """
    active, wished, none = User.active, User.unsubscribed_at.is_not(None), User.email.is_(None)
    reasons = (not_(active), and_(active, wished), and_(active, not_(wished), none))
    counted = [func.count(case((reason, 1))) for reason in reasons]
    return select(*counted).where(can_get_nothing(), selected(query))


def audience_since(query: Mapping[str, Any], since: int, user: type[User] = User) -> ColumnElement[bool]:
    """A condition: the user was in the audience of `query` at `since` (ms since 1970).

    Users who have unsubscribed or were suppressed after that are included, so that they are recorded as skipped.
    """
    then_subscribed = or_(user.unsubscribed_at.is_(None), user.unsubscribed_at >= since)
    return and_(reachable(user), then_subscribed, selected(query, user), ~has_suppressed_address(user, before=since))
