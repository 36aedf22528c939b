"""What Mailpit's clients ask for, read strictly: a parameter or a field that Mailpit does not know is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flask import Response
from marshmallow import fields, validate
from typing_extensions import override
from webargs.flaskparser import FlaskParser

from mailer.api.requests.fields import storable
from mailer.api.requests.parser import StrictParser
from mailer.api.schemas import StrictSchema
from mailer.errors import NotFound

Guarding = Callable[[Callable[..., Response]], Callable[..., Response]]

MOST = 1000  # messages of a page, and IDs in a request
LARGEST = 2**63 - 1


class MarkingParser(StrictParser):
    """Marks the views that take URL parameters, which the guard refuses to all others."""

    @override
    def use_args(self, *args: Any, location: str | None = None, **options: Any) -> Callable[..., Any]:
        decorate = super().use_args(*args, location=location, **options)

        def marking(view: Callable[..., Any]) -> Callable[..., Any]:
            wrapped: Any = decorate(view)
            wrapped.takes_parameters = location == "query"
            return wrapped  # type: ignore[no-any-return]

        return marking


ASKED: FlaskParser = MarkingParser()


class ListSchema(StrictSchema):
    """Which part of the list: `limit` messages from the number `start` on."""

    start = fields.Integer(load_default=0, validate=validate.Range(0, LARGEST))
    limit = fields.Integer(load_default=50, validate=validate.Range(0, MOST))


class SearchSchema(ListSchema):
    """What to look for, in Mailpit's words; dates in it are in the time zone `tz`."""

    query = fields.String(required=True, validate=[validate.Length(min=1), storable])
    tz = fields.String(load_default="")


class TakesAllSchema(StrictSchema):
    """What goes with one message: the newest of those that are looked for, and what is for Mailpit alone."""

    query = fields.String(load_default="", validate=storable)
    tz = fields.String(load_default="")
    follow = fields.Boolean(load_default=False)
    dl = fields.String(load_default="")


class IdsSchema(StrictSchema):
    """Which messages; none named: all."""

    ids = fields.List(fields.String(), data_key="IDs", load_default=list, validate=validate.Length(max=MOST))


class ReadSchema(IdsSchema):
    """Which messages to mark, and as what."""

    read = fields.Boolean(data_key="Read", load_default=False)
    search = fields.String(data_key="Search", load_default="", validate=storable)


def numbers(ids: Sequence[str]) -> list[int]:
    """The IDs as numbers. Raises `NotFound` for one that no message can have."""
    if not all(one.isascii() and one.isdigit() and int(one[:25]) <= LARGEST for one in ids):
        raise NotFound("There is no such message.")
    return [int(one) for one in ids]
