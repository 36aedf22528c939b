"""A file in a request's body: larger than JSON may be, and read as it comes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from flask import request
from werkzeug.exceptions import ClientDisconnected

from mailer.errors import InvalidParams
from mailer.text_files import TextFile

MAX_UPLOAD = 1 << 30  # bytes: about three million users
UTF8 = {"utf-8", "utf8"}


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
def uploaded_text(*kinds: str) -> Iterator[TextFile]:
    """The body as text, if its Content-Type is one of `kinds`; a body over `MAX_UPLOAD` ends in a 413.

    A `charset` other than UTF-8, which clients add by themselves, overrules what the bytes say.
    """
    if request.mimetype not in kinds:
        raise InvalidParams(f"The body must be sent as Content-Type: {' or '.join(kinds)}.", field="body")
    request.max_content_length = MAX_UPLOAD
    body = io.BufferedReader(_Body(request.stream, request.content_length))
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    text = TextFile(body, None if charset in UTF8 else charset)
    try:
        yield text
    finally:
        text.close()  # the stream is the server's to close
