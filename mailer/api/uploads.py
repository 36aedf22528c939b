"""A file in a request's body: larger than JSON may be, and read as it comes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, cast

from flask import request

from mailer.errors import InvalidParams

MAX_UPLOAD = 1 << 30  # bytes: about three million users


@contextmanager
def uploaded_text(*kinds: str) -> Iterator[TextIO]:
    """The body as text, if its Content-Type is one of `kinds`; a body over `MAX_UPLOAD` ends in a 413.

    What is not UTF-8 becomes lone surrogates, which are refused with the field they are in.
    """
    if request.mimetype not in kinds:
        raise InvalidParams(f"The body must be sent as Content-Type: {' or '.join(kinds)}.", field="body")
    request.max_content_length = MAX_UPLOAD
    body = io.BufferedReader(cast(io.RawIOBase, request.stream))  # it is one where there is a limit
    text = io.TextIOWrapper(body, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield text
    finally:
        text.detach()  # the stream is the server's to close
