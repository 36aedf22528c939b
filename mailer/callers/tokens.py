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
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, cast

from sqlalchemy import Connection, Table, bindparam, delete, insert, or_, select, update

from mailer.audit.log import Act, record
from mailer.callers.held_tokens import HELD
from mailer.directory.documents import SERVICE_PREFIX
from mailer.errors import InvalidParams, NotAuthorized, NotFound, NotLoggedIn
from mailer.ownership.leaving import SHOWN_DIGEST, end_tokens
from mailer.storage.database import Database
from mailer.storage.database_errors import DATABASE_ERRORS
from mailer.storage.dialects import Statement, from_json
from mailer.storage.models import AuthToken, LoginLink, PageSession, User

SEND_MAIL, SEND_URGENT, MANAGE_USERS = "send-mail", "send-urgent-mail", "manage-users"
MANAGE_CAMPAIGNS, VIEW_AUDIT_LOG = "manage-campaigns", "view-audit-log"
PERMISSIONS = (SEND_MAIL, SEND_URGENT, MANAGE_USERS, MANAGE_CAMPAIGNS, VIEW_AUDIT_LOG)
SERVICE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
MAX_LABEL = 100  # characters
USE_NOTED = 60 * 60 * 1000  # ms: the use of a token is written down once in this time
NOTED_AGAIN = 60 * 1000  # ms after a try of a process that may have failed
DAY = 24 * 60 * 60 * 1000  # ms
SOON = 14 * DAY  # before its end, a token is warned of

# every request runs it
_TOKEN = Statement(
    lambda _kind: (
        select(
            *(AuthToken.user_id, AuthToken.permissions, AuthToken.expires_at, AuthToken.service),
            AuthToken.last_used_at,
        )
        .outerjoin(User, User.id == AuthToken.user_id)
        .where(AuthToken.digest == bindparam("digest"), or_(AuthToken.service, User.active))
    )
)
_UNUSED_SINCE = or_(AuthToken.last_used_at.is_(None), AuthToken.last_used_at < bindparam("before"))
_USED = update(AuthToken).where(AuthToken.digest == bindparam("used"), _UNUSED_SINCE)


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
    """What may be shown of a token: its digest, never the token itself. Times are ms since 1970.

    `last_used_at` is right to the hour. `ends_soon`: its end is near for the time that it was made for. `held`: it came
    back with a backup and does not work until an operator says so.
    """

    digest: str
    user_id: str
    permissions: tuple[str, ...]
    created_at: int
    expires_at: int | None
    label: str | None = None
    last_used_at: int | None = None
    ends_soon: bool = False
    held: bool = False


class Authenticator(Protocol):
    """Tells who calls by the two headers of Rocket.Chat."""

    def authenticate(self, user_id: str, token: str) -> Caller:
        """Return the caller, or raise `NotLoggedIn`."""


class Tokens:
    """The tokens in the database."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._noting: dict[str, int] = {}  # by digest: when this process last tried to write down the use

    def authenticate(self, user_id: str, token: str) -> Caller:
        """Return the caller; raise `NotLoggedIn` for absent, wrong, expired or mismatched credentials."""
        if not user_id or not token:
            raise NotLoggedIn
        with self._db.read() as connection:
            row = _TOKEN.row(connection, {"digest": digest_of(token)})
            if row is None:
                raise NotLoggedIn
            known_as, permissions, expires_at, service, last_used_at = row
            now = self._db.clock(connection)
        expired = expires_at is not None and expires_at <= now
        if expired or not hmac.compare_digest(known_as.encode(), user_id.encode()):
            raise NotLoggedIn
        if last_used_at is None or last_used_at < now - USE_NOTED:
            self._note_use(digest_of(token), now)
        return Caller(known_as, frozenset(from_json(permissions)), bool(service))

    def _note_use(self, digest: str, now: int) -> None:
        """Write down when the token was used. A request does not fail because a database takes no writes.

        It tries once a minute at most, since a database that is busy may take long to say so.
        """
        if 0 <= now - self._noting.get(digest, 0) < NOTED_AGAIN:
            return
        self._noting[digest] = now
        with suppress(*DATABASE_ERRORS), self._db.write(durable=False) as connection:
            connection.execute(_USED.values(last_used_at=now), {"used": digest, "before": now - USE_NOTED})

    def create(
        self, user_id: str, permissions: Sequence[str], expires_in: int | None = None, label: str | None = None
    ) -> str:
        """Make a token, which can be shown only now. It is valid for `expires_in` ms; None: for good.

        `label` says what it is for.

        Raises `NotFound` if there is no active user with this id.
        """
        with self._db.write() as connection:
            if not connection.scalar(select(User.active).where(User.id == user_id)):
                raise NotFound(f"There is no active user with the id {user_id}.")
            return self.add(connection, user_id, permissions, expires_in, label=label)

    def create_for_service(
        self, name: str, permissions: Sequence[str], expires_in: int | None = None, label: str | None = None
    ) -> str:
        """Make a token of the service `name`, which need not be known before.

        Raises `InvalidParams` for a name that cannot be, and if a user from before this rule has the id of the service.
        """
        user_id = service_id(name)
        with self._db.write() as connection:
            if connection.scalar(select(User.id).where(User.id == user_id)) is not None:
                raise InvalidParams(f"There is a user with the id {user_id}; choose another name.")
            return self.add(connection, user_id, permissions, expires_in, service=True, label=label)

    def add(
        self,
        connection: Connection,
        user_id: str,
        permissions: Collection[str],
        expires_in: int | None,
        *,
        service: bool = False,
        label: str | None = None,
        act: Act = Act.CREATE_TOKEN,
    ) -> str:
        """Make a token for somebody who is known to exist; the audit log calls it `act`."""
        token = secrets.token_urlsafe(32)
        now = self._db.clock(connection)
        permitted = sorted(set(permissions))
        values: dict[str, Any] = {"digest": digest_of(token), "user_id": user_id, "permissions": permitted}
        values["label"] = label
        expires_at = None if expires_in is None else now + expires_in
        connection.execute(insert(AuthToken).values(**values, created_at=now, expires_at=expires_at, service=service))
        about = {"token": values["digest"][:SHOWN_DIGEST], "permissions": permitted}
        record(connection, now, act, user_id, **about, expires_at=expires_at)
        return token

    def ending_soon(self) -> list[str]:
        """A sentence for each token that ends soon and has not ended, but for those of people's sessions."""
        with self._db.read() as connection:
            now = self._db.clock(connection)
        return [_warning(one, now) for one in self.list() if one.ends_soon and (one.expires_at or 0) > now]

    def list(self) -> list[TokenInfo]:
        """All tokens, oldest first."""
        of_session = AuthToken.digest.in_(select(PageSession.own_token).where(PageSession.own_token.is_not(None)))
        columns = (*cast(Table, AuthToken.__table__).columns, of_session.label("of_session"))
        query = select(*columns).order_by(AuthToken.created_at, AuthToken.digest)
        with self._db.read() as connection:
            now = self._db.clock(connection)
            rows = connection.execute(query).all()
        return [_shown(row, now) for row in rows]

    def forget(self, token: str) -> None:
        """Delete this token, if there is one."""
        with self._db.write() as connection:
            self.remove(connection, [digest_of(token)])

    def remove(self, connection: Connection, digests: Collection[str]) -> None:
        """Delete the tokens with these digests, as far as they are there."""
        end_tokens(connection, AuthToken.digest.in_(digests), self._db.clock(connection), self._db.journal)

    def revoke(self, digest_prefix: str) -> int:
        """Delete the tokens whose digest starts so; return how many."""
        with self._db.write() as connection:
            forms = (digest_prefix, HELD + digest_prefix)
            starts = or_(*(AuthToken.digest.startswith(one, autoescape=True) for one in forms))
            return end_tokens(connection, starts, self._db.clock(connection), self._db.journal)

    def revoke_all(self, user_id: str) -> int:
        """Delete all tokens of this user or service, and links to sign in with; return how many tokens they were."""
        with self._db.write() as connection:
            connection.execute(delete(LoginLink).where(LoginLink.user_id == user_id))
            return end_tokens(connection, AuthToken.user_id == user_id, self._db.clock(connection), self._db.journal)


def _shown(row: Any, now: int) -> TokenInfo:
    life = None if row.expires_at is None else row.expires_at - row.created_at
    near = life is not None and not row.of_session and row.expires_at - now < min(SOON, life // 4)
    facts = (row.digest.removeprefix(HELD), row.user_id, tuple(row.permissions), row.created_at, row.expires_at)
    return TokenInfo(*facts, row.label, row.last_used_at, near, row.digest.startswith(HELD))


def _warning(one: TokenInfo, now: int) -> str:
    label = f" ({one.label})" if one.label else ""
    hours = ((one.expires_at or now) - now) // (60 * 60 * 1000)
    left = f"{hours // 24} days" if hours >= 48 else f"{hours} hours"
    return f"the token {one.digest[:SHOWN_DIGEST]} of {one.user_id}{label} ends in {left}"


def service_id(name: str) -> str:
    """The id as which the service `name` calls. Raises `InvalidParams` for a name that cannot be."""
    if not SERVICE_NAME.fullmatch(name):
        raise InvalidParams("A service's name has up to 64 of a-z, 0-9, '.', '_' and '-', a letter or digit first.")
    return SERVICE_PREFIX + name


def digest_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
