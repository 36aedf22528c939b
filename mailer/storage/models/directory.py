"""The table of users, and its indexes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Index, Text, and_, func, not_, or_
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.schema import SchemaItem

from mailer.storage.models.base import Base, Document, Id


def _audience_indexes(subscribed: ColumnElement[bool]) -> Iterator[SchemaItem]:
    """Indexes with all that planning reads of those who may be written to, ordered by id; one for each database."""
    # the index has only rows that meet `subscribed`, but SQLite wants the columns of that condition all the same
    asked_for = {"sqlite": ("unsubscribed_at", "active"), "postgresql": ()}
    for dialect, columns in asked_for.items():
        index = Index(
            *(f"ix_users_audience_{dialect}", "id", "created_at", "roles", "email", *columns),
            sqlite_where=subscribed,
            postgresql_where=subscribed,
            info={"dialect": dialect},
        )
        yield index.ddl_if(dialect=dialect)


class User(Base):
    """One member of the workspace, as imported. `unsubscribed_at` belongs to this service; no import changes it."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    username: Mapped[str | None] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    email: Mapped[str | None] = mapped_column(Id)  # the first address in its envelope form; None: no valid one
    active: Mapped[bool] = mapped_column()
    created_at: Mapped[int | None] = mapped_column(BigInteger)
    digest: Mapped[str | None] = mapped_column(Id)  # `recipient.user_digest` of the id; None: older code has added them
    roles: Mapped[str | None] = mapped_column(Id)  # each between line feeds; None: look into the document
    unsubscribed_at: Mapped[int | None] = mapped_column(BigInteger)
    document: Mapped[dict[str, Any]] = mapped_column(Document)  # what a selector sees; dates are {"$date": ms}
    workspace: Mapped[str | None] = mapped_column(Text)  # the address it was last synced from

    __table_args__ = (
        Index("ix_users_address", func.lower(email), "id"),
        Index(
            "ix_users_unsubscribed",
            func.lower(email),
            sqlite_where=unsubscribed_at.is_not(None),
            postgresql_where=unsubscribed_at.is_not(None),
        ),
        Index("ix_users_username", "username"),
        Index("ix_users_digest", "digest"),
        *_audience_indexes(and_(active, email.is_not(None), unsubscribed_at.is_(None))),
        Index(
            "ix_users_left_out",
            *("id", "created_at", "roles", "email", "unsubscribed_at", "active"),
            sqlite_where=or_(not_(active), email.is_(None), unsubscribed_at.is_not(None)),
            postgresql_where=or_(not_(active), email.is_(None), unsubscribed_at.is_not(None)),
        ),
        Index("ix_users_unlisted", "id", sqlite_where=roles.is_(None), postgresql_where=roles.is_(None)),
    )


def comparable_address(user: type[User] = User) -> ColumnElement[str]:
    """The user's address as `addresses.comparable` writes it; there is an index on it. `user` may be an alias."""
    return func.lower(user.email)
