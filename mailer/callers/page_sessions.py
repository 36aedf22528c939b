"""Who has signed in to the pages, and for how long.

A browser keeps a cookie with a secret of the session and the caller's own credentials, which no script can read. They
are checked at every request as the API checks them, so a session ends with its token. The database has a digest of the
secret: a session can be ended there, and nothing in the database opens one.

Who comes by a login link has no credentials, so a token is made for the session. It ends with the session, and the
session with it: when an operator revokes it, or when its user is deactivated. It is one of our own also where a
workspace knows the callers, and the API takes it for none there.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from mailer.audit.log import Act
from mailer.callers import login_links
from mailer.callers.tokens import Authenticator, Caller, Tokens, digest_of
from mailer.errors import NotLoggedIn
from mailer.storage.database import Database
from mailer.storage.models import AuthToken, PageSession

OURS = "ours"  # in a cookie whose token the workspace has made for this session
MAX_COOKIE = 4096  # characters, as browsers take them


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody who has signed in. `secret` is what the forms of their pages prove to know.

    `token_is_ours`: it was made for this session alone by a login at the workspace, and is to end with it.
    """

    caller: Caller
    secret: str
    token: str
    token_is_ours: bool = False


class PageSessions:
    """The sessions in the database. `lifetime` is in ms; `callers` check the credentials."""

    def __init__(self, db: Database, callers: Authenticator, lifetime: int) -> None:
        self._db = db
        self._callers = callers
        self._tokens = Tokens(db)
        self._lifetime = lifetime

    def open(self, user_id: str, token: str, *needed: str, token_is_ours: bool = False) -> str:
        """Begin a session and return what the cookie says. `token_is_ours` is as in `SignedIn`.

        Raises `NotLoggedIn` for wrong credentials, and `NotAuthorized` for those with none of the permissions `needed`.
        """
        caller = self._callers.authenticate(user_id, token)
        caller.require(*needed)
        with self._db.write() as connection:
            return self._begin(connection, caller.user_id, token, token_is_ours=token_is_ours)

    def open_by_link(self, link: str) -> str:
        """The same for who has a login link, which is used up. Raises `NotLoggedIn` where it is not valid."""
        with self._db.write() as connection:
            user_id, permissions = login_links.take(connection, self._db.clock(connection), link)
            token = self._tokens.add(connection, user_id, permissions, self._lifetime, act=Act.USE_LOGIN_LINK)
            return self._begin(connection, user_id, token, own_token=digest_of(token))

    def _begin(
        self,
        connection: Connection,
        user_id: str,
        token: str,
        own_token: str | None = None,
        *,
        token_is_ours: bool = False,
    ) -> str:
        now, secret = self._db.clock(connection), secrets.token_urlsafe(32)
        over = PageSession.expires_at <= now
        connection.execute(delete(AuthToken).where(AuthToken.digest.in_(select(PageSession.own_token).where(over))))
        connection.execute(delete(PageSession).where(over))
        row = {"digest": _digest(secret), "user_id": user_id, "created_at": now, "expires_at": now + self._lifetime}
        connection.execute(insert(PageSession).values(**row, own_token=own_token))
        kept = [secret, user_id, token, *([OURS] if token_is_ours else [])]
        return urlsafe_b64encode(json.dumps(kept).encode()).decode()

    def read(self, cookie: str) -> SignedIn:
        """Who sends this cookie. Raises `NotLoggedIn` where the session or the token is over, or never was."""
        secret, user_id, token, token_is_ours = _parts(cookie)
        columns = (PageSession.user_id, PageSession.expires_at, PageSession.own_token)
        mine = select(*columns).where(PageSession.digest == _digest(secret))
        with self._db.read() as connection:
            row = connection.execute(mine).one_or_none()
            over = row is None or row.expires_at <= self._db.clock(connection)
        if row is None or over or not hmac.compare_digest(row.user_id.encode(), user_id.encode()):
            raise NotLoggedIn
        callers = self._callers if row.own_token is None else self._tokens
        return SignedIn(callers.authenticate(user_id, token), secret, token, token_is_ours)

    def close(self, one: SignedIn, *, everywhere: bool = False) -> None:
        """End this session, or all of its user."""
        which = PageSession.user_id == one.caller.user_id if everywhere else PageSession.digest == _digest(one.secret)
        with self._db.write() as connection:
            ended = connection.scalars(delete(PageSession).where(which).returning(PageSession.own_token)).all()
            if own := [digest for digest in ended if digest is not None]:
                self._tokens.remove(connection, own)


def form_token(secret: str) -> str:
    """What a form has in it to show that it is one of ours, made for who has this secret."""
    return hashlib.sha256(f"form of {secret}".encode()).hexdigest()


def is_form_token(secret: str, sent: str) -> bool:
    """Whether a form that was sent is."""
    return hmac.compare_digest(form_token(secret).encode(), sent.encode("utf-8", "surrogateescape"))


def _parts(cookie: str) -> tuple[str, str, str, bool]:
    try:
        found = json.loads(urlsafe_b64decode(cookie[:MAX_COOKIE].encode("ascii")))
        secret, user_id, token, *more = found
        if not all(isinstance(part, str) for part in found):
            raise NotLoggedIn
    except (TypeError, ValueError) as error:  # wrong base64, wrong JSON, another number of parts
        raise NotLoggedIn from error
    return secret, user_id, token, more == [OURS]


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
