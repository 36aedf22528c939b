"""The tables by which the processes of the service agree with one another."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from mailer.storage.models.base import OF_THE_SCHEMA, Base, Document, Id


class CircuitBreaker(Base):
    """The transport's circuit breaker: one row while it is open or half-open, none while it is closed."""

    __tablename__ = "transport_health"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    reason: Mapped[str] = mapped_column(Text)
    since: Mapped[int] = mapped_column(BigInteger)
    failures: Mapped[int] = mapped_column("step", key="failures")  # in a row
    retry_at: Mapped[int] = mapped_column("blocked_until", BigInteger, key="retry_at")


class SendingHold(Base):
    """One row while an operator holds all sending, none otherwise."""

    __tablename__ = "sending_hold"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    reason: Mapped[str] = mapped_column(Text)
    since: Mapped[int] = mapped_column(BigInteger)
    held_by: Mapped[str] = mapped_column(Text)  # a caller's id, or the name of the system's user


class SlotCount(Base):
    """What was handed out of one transport's rate, quota and warm-up (`transports.slots.Count`), for all processes.

    Days are ordinals, in the time zone of the quota.
    """

    __tablename__ = "slot_counts"

    key: Mapped[str] = mapped_column(Text, primary_key=True)
    next_at_us: Mapped[int] = mapped_column(BigInteger)  # the first slot that nobody has, in microseconds since 1970
    day: Mapped[int]
    used: Mapped[int] = mapped_column(BigInteger)  # on that day
    first_day: Mapped[int]  # with mail, during a warm-up; 0: none yet
    days: Mapped[int]  # with mail before `day`, during a warm-up


class ClockMark(Base):
    """One row: the latest time that the database's clock has shown, and how often a step back was corrected."""

    __tablename__ = "clock_mark"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seen_at: Mapped[int] = mapped_column(BigInteger)
    steps: Mapped[int]


class ServedVersions(Base):
    """One row: the number of the oldest schema whose code may still work on this one. Only migrations write it."""

    __tablename__ = "served_versions"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    oldest: Mapped[str] = mapped_column(Text)

    __table_args__ = ({"info": OF_THE_SCHEMA},)


class SigningKey(Base):
    """What is known of a key that signs unsubscribe links, by its fingerprint; the key itself is in the settings."""

    __tablename__ = "signing_keys"

    fingerprint: Mapped[str] = mapped_column(Id, primary_key=True)
    known_at: Mapped[int] = mapped_column(BigInteger)  # when a process first had it in its settings
    last_signed_at: Mapped[int | None] = mapped_column(BigInteger)  # to the hour; None: not since it is known
    messages: Mapped[int] = mapped_column(BigInteger)  # recipients of the campaigns that it has signed, at most
    last_used_at: Mapped[int | None] = mapped_column(BigInteger)  # by a recipient, to the hour


class Turn(Base):
    """How much a caller has used of the delivery with one priority; mailer/delivery/turns.py says in which unit.

    Rows with an empty caller are the clock by which it is judged; their priority is the number of a part.
    """

    __tablename__ = "turns"

    caller_id: Mapped[str] = mapped_column(Id, primary_key=True)
    priority: Mapped[str] = mapped_column(Text, primary_key=True)
    used: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (Index("ix_turns_used", "priority", "used"),)


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
