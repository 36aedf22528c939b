"""Services under `MAILER_AUTH=workspace`: their tokens are of our own, and the workspace is not asked about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mailer.callers.sessions import Answer, LocalSessions, Sessions
from mailer.callers.tokens import Authenticator, Caller, Tokens
from mailer.directory.documents import SERVICE_PREFIX
from mailer.errors import NotLoggedIn


class ServicesFirst:
    """Looks into the tokens here for whoever calls with the id of a service, and asks `others` about everybody else."""

    def __init__(self, tokens: Tokens, others: Authenticator) -> None:
        self._tokens = tokens
        self._others = others

    def authenticate(self, user_id: str, token: str) -> Caller:
        """Return the caller. A service's token is never shown to the workspace, whether it is valid or not."""
        if not user_id.startswith(SERVICE_PREFIX):
            return self._others.authenticate(user_id, token)
        caller = self._tokens.authenticate(user_id, token)
        if not caller.service:
            raise NotLoggedIn
        return caller


class SessionsOfServices:
    """Answers for services itself, and has `others` answer for everybody else."""

    def __init__(self, own: LocalSessions, others: Sessions) -> None:
        self._own = own
        self._others = others

    def login(self, credentials: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
        """The workspace's answer: a service does not log in."""
        return self._others.login(credentials, headers)

    def me(self, caller: Caller, token: str) -> Answer:
        """Who the caller is."""
        return self._of(caller).me(caller, token)

    def logout(self, caller: Caller, token: str, headers: Mapping[str, str]) -> Answer:
        """Make the caller's token invalid."""
        return self._of(caller).logout(caller, token, headers)

    def _of(self, caller: Caller) -> Sessions:
        return self._own if caller.service else self._others
