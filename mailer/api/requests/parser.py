"""Requests read strictly: every mistake in one is an `invalid-params` that names the field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from flask import Request
from marshmallow import Schema, ValidationError
from webargs.flaskparser import FlaskParser

from mailer.api.requests.bodies import read_whole
from mailer.api.requests.forms import is_form, read_form
from mailer.errors import InvalidParams
from mailer.files import strict_json


class StrictParser(FlaskParser):
    """flask-smorest's `ARGUMENTS_PARSER`, which refuses what a lenient one would guess at."""

    DEFAULT_VALIDATION_STATUS = 400
    DEFAULT_UNKNOWN_BY_LOCATION = dict.fromkeys(
        FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION
    )  # the schema itself says what becomes of unknown fields

    def load_json(self, req: Request, schema: Schema) -> Any:
        """The body as JSON (UTF-8, no key twice, no NaN) or, where the schema takes forms, as a form."""
        data = read_whole(req)
        if is_form(req) and getattr(schema, "takes_forms", False):
            return read_form(req, data)
        if not req.is_json:
            raise InvalidParams("The body must be JSON, sent as Content-Type: application/json.", field="body")
        try:
            return strict_json.loads(data.decode("utf-8"))
        except strict_json.RepeatedName as repeated:
            raise _twice(repeated) from None
        except (ValueError, RecursionError) as error:
            raise InvalidParams("The body is not valid JSON.", field="body") from error

    def load_querystring(self, req: Request, schema: Schema) -> Any:  # noqa: ARG002 - the library's signature
        """The URL's parameters, each given once."""
        try:
            return strict_json.each_once([(name, value) for name, values in req.args.lists() for value in values])
        except strict_json.RepeatedName as repeated:
            raise _twice(repeated) from None

    def handle_error(self, error: ValidationError, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Name the first field at fault in the text and all of them in the details."""
        raise refusal(error.messages) from error


def refusal(messages: Any) -> InvalidParams:
    """The error for what a schema has found, as marshmallow's messages tell it."""
    named = _by_field(messages)
    field, problem = next(iter(named.items()))
    return InvalidParams(f"{field}: {problem}", field=field, fields=named)


def _twice(repeated: strict_json.RepeatedName) -> InvalidParams:
    field = repeated.name[:100]
    return InvalidParams(f"{field}: Appears twice.", field=field)


def _by_field(messages: Any) -> dict[str, str]:
    """Flatten webargs' location > field > messages; a body that is no object has no field but itself.

    Inside lists and objects a field is named by its way there: `addresses.1`.
    """
    located = messages if isinstance(messages, Mapping) else {"json": messages}
    found: dict[str, str] = {}
    for fields in located.values():
        for field, problems in (fields if isinstance(fields, Mapping) else {"body": fields}).items():
            found |= _flat("body" if field == "_schema" else str(field)[:100], problems)
    return found


def _flat(name: str, problems: Any) -> Iterator[tuple[str, str]]:
    if isinstance(problems, Mapping):
        for key, inner in problems.items():
            yield from _flat(f"{name}.{key}"[:100], inner)
    else:
        yield name, " ".join(map(str, problems)) if isinstance(problems, list) else str(problems)
