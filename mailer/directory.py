"""The users: who is in an audience, as a SQL condition, and single look-ups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from mailer.models import User
from mailer.rendering import Recipient
from mailer.selector import compile_selector


def reachable() -> ColumnElement[bool]:
    """Not deactivated, and with an address."""
    return and_(User.active, User.email.is_not(None))


def eligible() -> ColumnElement[bool]:
    """May be written to now. Joined outside the caller's query, which can neither name nor undo it."""
    return and_(reachable(), User.unsubscribed_at.is_(None))


def audience(query: Mapping[str, Any]) -> ColumnElement[bool]:
    """Everyone who matches `query` and may be written to now."""
    return and_(eligible(), compile_selector(query))


def audience_since(query: Mapping[str, Any], since: int) -> ColumnElement[bool]:
    """The audience as it was at `since`: with those who unsubscribed later, who are to be recorded as skipped."""
    then_subscribed = or_(User.unsubscribed_at.is_(None), User.unsubscribed_at >= since)
    return and_(reachable(), then_subscribed, compile_selector(query))


def find_by_address(connection: Connection, address: str) -> Recipient | None:
    """The user with this address, whatever its case, active ones first; None: nobody."""
    matching = select(User.id, User.name, User.email).where(func.lower(User.email) == address.lower())
    row = connection.execute(matching.order_by(User.active.desc(), User.id).limit(1)).one_or_none()
    return Recipient(row.id, row.name, row.email or "") if row else None
