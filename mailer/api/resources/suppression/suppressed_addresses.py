"""Suppressed addresses: refused in several campaigns in a row, or blocked by an operator."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError, fields, validate

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
from mailer.files.exports import write_rows
from mailer.messages.addresses import envelope_address
from mailer.storage.database import Database
from mailer.storage.erased.people import count_erased
from mailer.suppression import blocked_addresses, suppressed_addresses
from mailer.suppression.list_files import ListedAddress, read_addresses

PERMISSION = "manage-users"
MAX_ADDRESSES = 1000  # in one request


def _valid(text: str) -> None:
    if envelope_address(text) is None:
        raise ValidationError("Not a valid address.")


class LiftSchema(StrictSchema):
    """Which addresses to write to again."""

    addresses = fields.List(fields.String(validate=_valid), required=True, validate=validate.Length(1, MAX_ADDRESSES))


class ReasonSchema(StrictSchema):
    """Why addresses are blocked."""

    reason = fields.String(
        required=True,
        validate=[
            validate.Length(1, blocked_addresses.MAX_REASON),
            validate.Regexp(r".*\S", error="Is empty."),
            one_line,
        ],
    )


class BlockSchema(ReasonSchema, LiftSchema):
    """Which addresses to write to no more, and why."""


class SuppressedAddressSchema(Schema):
    """One address, the campaigns in a row that had it refused or came back, the last reply, and how many users have it.

    `blockedBy` and `reason` are those of an operator who has blocked it.
    """

    address = fields.String()
    suppressed_at = Milliseconds(data_key="suppressedAt")
    campaigns = fields.Integer()
    rule = fields.String(
        metadata={"description": "By what the last refusal was taken to be about the address, such as 5.1.1."}
    )
    reply = fields.String()
    blocked_by = fields.String(data_key="blockedBy", allow_none=True)
    reason = fields.String(allow_none=True)
    users = fields.Integer()
    bounced_at = Milliseconds(
        data_key="bouncedAt",
        allow_none=True,
        metadata={"description": "When a bounce counted last; null: only refusals did."},
    )
    complained_at = Milliseconds(
        data_key="complainedAt",
        allow_none=True,
        metadata={"description": "When somebody there marked a message as spam; null: nobody did."},
    )


class SuppressedAddressesSchema(SuccessSchema):
    """A page of them; `next` is the `after` of the page that follows, null at the end."""

    addresses = fields.List(fields.Nested(SuppressedAddressSchema))
    count = fields.Integer()
    next = fields.String(allow_none=True)


class LiftedSchema(SuccessSchema):
    """How many of them are written to again, and how many were not suppressed."""

    lifted = fields.Integer()
    unmatched = fields.Integer()


class BlockedSchema(SuccessSchema):
    """Addresses that are newly blocked, and that were so already and have this reason now; how a file was read."""

    blocked = fields.Integer()
    already = fields.Integer()
    erased = fields.Integer(metadata={"description": "Of people who were erased, so that nobody writes to them anyway"})
    notes = fields.List(fields.String())


def make_blueprint(db: Database, guard: Guard) -> Blueprint:
    """Routes that list, export, block and lift suppressed addresses."""
    blueprint = ApiBlueprint("Suppressed addresses", __name__, url_prefix="/api/v1/mailer")

    @blueprint.route("/suppressed-addresses")
    @guard.requires(PERMISSION)
    @blueprint.arguments(KeysetSchema, location="query")
    @blueprint.response(200, SuppressedAddressesSchema)
    def list_suppressed(page: dict[str, Any]) -> Any:
        """Which addresses are not written to, in their order; `after` continues a listing."""
        found = suppressed_addresses.suppressed_addresses(db, after=page["after"], count=page["count"])
        return keyset_page("addresses", found, page["count"], lambda one: one.address)

    @blueprint.route("/suppressed-addresses/export")
    @guard.requires(PERMISSION)
    @blueprint.arguments(RawFormatSchema, location="query")
    @blueprint.response(200, content_type="text/csv")
    def export_suppressed(wanted: dict[str, Any]) -> Any:
        """All of them as CSV or NDJSON."""
        rows = (one.cells() for one in suppressed_addresses.all_suppressed_addresses(db))
        lines = write_rows(wanted["form"], suppressed_addresses.SuppressedAddress.COLUMNS, rows, raw=wanted["raw"])
        return download(lines, "suppressed-addresses", wanted["form"], erased=count_erased(db))

    @blueprint.route("/suppressed-addresses:lift", methods=["POST"])
    @guard.requires(PERMISSION)
    @blueprint.arguments(LiftSchema, example={"addresses": ["ada@example.org"]})
    @blueprint.response(200, LiftedSchema)
    @blueprint.refuses(400, "Not a valid address")
    def lift_suppressed(body: dict[str, Any]) -> Any:
        """Write to these addresses again, and count anew; also a success for those that were not suppressed."""
        return {"success": True, **asdict(suppressed_addresses.lift(db, body["addresses"]))}

    @blueprint.route("/suppressed-addresses:block", methods=["POST"])
    @guard.requires(PERMISSION)
    @blueprint.arguments(BlockSchema, example={"addresses": ["ada@example.org"], "reason": "asked by telephone"})
    @blueprint.response(200, BlockedSchema)
    @blueprint.refuses(400, "Not a valid address")
    def block_addresses(body: dict[str, Any]) -> Any:
        """Write to these addresses no more, whoever has them, until a person lifts them."""
        named = [ListedAddress(envelope_address(one) or one) for one in body["addresses"]]
        done = blocked_addresses.block(db, named, by=current_caller().user_id, reason=body["reason"])
        return {"success": True, **asdict(done), "notes": []}

    @blueprint.route("/suppressed-addresses:import", methods=["POST"])
    @guard.requires(PERMISSION, streams=True)
    @blueprint.arguments(ReasonSchema, location="query")
    @blueprint.response(200, BlockedSchema)
    @blueprint.refuses(400, "A row that cannot be read")
    @blueprint.doc(requestBody=upload_body(CSV, NDJSON))
    def block_listed(given: dict[str, Any]) -> Any:
        """Block the addresses of a list, all of them or none; a column `reason` in it goes before the parameter."""
        with uploaded_text(*LIST_TYPES) as file:
            named = list(read_addresses(file))
            done = blocked_addresses.block(db, named, by=current_caller().user_id, reason=given["reason"])
            return {"success": True, **asdict(done), "notes": file.notes}

    return blueprint
