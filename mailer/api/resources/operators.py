"""For operators: all sending held and released, and the audit log."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask_smorest import Blueprint
from marshmallow import Schema, fields, validate

from mailer.api.blueprint import ApiBlueprint, keyset_page
from mailer.api.guard import Guard
from mailer.api.requests.fields import Milliseconds, one_line, storable
from mailer.api.schemas import StrictSchema, SuccessSchema
from mailer.audit import log
from mailer.callers.tokens import MANAGE_CAMPAIGNS, VIEW_AUDIT_LOG
from mailer.campaigns import hold
from mailer.engines import Engine
from mailer.ownership.transfer import transfer
from mailer.storage.database import Database


class HoldReasonSchema(StrictSchema):
    """Why all sending is held. Callers read it with their campaigns."""

    reason = fields.String(
        required=True,
        validate=[validate.Length(1, hold.MAX_REASON), validate.Regexp(r".*\S", error="Is empty."), one_line],
    )


class SendingSchema(Schema):
    """Whether all sending is held, since when, by whom and why; and how many batches are being sent still."""

    held = fields.Boolean()
    since = Milliseconds(allow_none=True)
    by = fields.String(allow_none=True)
    reason = fields.String(allow_none=True)
    in_hand = fields.Integer(
        data_key="inHand",
        metadata={"description": "Batches that are being sent. After a hold each of them ends within a checkpoint."},
    )


class SendingAnswerSchema(SuccessSchema):
    """The state of all sending."""

    sending = fields.Nested(SendingSchema)


class TransferSchema(StrictSchema):
    """Whose campaigns to hand over, and to whom: ids or usernames of users, or ids of services."""

    giver = fields.String(data_key="from", required=True, validate=[validate.Length(1, 255), one_line])
    receiver = fields.String(data_key="to", required=True, validate=[validate.Length(1, 255), one_line])


class TransferredSchema(SuccessSchema):
    """Who gave campaigns to whom, how many, and the ids of those that are not over."""

    giver = fields.String(data_key="from")
    receiver = fields.String(data_key="to")
    campaigns = fields.Integer()
    open = fields.List(fields.String())


class AuditQuerySchema(StrictSchema):
    """Which acts to list; `after` is the `next` of the page before."""

    since = Milliseconds(load_default=None, metadata={"type": "string", "format": "date-time"})
    who = fields.String(load_default=None, validate=storable)
    act = fields.String(load_default=None, validate=validate.OneOf([act.value for act in log.Act]))
    about = fields.String(
        load_default=None,
        validate=storable,
        metadata={"description": "The id of a campaign or a caller, or a user's id or address."},
    )
    before = fields.Integer(data_key="after", load_default=None, validate=validate.Range(1, 2**63 - 1))
    count = fields.Integer(load_default=100, validate=validate.Range(1, 1000))


class EntrySchema(Schema):
    """One act: when, who by which way (`api`, `cli`, `system`) and from where, what, and about whom or what."""

    id = fields.Integer(data_key="_id")
    at = Milliseconds()
    who = fields.String()
    via = fields.String()
    origin = fields.String(data_key="from", metadata={"description": "The client's address, or a machine's name."})
    act = fields.String()
    about = fields.String(
        allow_none=True, metadata={"description": "An id, or an address as `keyed:` and its digest; null: many."}
    )
    details = fields.Dict()
    note = fields.String(
        allow_none=True, metadata={"description": "What whoever did it wrote down; addresses in it are masked."}
    )


class AuditAnswerSchema(SuccessSchema):
    """A page of acts, the latest first; `next` is the `after` of the page that follows, null at the end."""

    acts = fields.List(fields.Nested(EntrySchema))
    count = fields.Integer()
    next = fields.String(allow_none=True)


def make_blueprint(db: Database, guard: Guard, engine: Engine) -> Blueprint:
    """Routes that hold and release all sending, hand campaigns over, and the one that reads the audit log."""
    blueprint = ApiBlueprint("Operators", __name__, url_prefix="/api/v1/mailer")

    @blueprint.route("/campaigns:transfer", methods=["POST"])
    @guard.requires(MANAGE_CAMPAIGNS)
    @blueprint.arguments(TransferSchema, example={"from": "ada", "to": "grace"})
    @blueprint.response(200, TransferredSchema)
    @blueprint.refuses(400, "No such user, or nothing to hand over")
    def transfer_campaigns(whose: dict[str, str]) -> Any:
        """Hand all campaigns of one caller over to another, who sees and controls them from then on."""
        return {"success": True, **asdict(transfer(db, **whose))}

    def sending() -> dict[str, Any]:
        with db.read() as connection:
            held = hold.current_hold(connection)
            in_hand = hold.batches_in_hand(connection, db.clock(connection))
        facts = {"since": held.since, "by": held.by, "reason": held.reason} if held else {}
        nothing = dict.fromkeys(("since", "by", "reason"))
        return {"success": True, "sending": {"held": held is not None, **nothing, **facts, "in_hand": in_hand}}

    @blueprint.route("/sending")
    @guard.requires()
    @blueprint.response(200, SendingAnswerSchema)
    def show_sending() -> Any:
        """Whether all sending is held, since when, by whom and why."""
        return sending()

    @blueprint.route("/sending:hold", methods=["POST"])
    @guard.requires(MANAGE_CAMPAIGNS)
    @blueprint.arguments(HoldReasonSchema, example={"reason": "the relay is being moved"})
    @blueprint.response(200, SendingAnswerSchema)
    def hold_sending(body: dict[str, str]) -> Any:
        """Send nothing from the next checkpoint on, in every process. If sending is held already, that hold stays."""
        hold.hold(db, body["reason"].strip())
        return sending()

    @blueprint.route("/sending:release", methods=["POST"])
    @guard.requires(MANAGE_CAMPAIGNS)
    @blueprint.response(200, SendingAnswerSchema)
    def release_sending() -> Any:
        """Go on with everything where it stopped; also a success if nothing was held."""
        hold.release(db)
        engine.wake()
        return sending()

    @blueprint.route("/audit-log")
    @guard.requires(VIEW_AUDIT_LOG)
    @blueprint.arguments(AuditQuerySchema, location="query")
    @blueprint.response(200, AuditAnswerSchema)
    def audit_log(wanted: dict[str, Any]) -> Any:
        """What people have changed, the latest first; `after` continues a listing."""
        about = log.names_of(db, wanted.pop("about"))
        found = log.entries(db, **wanted, about=about)
        return keyset_page("acts", found, wanted["count"], lambda one: str(one.id))

    return blueprint
