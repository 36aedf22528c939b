"""The tables of those who call: their tokens, how often they called, and what their keys led to."""

from __future__ import annotations

from sqlalchemy import BigInteger, Text, false
from sqlalchemy.orm import Mapped, mapped_column

from mailer.storage.models.base import Base, Document, Id


class AuthToken(Base):
    """A caller's credential; only the SHA-256 of the token is kept.

    `user_id` is a user's id or, if `service` is set, the id of a program that no user of the directory can have.
    """

    __tablename__ = "auth_tokens"

    digest: Mapped[str] = mapped_column(Text, primary_key=True)
    user_id: Mapped[str] = mapped_column(Id)
    permissions: Mapped[list[str]] = mapped_column(Document)
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int | None] = mapped_column(BigInteger)
    service: Mapped[bool] = mapped_column(server_default=false(), default=False)
    label: Mapped[str | None] = mapped_column(Text)  # what it is for, in the words of who made it
    last_used_at: Mapped[int | None] = mapped_column(BigInteger)  # to the hour; None: not known


class PageSession(Base):
    """Somebody who has signed in to the pages; only the SHA-256 of the secret in their browser is kept.

    `own_token` is the digest of a token that was made for this session, and ends with it.
    """

    __tablename__ = "page_sessions"

    digest: Mapped[str] = mapped_column(Text, primary_key=True)
    user_id: Mapped[str] = mapped_column(Id, index=True)
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)
    own_token: Mapped[str | None] = mapped_column(Text)


class LoginLink(Base):
    """A link with which a user signs in once, with these permissions; only the SHA-256 of its secret is kept."""

    __tablename__ = "login_links"

    digest: Mapped[str] = mapped_column(Text, primary_key=True)
    user_id: Mapped[str] = mapped_column(Id)
    permissions: Mapped[list[str]] = mapped_column(Document)
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)


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
