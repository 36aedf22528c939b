"""The tables of the database. Times are milliseconds since 1970 in UTC.

Ids are compared by their bytes, so that a range of ids means the same users on every database.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, ForeignKey, Index, Text, and_, func
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.schema import SchemaItem

from mailer.storage.base import Base as Base  # noqa: PLC0414 - all tables of the database are named here
from mailer.storage.base import Document, Id
from mailer.storage.states import BatchState as BatchState  # noqa: PLC0414 - a table and its states are used together
from mailer.storage.states import CampaignState as CampaignState  # noqa: PLC0414
from mailer.storage.states import DeliveryStatus as DeliveryStatus  # noqa: PLC0414
from mailer.storage.suppression_models import RefusedAddress as RefusedAddress  # noqa: PLC0414
from mailer.storage.suppression_models import Wish as Wish  # noqa: PLC0414
from mailer.storage.suppression_models import WishOf as WishOf  # noqa: PLC0414


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
        *_audience_indexes(and_(active, email.is_not(None), unsubscribed_at.is_(None))),
        Index("ix_users_unlisted", "id", sqlite_where=roles.is_(None), postgresql_where=roles.is_(None)),
    )


def comparable_address(user: type[User] = User) -> ColumnElement[str]:
    """The user's address as `addresses.comparable` writes it; there is an index on it. `user` may be an alias."""
    return func.lower(user.email)


class AuthToken(Base):
    """A caller's credential; only the SHA-256 of the token is kept."""

    __tablename__ = "auth_tokens"

    digest: Mapped[str] = mapped_column(Text, primary_key=True)
    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id"))
    permissions: Mapped[list[str]] = mapped_column(Document)
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int | None] = mapped_column(BigInteger)


class Campaign(Base):
    """One accepted POST.

    `due_at` says when a planner may take it, and while one plans it, when the planner's lease ends. For a resting
    campaign it is when it may be tried again.
    """

    __tablename__ = "campaigns"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    caller_id: Mapped[str] = mapped_column(Id)
    sender_name: Mapped[str] = mapped_column(Text)
    sender: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    body: Mapped[str] = mapped_column(Text)
    query: Mapped[dict[str, Any]] = mapped_column(Document)
    dry_run: Mapped[bool]
    reply_to_name: Mapped[str | None] = mapped_column(Text)
    reply_to: Mapped[str | None] = mapped_column(Text)  # None: answers go to the sender
    merge_addresses: Mapped[bool] = mapped_column(default=False)  # as the setting was when it was planned
    state: Mapped[str] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)  # why it is paused, rests or failed
    rests: Mapped[int] = mapped_column(default=0)  # refusals of its sender since a recipient got a reply
    errors: Mapped[int] = mapped_column(default=0)  # unexpected errors since a batch was worked off
    failures_known: Mapped[bool] = mapped_column(default=False)  # a person resumed it after a pause for its failures
    created_at: Mapped[int] = mapped_column(BigInteger)
    started_at: Mapped[int | None] = mapped_column(BigInteger)
    finished_at: Mapped[int | None] = mapped_column(BigInteger)
    due_at: Mapped[int] = mapped_column(BigInteger)
    fence: Mapped[int]
    fingerprint: Mapped[str | None] = mapped_column(Text)  # of its draft, to notice a repeat; None: a dry run

    __table_args__ = (
        Index("ix_campaigns_caller", "caller_id", "id"),
        Index("ix_campaigns_fingerprint", "fingerprint", "created_at"),
        Index("ix_campaigns_due", "state", "due_at"),
    )


class Batch(Base):
    """The unit of work: everyone in the campaign's audience from `first_id` to `last_id`, both included.

    The counters say how many of its deliveries have which status. `planned` minus their sum is how many recipients have
    not been tried. `due_at` says when a worker may take it, and while one holds it, when that worker's lease ends.
    """

    __tablename__ = "batches"

    campaign_id: Mapped[str] = mapped_column(Id, ForeignKey("campaigns.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    first_id: Mapped[str] = mapped_column(Id)
    last_id: Mapped[str] = mapped_column(Id)
    state: Mapped[str] = mapped_column(Text)
    due_at: Mapped[int] = mapped_column(BigInteger)
    fence: Mapped[int]  # rises with every claim; who has a lower number may write nothing
    attempting: Mapped[list[str]] = mapped_column(Document)  # the user ids of the checkpoint in hand
    takeovers: Mapped[int] = mapped_column(default=0)  # how many processes in a row died while sending it
    planned: Mapped[int]
    sent: Mapped[int]
    failed: Mapped[int]
    deferred: Mapped[int]
    uncertain: Mapped[int]
    skipped: Mapped[int]

    __table_args__ = (Index("ix_batches_due", "state", "due_at"),)


class Delivery(Base):
    """The last outcome for one recipient of one campaign, written once for each attempt that ended."""

    __tablename__ = "deliveries"

    campaign_id: Mapped[str] = mapped_column(Id, primary_key=True)
    user_id: Mapped[str] = mapped_column(Id, primary_key=True)
    status: Mapped[str] = mapped_column(Text)
    address: Mapped[str | None] = mapped_column(Text)
    attempts: Mapped[int]  # those that ended in an outcome about this recipient
    # attempts whose outcome is unknown, so that each may have delivered a copy
    uncertain_attempts: Mapped[int] = mapped_column("doubts", key="uncertain_attempts")
    reply: Mapped[str] = mapped_column(Text)
    first_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)
    due_at: Mapped[int | None] = mapped_column(BigInteger)  # when to try again; None: not by itself

    __table_args__ = ({"sqlite_with_rowid": False},)


class SameRefusals(Base):
    """A campaign's last refusals that are not about addresses, kept to notice that most of them are the same."""

    __tablename__ = "same_refusals"

    campaign_id: Mapped[str] = mapped_column(Id, primary_key=True)
    replies: Mapped[list[str]] = mapped_column("answers", Document, key="replies")  # normalised, oldest first
    known: Mapped[list[str]] = mapped_column(Document)  # replies for which it was paused already


class IdempotencyKey(Base):
    """What a caller's Idempotency-Key led to. A repeated POST gets the same answer and makes no second campaign."""

    __tablename__ = "idempotency_keys"

    caller_id: Mapped[str] = mapped_column(Id, primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    fingerprint: Mapped[str] = mapped_column(Text)
    campaign_id: Mapped[str] = mapped_column(Id)
    created_at: Mapped[int] = mapped_column(BigInteger)


class CircuitBreaker(Base):
    """The transport's circuit breaker: one row while it is open or half-open, none while it is closed."""

    __tablename__ = "transport_health"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    reason: Mapped[str] = mapped_column(Text)
    since: Mapped[int] = mapped_column(BigInteger)
    failures: Mapped[int] = mapped_column("step", key="failures")  # in a row
    retry_at: Mapped[int] = mapped_column("blocked_until", BigInteger, key="retry_at")


class ClockMark(Base):
    """One row: the latest time that the database's clock has shown, and how often a step back was corrected."""

    __tablename__ = "clock_mark"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seen_at: Mapped[int] = mapped_column(BigInteger)
    steps: Mapped[int]


class RateLimit(Base):
    """A counter of requests, until it expires. All processes of the service share it."""

    __tablename__ = "rate_limits"

    key: Mapped[str] = mapped_column(Text, primary_key=True)
    hits: Mapped[int]
    expires_at: Mapped[int] = mapped_column(BigInteger)


class ScheduledTask(Base):
    """A task that only one process at a time runs, and what came of it last. `lease_ends_at` None: nobody runs it."""

    __tablename__ = "scheduled_tasks"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    due_at: Mapped[int] = mapped_column(BigInteger)
    fence: Mapped[int]
    lease_ends_at: Mapped[int | None] = mapped_column(BigInteger)
    began_at: Mapped[int | None] = mapped_column(BigInteger)
    done_at: Mapped[int | None] = mapped_column(BigInteger)  # when it last succeeded, with `result`
    result: Mapped[dict[str, Any] | None] = mapped_column(Document)
    failures: Mapped[int]  # since it last succeeded
    failed_at: Mapped[int | None] = mapped_column(BigInteger)
    error: Mapped[str | None] = mapped_column(Text)  # of the last run; None: it succeeded
