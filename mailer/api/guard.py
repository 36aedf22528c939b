"""Who may call, how often, and how many at once: checked before the body of the request is read."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import wraps
from typing import Any, TypeVar

from flask import g, request
from flask_smorest import Blueprint

from mailer.api.requests.bodies import read_whole
from mailer.audit.actor import Actor, Via, acting
from mailer.callers.client_address import TrustedProxies
from mailer.callers.rate_limits import Allowance, RateLimiter
from mailer.callers.tokens import Authenticator, Caller
from mailer.errors import InvalidParams, NotLoggedIn, TooBusy, TooManyRequests
from mailer.storage.database_errors import UNAVAILABLE

log = logging.getLogger(__name__)

View = TypeVar("View", bound=Callable[..., Any])

Security = list[dict[str, list[str]]]  # as OpenAPI has it
SECURITY: Security = [{"authToken": [], "userId": []}]


class Guard:
    """Decorates views with these checks. In a guarded view `current_caller()` is who calls."""

    def __init__(
        self, callers: Authenticator, limiter: RateLimiter, audience_limiter: RateLimiter, proxies: TrustedProxies
    ) -> None:
        self._callers = callers
        self._limiter = limiter
        self._audience_limiter = audience_limiter
        self._proxies = proxies

    def requires(
        self,
        *permissions: str,
        limited: bool = False,
        audience_limited: bool = False,
        streams: bool = False,
        basic: bool = False,
        counts: bool = False,
    ) -> Callable[[View], View]:
        """Let in a caller who is logged in and whose token has one of `permissions`; none named: any token will do.

        `limited` counts the request against MAILER_RATE_LIMIT, `audience_limited` against MAILER_AUDIENCE_RATE_LIMIT,
        which is for requests that send nothing. A view that `counts` it in its own transaction does so by
        `count_within`. The body is then read whole, unless the view `streams` it, and URL parameters that the view does
        not take are refused. With `basic` the credentials may also come as HTTP Basic (RFC 7617), user id and token,
        for clients that know nothing else.
        """

        def decorate(view: View) -> View:
            @wraps(view)
            def guarded(*args: Any, **kwargs: Any) -> Any:
                g.caller = caller = self._authenticate(basic=basic)
                if limited and not counts:
                    self._hit(self._limiter, "caller", caller.user_id)
                if audience_limited:
                    self._hit(self._audience_limiter, "looks", caller.user_id)
                with self._counted("caller", caller.user_id) if counts else nullcontext():
                    if permissions:
                        caller.require(*permissions)
                    _check_request(view, streams=streams)
                    with acting(Actor(caller.user_id, Via.API, self._client())):
                        return view(*args, **kwargs)

            return _documented(guarded, limited=limited or audience_limited, security=SECURITY)  # type: ignore[return-value]

        return decorate

    def opens(self, *, limited_as: str = "") -> Callable[[View], View]:
        """Let in everybody. With `limited_as`, a counter's name, MAILER_RATE_LIMIT holds for each client address."""

        def decorate(view: View) -> View:
            @wraps(view)
            def guarded(*args: Any, **kwargs: Any) -> Any:
                if limited_as:
                    self._hit(self._limiter, limited_as, self._client())
                _check_request(view, streams=False)
                return view(*args, **kwargs)

            return _documented(guarded, limited=bool(limited_as), security=None)  # type: ignore[return-value]

        return decorate

    def proves(self) -> Callable[[View], View]:
        """Let in whoever the view believes by what stands in the request. It raises `NotLoggedIn` for all others.

        They are counted as failed logins are, by their address, against MAILER_RATE_LIMIT.
        """

        def decorate(view: View) -> View:
            @wraps(view)
            def guarded(*args: Any, **kwargs: Any) -> Any:
                _check_request(view, streams=False)
                try:
                    return view(*args, **kwargs)
                except NotLoggedIn as error:
                    self._hit(self._limiter, "failures", self._client())
                    of = ", ".join(map(str, (request.view_args or {}).values()))
                    log.warning("%s: refused: %s", of, error.text)  # after the limit, which keeps this from flooding
                    raise

            return _documented(guarded, limited=False, security=None)  # type: ignore[return-value]

        return decorate

    def _authenticate(self, *, basic: bool) -> Caller:
        user_id, token = request.headers.get("X-User-Id", ""), request.headers.get("X-Auth-Token", "")
        sent = request.authorization
        if basic and not (user_id or token) and sent is not None and sent.type == "basic":
            user_id, token = sent.username or "", sent.password or ""
        try:
            return self._callers.authenticate(user_id, token)
        except NotLoggedIn:
            self._hit(self._limiter, "failures", self._client())
            raise

    def _hit(self, limiter: RateLimiter, *identity: str) -> None:
        _tell(limiter.hit(*identity))

    @contextmanager
    def _counted(self, *identity: str) -> Iterator[None]:
        """See that the request is counted, whatever becomes of it: by the view, or else in a transaction of its own.

        What the view had counted is rolled back with all else when it raises. A request that fails with the database is
        not counted, since that would make the caller wait for the database once more.
        """
        self._limiter.refuse_again(*identity)
        g.count = lambda connection, now: self._limiter.hit_within(connection, now, *identity)
        try:
            yield
        except (TooManyRequests, *UNAVAILABLE):
            raise
        except Exception:
            self._hit(self._limiter, *identity)
            raise

    def _client(self) -> str:
        return self._proxies.client(request.remote_addr or "", request.headers.get("X-Forwarded-For", ""))


class ConcurrencyLimit:
    """Slots for requests that read the whole directory, so that some threads are always free to accept campaigns.

    gunicorn.conf.py gives a process half as many slots as it has threads.
    """

    def __init__(self, slots: int = 4) -> None:
        self.resize(slots)

    def resize(self, slots: int) -> None:
        """Have this many slots from now on, at least one. To be called before the first request."""
        self._slots = threading.BoundedSemaphore(max(1, slots))

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold one slot. Raises `TooBusy` at once where all are taken: a request that waited would hold a thread."""
        slots = self._slots
        if not slots.acquire(blocking=False):
            raise TooBusy
        try:
            yield
        finally:
            slots.release()


def _documented(view: Callable[..., Any], *, limited: bool, security: Security | None) -> Callable[..., Any]:
    """Note for the API's documentation which credentials the view takes, and whether it has a rate."""
    notes: dict[str, Any] = {"x-rate-limited": True} if limited else {}
    if security is not None:
        notes["security"] = security
    documented: Callable[..., Any] = Blueprint.doc(**notes)(view)
    return documented


def _check_request(view: Callable[..., Any], *, streams: bool) -> None:
    if not getattr(view, "takes_parameters", False):
        for name in request.args:
            raise InvalidParams(f"{name[:100]}: Unknown URL parameter.", field=name[:100])
    if not streams:
        read_whole(request)


def count_within(connection: Any, now: int) -> None:
    """Count this request in the view's own transaction, at `now` (ms since 1970). Raises `TooManyRequests`.

    Only in a view whose guard knows that it `counts`. Every request that it answers has to be counted.
    """
    _tell(g.count(connection, now))


def _tell(allowance: Allowance | None) -> None:
    g.rate_headers = {} if allowance is None else allowance.headers()


def current_caller() -> Caller:
    """Who made this request. Only in a view that `Guard.requires` guards."""
    caller: Caller = g.caller
    return caller


def campaigns_in_reach() -> str | None:
    """Whose campaigns this request may see and change: the id of their caller, or None for everybody's."""
    return current_caller().reach
