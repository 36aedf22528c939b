"""The unsubscribed: listed, exported, merged from elsewhere, and taken back. For those who manage users."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Response
from flask_smorest import Blueprint
from marshmallow import Schema, fields, validate

from mailer import suppression
from mailer.api.guard import SECURITY, Guard
from mailer.api.mailer import MailerBlueprint
from mailer.api.uploads import uploaded_text
from mailer.database import Database
from mailer.errors import NotFound
from mailer.schemas import ErrorSchema, Milliseconds, StrictSchema, SuccessSchema, storable
from mailer.suppression_lists import read_entries, write_csv, write_ndjson
from mailer.unsubscribe import resubscribe

PERMISSION = "manage-users"
FORMATS = {"csv": (write_csv, "text/csv"), "ndjson": (write_ndjson, "application/x-ndjson")}


class ListingSchema(StrictSchema):
    """Which of them: those after a user id."""

    after = fields.String(load_default=None, validate=storable)
    count = fields.Integer(load_default=100, validate=validate.Range(1, 1000))


class FormatSchema(StrictSchema):
    """The file's format."""

    form = fields.String(data_key="format", load_default="csv", validate=validate.OneOf(list(FORMATS)))


class SuppressedSchema(Schema):
    """One who has unsubscribed."""

    user_id = fields.String(data_key="_id")
    address = fields.String(allow_none=True)
    unsubscribed_at = Milliseconds(data_key="unsubscribedAt")


class SuppressedAnswerSchema(SuccessSchema):
    """A page of them; `next` is the `after` of the page that follows, null at the end."""

    unsubscribes = fields.List(fields.Nested(SuppressedSchema))
    count = fields.Integer()
    next = fields.String(allow_none=True)


class MergedSchema(SuccessSchema):
    """Users newly and already unsubscribed; rows that name nobody in the directory."""

    unsubscribed = fields.Integer()
    already = fields.Integer()
    unmatched = fields.Integer()


def make_blueprint(db: Database, guard: Guard) -> Blueprint:
    """Everything about who is not written to."""
    blueprint = MailerBlueprint("Unsubscribes", __name__, url_prefix="/api/v1/mailer")

    @blueprint.route("/unsubscribes")
    @guard.requires(PERMISSION)
    @blueprint.arguments(ListingSchema, location="query")
    @blueprint.response(200, SuppressedAnswerSchema)
    @blueprint.doc(security=SECURITY)
    def list_unsubscribes(page: dict[str, Any]) -> Any:
        """Who has unsubscribed, by user id; `after` continues a listing."""
        found = suppression.suppressed(db, **page)
        following = found[-1].user_id if len(found) == page["count"] else None
        return {"success": True, "unsubscribes": found, "count": len(found), "next": following}

    @blueprint.route("/unsubscribes/export")
    @guard.requires(PERMISSION)
    @blueprint.arguments(FormatSchema, location="query")
    @blueprint.response(200, content_type="text/csv")
    @blueprint.doc(security=SECURITY)
    def export_unsubscribes(wanted: dict[str, Any]) -> Any:
        """All of them as CSV or NDJSON, which the import reads again."""
        written, kind = FORMATS[wanted["form"]]
        answer = Response(written(suppression.all_suppressed(db)), mimetype=kind)
        answer.headers["Content-Disposition"] = f'attachment; filename="unsubscribes.{wanted["form"]}"'
        return answer

    @blueprint.route("/unsubscribes:import", methods=["POST"])
    @guard.requires(PERMISSION)
    @blueprint.response(200, MergedSchema)
    @blueprint.alt_response(400, schema=ErrorSchema, description="A row that cannot be read", success=False)
    @blueprint.doc(security=SECURITY, requestBody=_BODY)
    def import_unsubscribes() -> Any:
        """Unsubscribe whom a list names, by id or address: all of the list or nothing."""
        with uploaded_text("text/csv", "application/x-ndjson", "text/plain") as file:
            return {"success": True, **asdict(suppression.suppress(db, read_entries(file), by="", source=""))}

    @blueprint.route("/unsubscribes/<user_id>", methods=["DELETE"])
    @guard.requires(PERMISSION)
    @blueprint.response(200, SuccessSchema)
    @blueprint.alt_response(404, schema=ErrorSchema, description="No such user", success=False)
    @blueprint.doc(security=SECURITY)
    def subscribe_again(user_id: str) -> Any:
        """Write to this user again; also a success for one who had not unsubscribed."""
        if not resubscribe(db, user_id):
            raise NotFound(f"There is no user with the id {user_id}.")
        return {"success": True}

    return blueprint


_BODY = {"required": True, "content": {kind: {"schema": {"type": "string"}} for _, kind in FORMATS.values()}}
