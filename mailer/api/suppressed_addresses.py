"""Addresses not written to: campaign after campaign had them refused, or an operator blocked them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Response
from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError, fields, validate

from mailer.api.guard import SECURITY, Guard, current_caller
from mailer.api.mailer import MailerBlueprint
from mailer.api.requests.uploads import uploaded_text
from mailer.api.schemas import ErrorSchema, Milliseconds, StrictSchema, SuccessSchema, one_line
from mailer.api.unsubscribes import BODY, FORMATS, KINDS, PERMISSION, FormatSchema, ListingSchema
from mailer.messages.addresses import envelope_address
from mailer.storage.database import Database
from mailer.suppression import blocked_addresses, refused_addresses
from mailer.suppression.list_files import ListedAddress, read_addresses
from mailer.suppression.list_writer import SuppressedAddress

MOST = 1000  # addresses in one request


def _valid(text: str) -> None:
    if envelope_address(text) is None:
        raise ValidationError("Not a valid address.")


class LiftSchema(StrictSchema):
    """Which addresses to write to again."""

    addresses = fields.List(fields.String(validate=_valid), required=True, validate=validate.Length(1, MOST))


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
    """One address, the campaigns in a row that had it refused, the last reply, and how many users have it.

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
    notes = fields.List(fields.String())


def make_blueprint(db: Database, guard: Guard) -> Blueprint:
    """Everything about addresses that are suppressed."""
    blueprint = MailerBlueprint("Suppressed addresses", __name__, url_prefix="/api/v1/mailer")

    @blueprint.route("/suppressed-addresses")
    @guard.requires(PERMISSION)
    @blueprint.arguments(ListingSchema, location="query")
    @blueprint.response(200, SuppressedAddressesSchema)
    @blueprint.doc(security=SECURITY)
    def list_suppressed(page: dict[str, Any]) -> Any:
        """Which addresses are not written to, in their order; `after` continues a listing."""
        found = refused_addresses.suppressed_addresses(db, **page)
        following = found[-1].address if len(found) == page["count"] else None
        return {"success": True, "addresses": found, "count": len(found), "next": following}

    @blueprint.route("/suppressed-addresses/export")
    @guard.requires(PERMISSION)
    @blueprint.arguments(FormatSchema, location="query")
    @blueprint.response(200, content_type="text/csv")
    @blueprint.doc(security=SECURITY)
    def export_suppressed(wanted: dict[str, Any]) -> Any:
        """All of them as CSV or NDJSON."""
        written, kind = FORMATS[wanted["form"]]
        answer = Response(
            written(refused_addresses.all_suppressed_addresses(db), SuppressedAddress, raw=wanted["raw"]), mimetype=kind
        )
        answer.headers["Content-Disposition"] = f'attachment; filename="suppressed-addresses.{wanted["form"]}"'
        return answer

    @blueprint.route("/suppressed-addresses:lift", methods=["POST"])
    @guard.requires(PERMISSION)
    @blueprint.arguments(LiftSchema, example={"addresses": ["ada@example.org"]})
    @blueprint.response(200, LiftedSchema)
    @blueprint.alt_response(400, schema=ErrorSchema, description="Not a valid address", success=False)
    @blueprint.doc(security=SECURITY)
    def lift_suppressed(body: dict[str, Any]) -> Any:
        """Write to these addresses again, and count anew; also a success for those that were not suppressed."""
        return {"success": True, **asdict(refused_addresses.lift(db, body["addresses"]))}

    @blueprint.route("/suppressed-addresses:block", methods=["POST"])
    @guard.requires(PERMISSION)
    @blueprint.arguments(BlockSchema, example={"addresses": ["ada@example.org"], "reason": "asked by telephone"})
    @blueprint.response(200, BlockedSchema)
    @blueprint.alt_response(400, schema=ErrorSchema, description="Not a valid address", success=False)
    @blueprint.doc(security=SECURITY)
    def block_addresses(body: dict[str, Any]) -> Any:
        """Write to these addresses no more, whoever has them, until a person lifts them."""
        named = [ListedAddress(envelope_address(one) or one) for one in body["addresses"]]
        done = blocked_addresses.block(db, named, by=current_caller().user_id, reason=body["reason"])
        return {"success": True, **asdict(done), "notes": []}

    @blueprint.route("/suppressed-addresses:import", methods=["POST"])
    @guard.requires(PERMISSION, streams=True)
    @blueprint.arguments(ReasonSchema, location="query")
    @blueprint.response(200, BlockedSchema)
    @blueprint.alt_response(400, schema=ErrorSchema, description="A row that cannot be read", success=False)
    @blueprint.doc(security=SECURITY, requestBody=BODY)
    def block_listed(given: dict[str, Any]) -> Any:
        """Block the addresses of a list, all of them or none; a column `reason` in it goes before the parameter."""
        with uploaded_text(*KINDS) as file:
            named = list(read_addresses(file))
            done = blocked_addresses.block(db, named, by=current_caller().user_id, reason=given["reason"])
            return {"success": True, **asdict(done), "notes": file.notes}

    return blueprint
