"""A form as a request's body, urlencoded or multipart: each field once, its text as it is, and no files."""

from __future__ import annotations

import io
from collections.abc import Iterable
from urllib.parse import parse_qsl

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

from mailer.api.requests.fields import FormText
from mailer.errors import InvalidParams

URLENCODED, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"
MOST_FIELDS = 100
NOT_A_FORM = "The body is not a valid form in UTF-8."


def is_form(request: Request) -> bool:
    """Whether the body is declared to be a form."""
    return request.mimetype in (URLENCODED, MULTIPART)


def read_form(request: Request, data: bytes) -> dict[str, FormText]:
    """The fields of `data`; `InvalidParams` for what is no form, a field that appears twice, or a file."""
    if data.lstrip().startswith(b"{"):
        raise InvalidParams("The body is JSON; send it as Content-Type: application/json.", field="body")
    try:
        pairs = _multipart(request, data) if request.mimetype == MULTIPART else _urlencoded(data)
        found: dict[str, FormText] = {}
        for name, value in pairs:
            if name in found:
                raise InvalidParams(f"{name[:100]}: Appears twice.", field=name[:100])
            found[name] = FormText(value)
    except ValueError as error:
        raise InvalidParams(NOT_A_FORM, field="body") from error
    return found


def _urlencoded(data: bytes) -> Iterable[tuple[str, str]]:
    return parse_qsl(data.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)


def _multipart(request: Request, data: bytes) -> Iterable[tuple[str, str]]:
    parser = FormDataParser(max_form_memory_size=len(data), max_form_parts=MOST_FIELDS, silent=False)
    try:
        _, fields, files = parser.parse(io.BytesIO(data), MULTIPART, len(data), request.mimetype_params)
    except RequestEntityTooLarge as error:
        raise ValueError("too many parts") from error
    for name in files:
        raise InvalidParams(f"{name[:100]}: Is a file.", field=name[:100])
    pairs = list(fields.items(multi=True))
    if sum(text.count("\ufffd") for pair in pairs for text in pair) > data.count("\ufffd".encode()):
        raise ValueError("not UTF-8")  # Werkzeug puts this character where it could not read
    return pairs
