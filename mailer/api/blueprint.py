"""What the views of every resource share: reading requests strictly, paging, and answers and uploads that are files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from flask import Response
from flask_smorest import Blueprint
from marshmallow import fields, validate

from mailer.api.requests.fields import storable
from mailer.api.requests.parser import StrictParser
from mailer.api.schemas import ErrorSchema, StrictSchema

Item = TypeVar("Item")

ERASED_HEADER = "Mailer-Erased"
CSV, NDJSON = "text/csv", "application/x-ndjson"
DOWNLOADS = {"csv": CSV, "ndjson": NDJSON}  # the parameter `format` of an export, and what its answer is then


class ApiBlueprint(Blueprint):
    """A blueprint that reads arguments strictly and describes its refusals."""

    ARGUMENTS_PARSER = StrictParser()

    def arguments(self, schema: Any, *, location: str = "json", **options: Any) -> Any:
        """As flask-smorest has it; marks a view that takes URL parameters, which the guard refuses to all others."""
        decorate = super().arguments(schema, location=location, **options)

        def marking(view: Any) -> Any:
            wrapped = decorate(view)
            wrapped.takes_parameters = location == "query" or getattr(view, "takes_parameters", False)
            return wrapped

        return marking

    def register_views_in_doc(self, api: Any, *document: Any, **place: Any) -> None:
        """As flask-smorest has it, when the document is asked for."""
        api.describe_later(partial(super().register_views_in_doc, api, *document, **place))

    def refuses(self, status: int, description: str, example: Any = None) -> Any:
        """Describe a refusal with this status in the API's documentation."""
        shown = {} if example is None else {"example": example}
        return self.alt_response(status, schema=ErrorSchema, description=description, success=False, **shown)


class OffsetSchema(StrictSchema):
    """Rocket.Chat's paging: `count` items from the number `offset` on."""

    count = fields.Integer(load_default=50, validate=validate.Range(1, 100))
    offset = fields.Integer(load_default=0, validate=validate.Range(0, 1_000_000_000))


class KeysetSchema(StrictSchema):
    """Paging that does not slow down: `count` items from the one after the key `after` on."""

    after = fields.String(load_default=None, validate=storable)
    count = fields.Integer(load_default=100, validate=validate.Range(1, 1000))


class FormatSchema(StrictSchema):
    """In which format to download."""

    form = fields.String(data_key="format", load_default="csv", validate=validate.OneOf(list(DOWNLOADS)))


class RawFormatSchema(FormatSchema):
    """`raw` is for programs: without the `'` before what a spreadsheet would take for a formula."""

    raw = fields.Boolean(load_default=False)


def keyset_page(name: str, found: Sequence[Item], count: int, key: Callable[[Item], str | None]) -> dict[str, Any]:
    """The answer that lists `found` as `name`. `next` is the `after` of the following page, None after the last.

    `count` is how many were asked for: a page with fewer is the last one.
    """
    following = key(found[-1]) if len(found) == count else None
    return {"success": True, name: found, "count": len(found), "next": following}


def download(pieces: Iterable[str], name: str, form: str, *, erased: int) -> Response:
    """The answer that is a file called `name`, sent piece by piece. `form` is a key of `DOWNLOADS`, and the suffix.

    A header tells how many people were `erased`, who are in no list, or whose outcomes have no address.
    """
    answer = Response(pieces, mimetype=DOWNLOADS[form])
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}.{form}"'
    answer.headers[ERASED_HEADER] = str(erased)
    return answer


def upload_body(*mimetypes: str) -> dict[str, Any]:
    """A request body that is a file of one of these types, for the API's documentation."""
    return {"required": True, "content": {one: {"schema": {"type": "string"}} for one in mimetypes}}
