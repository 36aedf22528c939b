"""The users of the directory, each with the state that decides whether they get mail. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select

from mailer.audience.conditions import has_suppressed_address
from mailer.storage.database import AnyRow, Database
from mailer.storage.models import User

PAGE = 1000  # rows read at a time


class UserState(StrEnum):
    """Whether a user gets mail and, if not, the first reason why."""

    SUBSCRIBED = "subscribed"
    DEACTIVATED = "deactivated"
    UNSUBSCRIBED = "unsubscribed"
    SUPPRESSED = "suppressed"
    UNREACHABLE = "no valid address"


@dataclass(frozen=True, slots=True)
class UserWithState:
    """One user with their state. `document` is what a query sees; times are milliseconds since 1970."""

    id: str
    username: str | None
    name: str
    email: str | None
    state: UserState
    created_at: int | None
    unsubscribed_at: int | None
    document: Mapping[str, Any]


def users_by_id(db: Database, limit: int | None = None) -> Iterator[UserWithState]:
    """Yield the users, ordered by id, at most `limit` of them or all; they are read as they are asked for."""
    with db.read() as connection:
        query = _users().order_by(User.id).limit(limit)
        rows = connection.execute(query, execution_options={"yield_per": PAGE})
        yield from map(_with_state, rows)


def users_with(connection: Connection, which: ColumnElement[bool], count: int) -> list[UserWithState]:
    """The first `count` users by id who meet the condition `which`."""
    return [_with_state(row) for row in connection.execute(_users().where(which).order_by(User.id).limit(count))]


def count_users(db: Database) -> int:
    """Return how many users there are, whatever their state."""
    with db.read() as connection:
        return connection.execute(select(func.count()).select_from(User)).scalar_one()


def _users() -> Select[*tuple[Any, ...]]:
    columns = (User.id, User.username, User.name, User.email, User.active, User.created_at, User.unsubscribed_at)
    return select(*columns, User.document, has_suppressed_address().label("suppressed"))


def _with_state(row: AnyRow) -> UserWithState:
    times = (row.created_at, row.unsubscribed_at)
    return UserWithState(row.id, row.username, row.name, row.email, _state(row), *times, row.document)


def _state(row: AnyRow) -> UserState:
    if not row.active:
        return UserState.DEACTIVATED
    if row.unsubscribed_at is not None:
        return UserState.UNSUBSCRIBED
    if row.suppressed:
        return UserState.SUPPRESSED
    return UserState.SUBSCRIBED if row.email else UserState.UNREACHABLE
