"""Callers known by a Rocket.Chat workspace: asked with their own two headers, and remembered for a minute."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Collection

from mailer.callers.tokens import PERMISSIONS, SEND_MAIL, Caller
from mailer.errors import NotLoggedIn
from mailer.text import is_http_header_value
from mailer.workspace.client import Account, account

REMEMBERED_SECONDS = 60.0
MAX_REMEMBERED = 10_000  # callers remembered
ADMIN = "admin"

Ask = Callable[[str, str, str], Account | None]


class WorkspaceCallers:
    """Takes the place of `tokens.Tokens` where a workspace is set; may be used by several threads."""

    def __init__(
        self, url: str, send_roles: Collection[str], *, ask: Ask = account, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = url
        self._send_roles = frozenset(send_roles)
        self._ask = ask
        self._now = now
        self._known: dict[bytes, tuple[float, Caller]] = {}
        self._lock = threading.Lock()

    def authenticate(self, user_id: str, token: str) -> Caller:
        """Return the caller; raise `NotLoggedIn`, or `WorkspaceUnavailable` when nobody can say who it is."""
        if not (user_id and token and is_http_header_value(user_id + token)):
            raise NotLoggedIn
        key = _key(user_id, token)
        caller = self._remembered(key)
        if caller is None:
            caller = self._asked(user_id, token)
            self._remember(key, caller)
        return caller

    def forget(self, user_id: str, token: str) -> None:
        """Forget this caller, who has logged out, so that the workspace is asked again."""
        with self._lock:
            self._known.pop(_key(user_id, token), None)

    def _asked(self, user_id: str, token: str) -> Caller:
        found = self._ask(self._url, user_id, token)
        if found is None or not found.active or found.user_id != user_id:
            raise NotLoggedIn
        return Caller(user_id, permissions(found.roles, self._send_roles))

    def _remembered(self, key: bytes) -> Caller | None:
        with self._lock:
            until, caller = self._known.get(key, (0.0, None))
            return caller if self._now() < until else None

    def _remember(self, key: bytes, caller: Caller) -> None:
        with self._lock:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[key] = (self._now() + REMEMBERED_SECONDS, caller)


def _key(user_id: str, token: str) -> bytes:
    return hashlib.sha256(f"{user_id}\n{token}".encode()).digest()


def permissions(roles: Collection[str], send_roles: Collection[str]) -> frozenset[str]:
    """What somebody with `roles` in the workspace may do here; an admin may do everything. Pure."""
    if ADMIN in roles:
        return frozenset(PERMISSIONS)
    return frozenset({SEND_MAIL}) if set(roles) & set(send_roles) else frozenset()
