"""Who may call: credentials, then rate, then permission, before a byte of the body is read."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from flask import g, request

from mailer.auth import Authenticator, Caller
from mailer.errors import NotLoggedIn
from mailer.rate_limits import Throttle

View = TypeVar("View", bound=Callable[..., Any])

PARAMETERS = {
    "Auth-Token": {
        "name": "X-Auth-Token",
        "in": "header",
        "description": "The `authToken` of the authenticated user.",
        "required": True,
        "schema": {"type": "string"},
        "example": "RScctEHSmLGZGywfIhWyRpyofhKOiMoUIpimhvheU3f",
    },
    "UserId": {
        "name": "X-User-Id",
        "in": "header",
        "description": "The `userId` of the authenticated user.",
        "required": True,
        "schema": {"type": "string"},
        "example": "rbAXPnMktTFbNpwtJ",
    },
}
SECURITY: list[dict[str, list[str]]] = [{"authToken": [], "userId": []}]
SECURITY_SCHEMES = {
    "authToken": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
    "userId": {"type": "apiKey", "in": "header", "name": "X-User-Id"},
}


class Guard:
    """Decorates views; the caller is then `current_caller()`."""

    def __init__(self, callers: Authenticator, throttle: Throttle) -> None:
        self._callers = callers
        self._throttle = throttle

    def requires(self, permission: str, *, limited: bool = False) -> Callable[[View], View]:
        """Let in who is logged in, within the rate if `limited`, and has `permission`."""

        def decorate(view: View) -> View:
            @wraps(view)
            def guarded(*args: Any, **kwargs: Any) -> Any:
                g.caller = caller = self._authenticate()
                if limited:
                    self._throttle.hit("caller", caller.user_id)
                caller.require(permission)
                return view(*args, **kwargs)

            return guarded  # type: ignore[return-value]

        return decorate

    def _authenticate(self) -> Caller:
        try:
            return self._callers.authenticate(
                request.headers.get("X-User-Id", ""), request.headers.get("X-Auth-Token", "")
            )
        except NotLoggedIn:
            self._throttle.hit("failures", request.remote_addr or "")
            raise


def current_caller() -> Caller:
    """Who made this request."""
    caller: Caller = g.caller
    return caller
