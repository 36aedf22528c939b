"""The tables of what happened, kept apart from what was changed: by people, and to campaigns and the service."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Index, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from mailer.storage.models.base import Base, Document, Id


class AuditEntry(Base):
    """One act of somebody. Rows are added, and deleted when they are old; a trigger refuses to change one."""

    __tablename__ = "audit_log"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    at: Mapped[int] = mapped_column(BigInteger)
    who: Mapped[str] = mapped_column(Id)  # a caller's id, or the name of the system's user at the command line
    via: Mapped[str] = mapped_column(Text)  # `audit.actor.Via`
    origin: Mapped[str] = mapped_column(Text)  # the client's address, or the name of the machine
    act: Mapped[str] = mapped_column(Text)  # `audit.log.Act`
    about: Mapped[str | None] = mapped_column(Id)  # an id or an address's digest; None: everything, or many
    details: Mapped[dict[str, Any]] = mapped_column(Document)  # counts and the like, never an address

    __table_args__ = (
        Index("ix_audit_log_at", "at"),
        Index("ix_audit_log_about", "about", "id"),
    )


class Event(Base):
    """Something that happened to a campaign or, without one, to the service. Only old rows go, as in the audit log."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    at: Mapped[int] = mapped_column(BigInteger)
    campaign_id: Mapped[str | None] = mapped_column(Id)
    kind: Mapped[str] = mapped_column(Text)  # `timeline.events.Kind`
    details: Mapped[dict[str, Any]] = mapped_column(Document)  # reasons and counts, never an address

    __table_args__ = (
        Index("ix_events_at", "at"),
        Index("ix_events_campaign", "campaign_id", "id"),
    )
