"""A file as a request's body. It may be larger than JSON, and is read while it arrives."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from flask import request

from mailer.errors import InvalidParams
from mailer.files.text_files import TextFile

MAX_UPLOAD = 1 << 30  # bytes: about three million users
UTF8 = {"utf-8", "utf8"}
LIST_TYPES = ("text/csv", "application/x-ndjson", "text/plain")  # of a list of addresses or users


@contextmanager
def uploaded_text(*kinds: str) -> Iterator[TextFile]:
    """The body as text, if its Content-Type is one of `kinds`; a body over `MAX_UPLOAD` ends in a 413.

    A `charset` other than UTF-8, which clients add by themselves, overrules what the bytes say.
    """
    if request.mimetype not in kinds:
        raise InvalidParams(f"The body must be sent as Content-Type: {' or '.join(kinds)}.", field="body")
    request.max_content_length = MAX_UPLOAD
    body = io.BufferedReader(cast(io.RawIOBase, request.stream))  # it is one where there is a limit
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    text = TextFile(body, None if charset in UTF8 else charset)
    try:
        yield text
    finally:
        text.close()  # the stream is the server's to close
