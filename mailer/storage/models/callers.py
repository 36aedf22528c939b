"""The tables of those who call: their tokens, how often they called, and what their keys led to."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from mailer.storage.models.base import Base, Document, Id


class AuthToken(Base):
    """A caller's credential; only the SHA-256 of the token is kept."""

    __tablename__ = "auth_tokens"

    digest: Mapped[str] = mapped_column(Text, primary_key=True)
    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id"))
    permissions: Mapped[list[str]] = mapped_column(Document)
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int | None] = mapped_column(BigInteger)


class RateLimit(Base):
    """A counter of requests, until it expires. All processes of the service share it."""

    __tablename__ = "rate_limits"

    key: Mapped[str] = mapped_column(Text, primary_key=True)
    hits: Mapped[int]
    expires_at: Mapped[int] = mapped_column(BigInteger)


class IdempotencyKey(Base):
    """What a caller's Idempotency-Key led to. A repeated POST gets the same answer and makes no second campaign."""

    __tablename__ = "idempotency_keys"

    caller_id: Mapped[str] = mapped_column(Id, primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    fingerprint: Mapped[str] = mapped_column(Text)
    campaign_id: Mapped[str] = mapped_column(Id)
    created_at: Mapped[int] = mapped_column(BigInteger)
