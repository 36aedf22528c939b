"""A file in a request's body: larger than JSON may be, and read as it comes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TextIO

from flask import request
from werkzeug.exceptions import ClientDisconnected

from mailer.errors import InvalidParams

MAX_UPLOAD = 1 << 30  # bytes: about three million users


class _Body(io.RawIOBase):
    """The body, whose end before its declared length is an error: gunicorn and Werkzeug take it for the end."""

    def __init__(self, stream: IO[bytes], length: int | None) -> None:
        self._stream = stream
        self._missing = length or 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        data = self._stream.read(len(buffer))
        self._missing -= len(data)
        if not data and self._missing > 0:
            raise ClientDisconnected
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def uploaded_text(*kinds: str) -> Iterator[TextIO]:
    """The body as text, if its Content-Type is one of `kinds`; a body over `MAX_UPLOAD` ends in a 413.

    What is not UTF-8 becomes lone surrogates, which are refused with the field they are in.
    """
    if request.mimetype not in kinds:
        raise InvalidParams(f"The body must be sent as Content-Type: {' or '.join(kinds)}.", field="body")
    request.max_content_length = MAX_UPLOAD
    body = io.BufferedReader(_Body(request.stream, request.content_length))
    text = io.TextIOWrapper(body, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield text
    finally:
        text.detach()  # the stream is the server's to close
