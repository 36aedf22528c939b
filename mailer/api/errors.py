"""Every error as JSON in Rocket.Chat's envelope, and the headers that protect every answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Lock
from typing import Any

from flask import Flask, Response, g, jsonify
from flask_smorest import Api
from werkzeug.exceptions import HTTPException

from mailer.api.schemas import ErrorSchema
from mailer.errors import DatabaseUnavailable, MailerError, NotLoggedIn
from mailer.storage.database_errors import UNAVAILABLE, own_words

log = logging.getLogger(__name__)

HTTP_TYPES = {
    404: "error-not-found",
    405: "error-method-not-allowed",
    413: "error-body-too-large",
    500: "internal-error",
}


PROTECTION = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class EnvelopeApi(Api):
    """flask-smorest's Api, with every error in the envelope, also those that Flask itself raises.

    Its OpenAPI document is made when somebody asks for it. That takes as long as the rest of an app's making.
    """

    ERROR_SCHEMA = ErrorSchema

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._undescribed: list[Callable[[], object]] = []
        self._describing = Lock()
        super().__init__(*args, **kwargs)

    def describe_later(self, describe: Callable[[], object]) -> None:
        """Call `describe`, which adds to the document, before it is first sent."""
        self._undescribed.append(describe)

    def _openapi_json(self) -> Any:
        with self._describing:
            while self._undescribed:
                self._undescribed.pop(0)()
            return super()._openapi_json()

    def handle_http_exception(self, error: HTTPException) -> Any:
        """404, 405, 413, 500 and the like."""
        code = error.code or 500
        kind = HTTP_TYPES.get(code, "error-" + error.name.lower().replace(" ", "-"))
        answer = envelope(error.name, kind, {}, code)
        for name, value in error.get_headers():
            if name.lower() not in ("content-type", "content-length"):
                answer.headers[name] = value
        return answer


def register_errors(app: Flask) -> None:
    """Have the app answer the service's own errors, and a database that is not available (503)."""
    app.register_error_handler(MailerError, _refused)
    for unavailable in UNAVAILABLE:
        app.register_error_handler(unavailable, _database_down)


def protect(app: Flask) -> None:
    """Add headers to every answer: no guessing of its type, no framing, no loading. A page sets a policy of its own.

    What is left of the caller's rate (`g.rate_headers`) is added at once with them, which costs every request less.
    """

    @app.after_request
    def add(answer: Response) -> Response:
        present = {name.lower() for name, _ in answer.headers}
        for name, value in (PROTECTION | g.get("rate_headers", {})).items():
            if name.lower() not in present:
                answer.headers.add(name, value)
        return answer


def envelope(text: str, kind: str, details: dict[str, Any], status: int) -> Response:
    """`{"success": false, "error": "<text> [<errorType>]", "errorType": ..., "details": {...}}`."""
    answer = jsonify(success=False, error=f"{text} [{kind}]", errorType=kind, details=details)
    answer.status_code = status
    return answer


def _refused(error: MailerError) -> Response:
    if isinstance(error, NotLoggedIn):
        answer = jsonify(status="error", message=error.text, success=False, error=error.text)
        answer.status_code = error.status
    elif error.status == 403:
        answer = jsonify(success=False, error=f"{error.text} [{error.error_type}]")
        answer.status_code = error.status
    else:
        answer = envelope(error.text, error.error_type, error.details, error.status)
    answer.headers.update(error.headers)
    return answer


def _database_down(error: Exception) -> Response:
    log.error("database unavailable: %s", own_words(error))
    return _refused(DatabaseUnavailable())
