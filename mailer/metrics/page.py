"""`GET /metrics`, who may read it, and the count of all requests by endpoint, method and code."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any

from flask import Blueprint, Flask, Request, Response, abort, g, request
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from mailer.metrics.instruments import Instruments
from mailer.metrics.processes import PATH, WSGI, nothing_here
from mailer.settings.listening import address_of

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")  # a proxy has passed the request on


def add_metrics(app: Flask, instruments: Instruments, place: str) -> None:
    """Count requests, and add `/metrics`: at `place`, HOST:PORT, or with `true` where everything else is."""
    own = place != "true"
    count_requests(app, instruments)
    app.register_blueprint(make_blueprint(instruments.registry, own_port=own))
    if own:
        app.wsgi_app = OwnPort(app.wsgi_app, address_of(place)[1])  # type: ignore[method-assign]


def make_blueprint(registry: CollectorRegistry, *, own_port: bool) -> Blueprint:
    """`/metrics`. Without a port of its own it is answered only to this machine, and to no proxy."""
    blueprint = Blueprint("metrics", __name__)

    @blueprint.get(PATH)
    def metrics() -> Response:
        if not own_port and not _is_local(request):
            abort(404)
        encode, kind = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(registry), content_type=kind)

    return blueprint


def _is_local(asked: Request) -> bool:
    try:
        local = ip_address(asked.remote_addr or "").is_loopback
    except ValueError:  # a unix socket, at whose other end a proxy is
        local = False
    return local and not any(name in asked.headers for name in FORWARDED)


def count_requests(app: Flask, instruments: Instruments) -> None:
    """Count every request once it is answered, and how long that took, a file's sending not included."""

    @app.before_request
    def begin() -> None:
        g.request_began = time.perf_counter()

    @app.after_request
    def end(answer: Response) -> Response:
        seconds = time.perf_counter() - g.get("request_began", time.perf_counter())
        endpoint = request.url_rule.rule if request.url_rule else "none"
        method = request.method if request.method in METHODS else "other"
        instruments.requested(endpoint, method, answer.status_code, seconds)
        return answer


class OwnPort:
    """Answers `/metrics` at the port that is for it, and everything else at the others."""

    def __init__(self, app: WSGI, port: int) -> None:
        self._app = app
        self._port = port

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """As WSGI has it."""
        if (_port(environ) == self._port) == (environ.get("PATH_INFO") == PATH):
            return self._app(environ, start_response)
        return nothing_here(environ, start_response)


def _port(environ: dict[str, Any]) -> int | None:
    """At which port the request arrived. `SERVER_PORT` would not do: at a unix socket the client says what it is."""
    socket = environ.get("gunicorn.socket")
    name = None if socket is None else socket.getsockname()
    return int(name[1]) if isinstance(name, tuple) else None
