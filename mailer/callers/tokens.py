"""Callers known by tokens of our own: Rocket.Chat's two headers, checked against tokens kept as digests only."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import bindparam, delete, insert, select

from mailer.errors import NotAuthorized, NotFound, NotLoggedIn
from mailer.storage.database import Database
from mailer.storage.models import AuthToken, User

# built once: every request runs it
_TOKEN = (
    select(AuthToken.user_id, AuthToken.permissions, AuthToken.expires_at)
    .join(User, User.id == AuthToken.user_id)
    .where(AuthToken.digest == bindparam("digest"), User.active)
)


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated user and what the token in hand allows."""

    user_id: str
    permissions: frozenset[str]

    def require(self, permission: str) -> None:
        """Raise `NotAuthorized` unless the token carries `permission`."""
        if permission not in self.permissions:
            raise NotAuthorized


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """What may be shown of a token: its digest, never the token itself. Times are ms since 1970."""

    digest: str
    user_id: str
    permissions: tuple[str, ...]
    created_at: int
    expires_at: int | None


class Authenticator(Protocol):
    """Tells who calls by the two headers of Rocket.Chat."""

    def authenticate(self, user_id: str, token: str) -> Caller:
        """Return the caller, or raise `NotLoggedIn`."""


class Tokens:
    """The tokens in the database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def authenticate(self, user_id: str, token: str) -> Caller:
        """Return the caller; raise `NotLoggedIn` for absent, wrong, expired or mismatched credentials."""
        if not user_id or not token:
            raise NotLoggedIn
        with self._db.read() as connection:
            row = connection.execute(_TOKEN, {"digest": _digest(token)}).one_or_none()
            expired = row and row.expires_at is not None and row.expires_at <= self._db.clock(connection)
        if row is None or expired or not hmac.compare_digest(row.user_id.encode(), user_id.encode()):
            raise NotLoggedIn
        return Caller(row.user_id, frozenset(row.permissions))

    def create(self, user_id: str, permissions: Sequence[str], expires_in: int | None = None) -> str:
        """Make a token, which can be shown only now. It is valid for `expires_in` ms; None: for good.

        Raises `NotFound` if there is no active user with this id.
        """
        token = secrets.token_urlsafe(32)
        with self._db.write() as connection:
            now = self._db.clock(connection)
            if not connection.scalar(select(User.active).where(User.id == user_id)):
                raise NotFound(f"There is no active user with the id {user_id}.")
            expires_at = None if expires_in is None else now + expires_in
            permitted = sorted(set(permissions))
            values = {"user_id": user_id, "permissions": permitted, "created_at": now, "expires_at": expires_at}
            connection.execute(insert(AuthToken).values(digest=_digest(token), **values))
        return token

    def list(self) -> list[TokenInfo]:
        """All tokens, oldest first."""
        columns = (
            AuthToken.digest,
            AuthToken.user_id,
            AuthToken.permissions,
            AuthToken.created_at,
            AuthToken.expires_at,
        )
        with self._db.read() as connection:
            rows = connection.execute(select(*columns).order_by(AuthToken.created_at, AuthToken.digest)).all()
        return [TokenInfo(d, user, tuple(permissions), made, ends) for d, user, permissions, made, ends in rows]

    def forget(self, token: str) -> None:
        """Delete this token, if there is one."""
        with self._db.write() as connection:
            connection.execute(delete(AuthToken).where(AuthToken.digest == _digest(token)))

    def revoke(self, digest_prefix: str) -> int:
        """Delete the tokens whose digest starts so; return how many."""
        with self._db.write() as connection:
            starts = AuthToken.digest.startswith(digest_prefix, autoescape=True)
            return connection.execute(delete(AuthToken).where(starts)).rowcount


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
