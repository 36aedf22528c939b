"""Callers known by tokens of our own: Rocket.Chat's two headers, checked against tokens kept as digests only.

A token belongs to a user of the directory, or to a program that is no user: a service. A service is called by an id of
its own, which no user can have: `service:` and its name. Nobody writes to it, and nothing in a workspace can take its
token away.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection, bindparam, delete, insert, or_, select

from mailer.audit.log import Act, record
from mailer.directory.documents import SERVICE_PREFIX
from mailer.errors import InvalidParams, NotAuthorized, NotFound, NotLoggedIn
from mailer.storage.database import AnyRow, Database
from mailer.storage.dialects import Statement, from_json
from mailer.storage.models import AuthToken, User

SEND_MAIL, SEND_URGENT, MANAGE_USERS = "send-mail", "send-urgent-mail", "manage-users"
MANAGE_CAMPAIGNS, VIEW_AUDIT_LOG = "manage-campaigns", "view-audit-log"
PERMISSIONS = (SEND_MAIL, SEND_URGENT, MANAGE_USERS, MANAGE_CAMPAIGNS, VIEW_AUDIT_LOG)
SERVICE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
SHOWN_DIGEST = 16  # characters of a token's digest that tell it from others

# every request runs it
_TOKEN = Statement(
    lambda _kind: (
        select(AuthToken.user_id, AuthToken.permissions, AuthToken.expires_at, AuthToken.service)
        .outerjoin(User, User.id == AuthToken.user_id)
        .where(AuthToken.digest == bindparam("digest"), or_(AuthToken.service, User.active))
    )
)
_GONE = (AuthToken.digest, AuthToken.user_id, AuthToken.permissions)


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated user, or with `service` a program, and what the token in hand allows."""

    user_id: str
    permissions: frozenset[str]
    service: bool = False

    @property
    def reach(self) -> str | None:
        """Whose campaigns they may see and change: their own id, or None for everybody's."""
        return None if MANAGE_CAMPAIGNS in self.permissions else self.user_id

    def require(self, *permissions: str) -> None:
        """Raise `NotAuthorized` unless the token carries one of `permissions`."""
        if self.permissions.isdisjoint(permissions):
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
            row = _TOKEN.row(connection, {"digest": digest_of(token)})
            if row is None:
                raise NotLoggedIn
            known_as, permissions, expires_at, service = row
            expired = expires_at is not None and expires_at <= self._db.clock(connection)
        if expired or not hmac.compare_digest(known_as.encode(), user_id.encode()):
            raise NotLoggedIn
        return Caller(known_as, frozenset(from_json(permissions)), bool(service))

    def create(self, user_id: str, permissions: Sequence[str], expires_in: int | None = None) -> str:
        """Make a token, which can be shown only now. It is valid for `expires_in` ms; None: for good.

        Raises `NotFound` if there is no active user with this id.
        """
        with self._db.write() as connection:
            if not connection.scalar(select(User.active).where(User.id == user_id)):
                raise NotFound(f"There is no active user with the id {user_id}.")
            return self.add(connection, user_id, permissions, expires_in)

    def create_for_service(self, name: str, permissions: Sequence[str], expires_in: int | None = None) -> str:
        """Make a token of the service `name`, which need not be known before.

        Raises `InvalidParams` for a name that cannot be, and if a user from before this rule has the id of the service.
        """
        user_id = service_id(name)
        with self._db.write() as connection:
            if connection.scalar(select(User.id).where(User.id == user_id)) is not None:
                raise InvalidParams(f"There is a user with the id {user_id}; choose another name.")
            return self.add(connection, user_id, permissions, expires_in, service=True)

    def add(
        self,
        connection: Connection,
        user_id: str,
        permissions: Collection[str],
        expires_in: int | None,
        *,
        service: bool = False,
        act: Act = Act.CREATE_TOKEN,
    ) -> str:
        """Make a token for somebody who is known to exist; the audit log calls it `act`."""
        token = secrets.token_urlsafe(32)
        now = self._db.clock(connection)
        permitted = sorted(set(permissions))
        values: dict[str, Any] = {"digest": digest_of(token), "user_id": user_id, "permissions": permitted}
        expires_at = None if expires_in is None else now + expires_in
        connection.execute(insert(AuthToken).values(**values, created_at=now, expires_at=expires_at, service=service))
        about = {"token": values["digest"][:SHOWN_DIGEST], "permissions": permitted}
        record(connection, now, act, user_id, **about, expires_at=expires_at)
        return token

    def list(self) -> list[TokenInfo]:
        """All tokens, oldest first."""
        columns = (*_GONE, AuthToken.created_at, AuthToken.expires_at)
        with self._db.read() as connection:
            rows = connection.execute(select(*columns).order_by(AuthToken.created_at, AuthToken.digest)).all()
        return [TokenInfo(d, user, tuple(permissions), made, ends) for d, user, permissions, made, ends in rows]

    def forget(self, token: str) -> None:
        """Delete this token, if there is one."""
        with self._db.write() as connection:
            self.remove(connection, [digest_of(token)])

    def remove(self, connection: Connection, digests: Collection[str]) -> None:
        """Delete the tokens with these digests, as far as they are there."""
        gone = delete(AuthToken).where(AuthToken.digest.in_(digests)).returning(*_GONE)
        self._record_gone(connection, connection.execute(gone).all())

    def revoke(self, digest_prefix: str) -> int:
        """Delete the tokens whose digest starts so; return how many."""
        with self._db.write() as connection:
            starts = AuthToken.digest.startswith(digest_prefix, autoescape=True)
            gone = connection.execute(delete(AuthToken).where(starts).returning(*_GONE)).all()
            self._record_gone(connection, gone)
            return len(gone)

    def _record_gone(self, connection: Connection, gone: Sequence[AnyRow]) -> None:
        now = self._db.clock(connection)
        for digest, user_id, permissions in gone:
            shown = {"token": digest[:SHOWN_DIGEST], "permissions": permissions}
            record(connection, now, Act.REVOKE_TOKEN, user_id, **shown)


def service_id(name: str) -> str:
    """The id as which the service `name` calls. Raises `InvalidParams` for a name that cannot be."""
    if not SERVICE_NAME.fullmatch(name):
        raise InvalidParams("A service's name has up to 64 of a-z, 0-9, '.', '_' and '-', a letter or digit first.")
    return SERVICE_PREFIX + name


def digest_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
