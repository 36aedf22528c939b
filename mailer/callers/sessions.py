"""What clients ask around a campaign: log in, who am I, log out. Answered by whoever knows the callers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import select

from mailer.callers.tokens import Caller, Tokens
from mailer.errors import NotLoggedIn
from mailer.storage.database import Database
from mailer.storage.models import User
from mailer.times import to_iso

LOGGED_OUT = "You've been logged out!"
NO_PASSWORDS = (
    "This service has no passwords: `mailer tokens create` makes a token. "
    "Send it as X-Auth-Token, with its user's id as X-User-Id."
)
SHOWN = ("username", "name", "emails", "type", "roles", "active", "status", "language", "customFields")


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer: JSON, a status and headers."""

    body: dict[str, Any]
    status: int
    headers: Mapping[str, str]


class Sessions(Protocol):
    """Where callers come from and go to."""

    def login(self, credentials: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
        """Answer an attempt to log in; `headers` are those of a second factor."""

    def me(self, caller: Caller, token: str) -> Answer:
        """Who the caller is, as a user document with `success`."""

    def logout(self, caller: Caller, token: str, headers: Mapping[str, str]) -> Answer:
        """Make the caller's token invalid."""


class LocalSessions:
    """Stands beside `tokens.Tokens`: tokens are made on the command line, so nobody can log in here."""

    def __init__(self, db: Database, tokens: Tokens) -> None:
        self._db = db
        self._tokens = tokens

    def login(self, credentials: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:  # noqa: ARG002
        """Refuse, and say how a token is made."""
        body = {"status": "error", "message": NO_PASSWORDS, "success": False, "error": NO_PASSWORDS}
        return Answer(body, 401, {})

    def me(self, caller: Caller, token: str) -> Answer:  # noqa: ARG002
        """What the directory has of them, as far as the workspace itself would show it to them."""
        with self._db.read() as connection:
            asked = select(User.email, User.created_at, User.document).where(User.id == caller.user_id)
            row = connection.execute(asked).one_or_none()
        if row is None:
            raise NotLoggedIn
        known = {name: row.document[name] for name in SHOWN if name in row.document}
        if row.created_at is not None:
            known["createdAt"] = to_iso(row.created_at)
        return Answer({"_id": caller.user_id, **known, "email": row.email, "success": True}, 200, {})

    def logout(self, caller: Caller, token: str, headers: Mapping[str, str]) -> Answer:  # noqa: ARG002
        """Delete the token: it is not valid any more."""
        self._tokens.forget(token)
        return Answer({"status": "success", "success": True, "data": {"message": LOGGED_OUT}}, 200, {})
