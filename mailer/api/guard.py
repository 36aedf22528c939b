"""Who may call: credentials, then rate, then permission; only then the body is read."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from flask import Flask, Response, g, request
from flask_smorest import Blueprint

from mailer.api.requests.bodies import read_whole
from mailer.callers.client_address import TrustedProxies
from mailer.callers.rate_limits import RateLimiter
from mailer.callers.tokens import Authenticator, Caller
from mailer.errors import InvalidParams, NotLoggedIn

View = TypeVar("View", bound=Callable[..., Any])

SECURITY: list[dict[str, list[str]]] = [{"authToken": [], "userId": []}]


class Guard:
    """Decorates views; the caller is then `current_caller()`."""

    def __init__(
        self, callers: Authenticator, throttle: RateLimiter, looks: RateLimiter, proxies: TrustedProxies
    ) -> None:
        self._callers = callers
        self._throttle = throttle
        self._looks = looks
        self._proxies = proxies

    def requires(
        self, permission: str | None, *, limited: bool = False, looks: bool = False, streams: bool = False
    ) -> Callable[[View], View]:
        """Let in who is logged in, within the rate if `limited`, and has `permission` if any is asked for.

        What only `looks` and sends nothing has a rate of its own.
        The body is then read whole, unless the view `streams` it, and parameters that the view does not take are
        refused.
        """

        def decorate(view: View) -> View:
            @wraps(view)
            def guarded(*args: Any, **kwargs: Any) -> Any:
                g.caller = caller = self._authenticate()
                if limited:
                    self._hit(self._throttle, "caller", caller.user_id)
                if looks:
                    self._hit(self._looks, "looks", caller.user_id)
                if permission is not None:
                    caller.require(permission)
                _check_request(view, streams=streams)
                return view(*args, **kwargs)

            return _documented(guarded, limited=limited or looks)  # type: ignore[return-value]

        return decorate

    def opens(self, *, limited_as: str = "") -> Callable[[View], View]:
        """Let in everybody, within the rate of an address if it is limited; `limited_as` names the counter."""

        def decorate(view: View) -> View:
            @wraps(view)
            def guarded(*args: Any, **kwargs: Any) -> Any:
                if limited_as:
                    self._hit(self._throttle, limited_as, self._client())
                _check_request(view, streams=False)
                return view(*args, **kwargs)

            return _documented(guarded, limited=bool(limited_as))  # type: ignore[return-value]

        return decorate

    def _authenticate(self) -> Caller:
        try:
            return self._callers.authenticate(
                request.headers.get("X-User-Id", ""), request.headers.get("X-Auth-Token", "")
            )
        except NotLoggedIn:
            self._hit(self._throttle, "failures", self._client())
            raise

    def _hit(self, throttle: RateLimiter, *identity: str) -> None:
        allowance = throttle.hit(*identity)
        g.rate_headers = {} if allowance is None else allowance.headers()

    def _client(self) -> str:
        return self._proxies.client(request.remote_addr or "", request.headers.get("X-Forwarded-For", ""))


def _documented(view: Callable[..., Any], *, limited: bool) -> Callable[..., Any]:
    """Say to flask-smorest's documentation whether there is a rate."""
    if not limited:
        return view
    documented: Callable[..., Any] = Blueprint.doc(**{"x-rate-limited": True})(view)
    return documented


def tell_rates(app: Flask) -> None:
    """Put what is left of the caller's rate on whatever is answered."""

    @app.after_request
    def tell(answer: Response) -> Response:
        for name, value in g.get("rate_headers", {}).items():
            answer.headers.setdefault(name, value)
        return answer


def _check_request(view: Callable[..., Any], *, streams: bool) -> None:
    if not getattr(view, "takes_parameters", False):
        for name in request.args:
            raise InvalidParams(f"{name[:100]}: Unknown URL parameter.", field=name[:100])
    if not streams:
        read_whole(request)


def current_caller() -> Caller:
    """Who made this request."""
    caller: Caller = g.caller
    return caller
