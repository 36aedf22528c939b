"""A request's body is read whole or refused: one that was cut short or garbled is a 400, never half a request."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import IO, Any

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge

from mailer.errors import InvalidParams

CUT_SHORT = "The body is cut short or malformed."

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]


class WholeBodies:
    """WSGI middleware: a body that ends early or is malformed becomes a 400.

    Servers report such a body by exceptions of their own, or not at all.
    """

    def __init__(self, app: Application) -> None:
        self._app = app

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Serve one request."""
        length = environ.get("CONTENT_LENGTH", "")
        declared = int(length) if length.isascii() and length.isdigit() else 0
        environ["wsgi.input"] = io.BufferedReader(_Body(environ["wsgi.input"], declared))
        return self._app(environ, start_response)


class _Body(io.RawIOBase):
    """The body. Its end before the declared length is an error, which gunicorn and Werkzeug do not notice."""

    def __init__(self, stream: IO[bytes], declared: int) -> None:
        self._stream = stream
        self._missing = declared

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        try:
            data = self._stream.read(len(buffer))
        except Exception as error:  # a malformed chunk, a silent line: each server has exceptions of its own
            raise InvalidParams(CUT_SHORT, field="body") from error
        self._missing -= len(data)
        if not data and self._missing > 0:
            raise InvalidParams(CUT_SHORT, field="body")
        buffer[: len(data)] = data
        return len(data)


def read_whole(request: Request) -> bytes:
    """The whole body, kept for who asks again. Raises 413 over the limit, 400 if it is malformed or has a coding."""
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise InvalidParams("Content-Encoding: Send the body as it is.", field="Content-Encoding")
    data = request.get_data()
    if request.content_length is None and len(data) >= (request.max_content_length or len(data) + 1):
        raise RequestEntityTooLarge  # of a chunked body Werkzeug gives the beginning and says nothing
    return data
