"""Who is in an audience, as SQL conditions on the users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select

from mailer.selector import compile_selector
from mailer.storage.models import RefusedAddress, User, comparable_address


def reachable(user: type[User] = User) -> ColumnElement[bool]:
    """Active, and with an address. `user`, here and below, may be an alias of the table."""
    return and_(user.active, user.email.is_not(None))


def has_suppressed_address(user: type[User] = User, *, before: int | None = None) -> ColumnElement[bool]:
    """The user's address is suppressed, whoever else has it; with `before` (ms), it was so before that time."""
    since = RefusedAddress.suppressed_at
    then = since.is_not(None) if before is None else since < before
    return exists().where(RefusedAddress.address == comparable_address(user), then)


def subscribed(user: type[User] = User) -> ColumnElement[bool]:
    """Reachable, and has not unsubscribed."""
    return and_(reachable(user), user.unsubscribed_at.is_(None))


def eligible_and_refused(among: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """The ids of the users `among` them who may be written to, each with the address if it was refused before.

    Both are asked in one query, since every checkpoint asks.
    """
    found = select(User.id, RefusedAddress.address).outerjoin(
        RefusedAddress, RefusedAddress.address == comparable_address()
    )
    return found.where(among, subscribed(), RefusedAddress.suppressed_at.is_(None))


def audience(query: Mapping[str, Any], user: type[User] = User) -> ColumnElement[bool]:
    """Everyone who matches `query` and may be written to now. A query cannot undo the latter.

    SQLite keeps the order of conditions, so the search for the user's address comes last. Before it stands whether any
    address is suppressed at all, which is asked once; without that PostgreSQL would join the tables, and then sort.
    """
    nobody = ~exists().where(RefusedAddress.suppressed_at.is_not(None))
    return and_(subscribed(user), compile_selector(query, user), or_(nobody, ~has_suppressed_address(user)))


def suppressed_audience(query: Mapping[str, Any]) -> ColumnElement[bool]:
    """Everyone who is not in the audience of `query` only because their address is suppressed.

    They are found by the few suppressed addresses. These are lower-case already; without `lower` SQLite would use no
    index and look at all users.
    """
    addresses = select(func.lower(RefusedAddress.address)).where(RefusedAddress.suppressed_at.is_not(None))
    return and_(subscribed(), comparable_address().in_(addresses), compile_selector(query))


def audience_since(query: Mapping[str, Any], since: int, user: type[User] = User) -> ColumnElement[bool]:
    """The audience of `query` as it was at `since` (ms): who dropped out later is recorded as skipped."""
    then_subscribed = or_(user.unsubscribed_at.is_(None), user.unsubscribed_at >= since)
    return and_(
        reachable(user), then_subscribed, compile_selector(query, user), ~has_suppressed_address(user, before=since)
    )
