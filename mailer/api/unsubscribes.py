"""The unsubscribed: listed, exported, merged from elsewhere, and taken back. For those who manage users."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Response
from flask_smorest import Blueprint
from marshmallow import Schema, fields, validate

from mailer.api.guard import SECURITY, Guard, current_caller
from mailer.api.mailer import MailerBlueprint
from mailer.api.requests.uploads import uploaded_text
from mailer.api.schemas import ErrorSchema, Milliseconds, StrictSchema, SuccessSchema, one_line, storable
from mailer.errors import NotFound
from mailer.messages.addresses import envelope_address
from mailer.storage.database import Database
from mailer.suppression import unsubscribe_lists, wishes
from mailer.suppression.list_files import read_people
from mailer.suppression.list_writer import write_csv, write_ndjson
from mailer.suppression.unsubscribes import resubscribe, resubscribe_address

PERMISSION = "manage-users"
FORMATS = {"csv": (write_csv, "text/csv"), "ndjson": (write_ndjson, "application/x-ndjson")}


class ListingSchema(StrictSchema):
    """Which of them: those after a user id."""

    after = fields.String(load_default=None, validate=storable)
    count = fields.Integer(load_default=100, validate=validate.Range(1, 1000))


class FormatSchema(StrictSchema):
    """The file's format; `raw` for programs: without the `'` before what a spreadsheet would take for a formula."""

    form = fields.String(data_key="format", load_default="csv", validate=validate.OneOf(list(FORMATS)))
    raw = fields.Boolean(load_default=False)


class ListNameSchema(StrictSchema):
    """What the list is called: kept with the wishes that are on it."""

    name = fields.String(data_key="list", load_default="", validate=[validate.Length(max=255), one_line])


class WishSchema(Schema):
    """A wish that marks whoever comes: of an address, or of an id. Who kept it, when, and from which list."""

    address = fields.String(allow_none=True)
    user_id = fields.String(data_key="_id", allow_none=True)
    unsubscribed_at = Milliseconds(data_key="unsubscribedAt")
    kept_at = Milliseconds(data_key="keptAt")
    kept_by = fields.String(data_key="keptBy")
    source = fields.String(data_key="list")


class WishesAnswerSchema(SuccessSchema):
    """A page of them; `next` is the `after` of the page that follows, null at the end."""

    wishes = fields.List(fields.Nested(WishSchema))
    count = fields.Integer()
    next = fields.String(allow_none=True)


class TakenBackSchema(SuccessSchema):
    """How many users are written to again who were marked by the wish."""

    users = fields.Integer()


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
    """Users newly and already unsubscribed; rows that name nobody yet, kept for whoever comes; how it was read."""

    unsubscribed = fields.Integer()
    already = fields.Integer()
    unmatched = fields.Integer()
    notes = fields.List(fields.String())


def make_blueprint(db: Database, guard: Guard, *, merge: bool = False) -> Blueprint:
    """Everything about who is not written to. With `merge` users who share an address subscribe again together."""
    blueprint = MailerBlueprint("Unsubscribes", __name__, url_prefix="/api/v1/mailer")

    @blueprint.route("/unsubscribes")
    @guard.requires(PERMISSION)
    @blueprint.arguments(ListingSchema, location="query")
    @blueprint.response(200, SuppressedAnswerSchema)
    @blueprint.doc(security=SECURITY)
    def list_unsubscribes(page: dict[str, Any]) -> Any:
        """Who has unsubscribed, by user id; `after` continues a listing."""
        found = unsubscribe_lists.unsubscribed_users(db, **page)
        following = found[-1].user_id if len(found) == page["count"] else None
        return {"success": True, "unsubscribes": found, "count": len(found), "next": following}

    @blueprint.route("/unsubscribes/export")
    @guard.requires(PERMISSION)
    @blueprint.arguments(FormatSchema, location="query")
    @blueprint.response(200, content_type="text/csv")
    @blueprint.doc(security=SECURITY)
    def export_unsubscribes(wanted: dict[str, Any]) -> Any:
        """All of them, and what is kept for whoever comes, as CSV or NDJSON, which the import reads again."""
        written, kind = FORMATS[wanted["form"]]
        answer = Response(
            written(unsubscribe_lists.all_unsubscribed_users_and_wishes(db), raw=wanted["raw"]), mimetype=kind
        )
        answer.headers["Content-Disposition"] = f'attachment; filename="unsubscribes.{wanted["form"]}"'
        return answer

    @blueprint.route("/unsubscribes:import", methods=["POST"])
    @guard.requires(PERMISSION, streams=True)
    @blueprint.arguments(ListNameSchema, location="query")
    @blueprint.response(200, MergedSchema)
    @blueprint.alt_response(400, schema=ErrorSchema, description="A row that cannot be read", success=False)
    @blueprint.doc(security=SECURITY, requestBody=BODY)
    def import_unsubscribes(called: dict[str, Any]) -> Any:
        """Unsubscribe whom a list names, by id or address, now or when they come: all of the list or nothing."""
        brought = {"by": current_caller().user_id, "source": called["name"] or "uploaded"}
        with uploaded_text(*KINDS) as file:
            merged = unsubscribe_lists.unsubscribe_listed(db, read_people(file), **brought)
            return {"success": True, **asdict(merged), "notes": file.notes}

    @blueprint.route("/unsubscribes/<user_id>", methods=["DELETE"])
    @guard.requires(PERMISSION)
    @blueprint.response(200, SuccessSchema)
    @blueprint.alt_response(404, schema=ErrorSchema, description="No such user", success=False)
    @blueprint.doc(security=SECURITY)
    def subscribe_again(user_id: str) -> Any:
        """Write to this user again; also a success for one who had not unsubscribed."""
        if not resubscribe(db, user_id, merged=merge):
            raise NotFound(f"There is no user with the id {user_id}.")
        return {"success": True}

    @blueprint.route("/wishes")
    @guard.requires(PERMISSION)
    @blueprint.arguments(ListingSchema, location="query")
    @blueprint.response(200, WishesAnswerSchema)
    @blueprint.doc(security=SECURITY)
    def list_wishes(page: dict[str, Any]) -> Any:
        """The addresses and ids that are kept for whoever comes; `after` continues a listing."""
        kind, _, value = (page["after"] or "").partition(":")
        found = wishes.kept_wishes(db, after=(kind, value), count=page["count"])
        following = found[-1].place if len(found) == page["count"] else None
        return {"success": True, "wishes": found, "count": len(found), "next": following}

    @blueprint.route("/wishes/<address>", methods=["DELETE"])
    @guard.requires(PERMISSION)
    @blueprint.response(200, TakenBackSchema)
    @blueprint.alt_response(404, schema=ErrorSchema, description="No such wish", success=False)
    @blueprint.doc(security=SECURITY)
    def take_back(address: str) -> Any:
        """Take back what is kept for an address; users who have unsubscribed by themselves stay so."""
        users = resubscribe_address(db, envelope_address(address) or address)
        if users is None:
            raise NotFound("Nothing is kept for this address.")
        return {"success": True, "users": users}

    return blueprint


KINDS = ("text/csv", "application/x-ndjson", "text/plain")
BODY = {"required": True, "content": {kind: {"schema": {"type": "string"}} for _, kind in FORMATS.values()}}
