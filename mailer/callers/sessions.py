"""Logging in, `me` and logging out, which Rocket.Chat's clients call before and after a campaign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import select

from mailer.callers.tokens import Caller, Tokens
from mailer.directory.documents import SERVICE_PREFIX
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
    """An answer to a caller: its JSON, status and headers."""

    body: dict[str, Any]
    status: int
    headers: Mapping[str, str]


class Sessions(Protocol):
    """Answers the calls that are about a session: by the workspace, or by ourselves if there is none."""

    def login(self, credentials: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
        """Answer an attempt to log in; `headers` are those of a second factor."""

    def me(self, caller: Caller, token: str) -> Answer:
        """Who the caller is, as a user document with `success`."""

    def logout(self, caller: Caller, token: str, headers: Mapping[str, str]) -> Answer:
        """Make the caller's token invalid."""


class LocalSessions:
    """Sessions without a workspace: tokens are made on the command line (`tokens.Tokens`), so nobody can log in."""

    def __init__(self, db: Database, tokens: Tokens) -> None:
        self._db = db
        self._tokens = tokens

    def login(self, credentials: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:  # noqa: ARG002
        """Refuse, and say how a token is made."""
        body = {"status": "error", "message": NO_PASSWORDS, "success": False, "error": NO_PASSWORDS}
        return Answer(body, 401, {})

    def me(self, caller: Caller, token: str) -> Answer:  # noqa: ARG002
        """The caller's fields in the directory, as far as the workspace itself would show them."""
        if caller.service:
            name = caller.user_id.removeprefix(SERVICE_PREFIX)
            shown = {"username": name, "name": name, "type": "service", "active": True, "roles": [], "emails": []}
            return Answer({"_id": caller.user_id, **shown, "email": None, "success": True}, 200, {})
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
        """Delete the token, which is invalid from now on."""
        self._tokens.forget(token)
        return Answer({"status": "success", "success": True, "data": {"message": LOGGED_OUT}}, 200, {})
