"""Who has unsubscribed: listed, exported, imported from elsewhere, and subscribed again at their own request."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask_smorest import Blueprint
from marshmallow import Schema, fields, validate

from mailer.api.blueprint import (
    CSV,
    NDJSON,
    ApiBlueprint,
    KeysetSchema,
    RawFormatSchema,
    download,
    keyset_page,
    upload_body,
)
from mailer.api.guard import Guard, current_caller
from mailer.api.requests.fields import Milliseconds, one_line
from mailer.api.requests.uploads import LIST_TYPES, uploaded_text
from mailer.api.schemas import StrictSchema, SuccessSchema
from mailer.errors import NotFound
from mailer.files.exports import write_rows
from mailer.messages.addresses import envelope_address
from mailer.storage.database import Database
from mailer.storage.erased.people import count_erased
from mailer.suppression import unsubscribe_lists, wishes
from mailer.suppression.list_files import read_people
from mailer.suppression.unsubscribes import resubscribe, resubscribe_address

PERMISSION = "manage-users"


class ListNameSchema(StrictSchema):
    """What an imported list is called. The name is kept with the wishes that it brings."""

    name = fields.String(data_key="list", load_default="", validate=[validate.Length(max=255), one_line])


class WishSchema(Schema):
    """A wish of an address or an id that no user has yet: it marks whoever comes to it."""

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
    """How many users whom the wish had marked are written to again."""

    users = fields.Integer()


class UnsubscribedSchema(Schema):
    """One who has unsubscribed."""

    user_id = fields.String(data_key="_id")
    address = fields.String(allow_none=True)
    unsubscribed_at = Milliseconds(data_key="unsubscribedAt")
    campaign_id = fields.String(
        data_key="campaign",
        allow_none=True,
        metadata={"description": "Whose message had the link. Null: they left otherwise, or nobody knows."},
    )


class UnsubscribesAnswerSchema(SuccessSchema):
    """A page of them; `next` is the `after` of the page that follows, null at the end."""

    unsubscribes = fields.List(fields.Nested(UnsubscribedSchema))
    count = fields.Integer()
    next = fields.String(allow_none=True)


class MergedSchema(SuccessSchema):
    """How many users are newly and already unsubscribed, and how many rows name nobody yet and are kept."""

    unsubscribed = fields.Integer()
    already = fields.Integer()
    unmatched = fields.Integer()
    erased = fields.Integer(metadata={"description": "Rows about people who were erased, which are left out"})
    notes = fields.List(fields.String())


def make_blueprint(db: Database, guard: Guard, *, merge: bool = False) -> Blueprint:
    """Routes for unsubscribed users and kept wishes. `merge`: users who share an address subscribe again together."""
    blueprint = ApiBlueprint("Unsubscribes", __name__, url_prefix="/api/v1/mailer")

    @blueprint.route("/unsubscribes")
    @guard.requires(PERMISSION)
    @blueprint.arguments(KeysetSchema, location="query")
    @blueprint.response(200, UnsubscribesAnswerSchema)
    def list_unsubscribes(page: dict[str, Any]) -> Any:
        """Who has unsubscribed, by user id; `after` continues a listing."""
        found = unsubscribe_lists.unsubscribed_users(db, after=page["after"], count=page["count"])
        return keyset_page("unsubscribes", found, page["count"], lambda one: one.user_id)

    @blueprint.route("/unsubscribes/export")
    @guard.requires(PERMISSION)
    @blueprint.arguments(RawFormatSchema, location="query")
    @blueprint.response(200, content_type="text/csv")
    def export_unsubscribes(wanted: dict[str, Any]) -> Any:
        """All of them, and what is kept for whoever comes, as CSV or NDJSON, which the import reads again."""
        rows = (one.cells() for one in unsubscribe_lists.all_unsubscribed_users_and_wishes(db))
        lines = write_rows(wanted["form"], unsubscribe_lists.Unsubscribed.COLUMNS, rows, raw=wanted["raw"])
        return download(lines, "unsubscribes", wanted["form"], erased=count_erased(db))

    @blueprint.route("/unsubscribes:import", methods=["POST"])
    @guard.requires(PERMISSION, streams=True)
    @blueprint.arguments(ListNameSchema, location="query")
    @blueprint.response(200, MergedSchema)
    @blueprint.refuses(400, "A row that cannot be read")
    @blueprint.doc(requestBody=upload_body(CSV, NDJSON))
    def import_unsubscribes(called: dict[str, Any]) -> Any:
        """Unsubscribe whom a list names, by id or address, now or when they come: all of the list or nothing."""
        with uploaded_text(*LIST_TYPES) as file:
            source = called["name"] or "uploaded"
            merged = unsubscribe_lists.unsubscribe_listed(
                db, read_people(file), by=current_caller().user_id, source=source
            )
            return {"success": True, **asdict(merged), "notes": file.notes}

    @blueprint.route("/unsubscribes/<user_id>", methods=["DELETE"])
    @guard.requires(PERMISSION)
    @blueprint.response(200, SuccessSchema)
    @blueprint.refuses(404, "No such user")
    def subscribe_again(user_id: str) -> Any:
        """Write to this user again; also a success for one who had not unsubscribed."""
        if not resubscribe(db, user_id, merged=merge):
            raise NotFound(f"There is no user with the id {user_id}.")
        return {"success": True}

    @blueprint.route("/wishes")
    @guard.requires(PERMISSION)
    @blueprint.arguments(KeysetSchema, location="query")
    @blueprint.response(200, WishesAnswerSchema)
    def list_wishes(page: dict[str, Any]) -> Any:
        """The addresses and ids that are kept for whoever comes; `after` continues a listing."""
        kind, _, value = (page["after"] or "").partition(":")
        found = wishes.kept_wishes(db, after=(kind, value), count=page["count"])
        return keyset_page("wishes", found, page["count"], lambda one: one.place)

    @blueprint.route("/wishes/<address>", methods=["DELETE"])
    @guard.requires(PERMISSION)
    @blueprint.response(200, TakenBackSchema)
    @blueprint.refuses(404, "No such wish")
    def take_back(address: str) -> Any:
        """Take back what is kept for an address; users who have unsubscribed by themselves stay so."""
        users = resubscribe_address(db, envelope_address(address) or address)
        if users is None:
            raise NotFound("Nothing is kept for this address.")
        return {"success": True, "users": users}

    return blueprint
