"""Campaigns, the caller's own or for operators everybody's: listed, counted, and their outcomes by recipient."""

from __future__ import annotations

from typing import Any

from flask_smorest import Blueprint
from marshmallow import Schema, fields, validate

from mailer.api.blueprint import ApiBlueprint, KeysetSchema, OffsetSchema, keyset_page
from mailer.api.guard import Guard, campaigns_in_reach, current_caller
from mailer.api.requests.fields import Milliseconds, WireBoolean
from mailer.api.requests.outcomes import OutcomesSchema, wanted_of
from mailer.api.schemas import CampaignAnswerSchema, CampaignSchema, StrictSchema, SuccessSchema
from mailer.callers.tokens import MANAGE_CAMPAIGNS, SEND_MAIL
from mailer.campaigns import deliveries, progress
from mailer.campaigns.checks.warned import CampaignWarnings
from mailer.delivery import minutes
from mailer.settings.send_window import SendWindow
from mailer.storage.database import Database
from mailer.storage.models import CampaignState
from mailer.times import to_iso


class CampaignsQuerySchema(OffsetSchema):
    """Whose campaigns to list, and which page of them."""

    everybody = WireBoolean(
        data_key="all",
        load_default=False,
        metadata={"type": "boolean", "description": "Everybody's, which takes the permission `manage-campaigns`."},
    )
    state = fields.Enum(
        CampaignState,
        by_value=True,
        load_default=None,
        metadata={"type": "string", "description": "Only these. `held` and `blocked` ones are `running` on record."},
    )
    since = Milliseconds(
        load_default=None,
        metadata={"type": "string", "format": "date-time", "description": "Only those accepted then or later."},
    )


class DeliveriesQuerySchema(KeysetSchema, OutcomesSchema):
    """Which outcomes to list, by user id; `status`, `userId`, `address`, `bounced` and `complained`: only these."""


class CampaignsAnswerSchema(SuccessSchema):
    """A page of campaigns."""

    campaigns = fields.List(fields.Nested(CampaignSchema))
    count = fields.Integer()
    offset = fields.Integer()
    total = fields.Integer()


class DeliverySchema(Schema):
    """One recipient's outcome."""

    user_id = fields.String(data_key="userId")
    address = fields.String(allow_none=True)
    status = fields.String()
    attempts = fields.Integer()
    reply = fields.String()
    updated_at = Milliseconds(data_key="updatedAt")
    next_attempt_at = Milliseconds(data_key="nextAttemptAt", allow_none=True)
    version = fields.Integer(
        allow_none=True,
        metadata={"description": "Of the text at the last attempt. Null: a worker died with it, and nobody knows."},
    )
    message_id = fields.String(
        data_key="messageId",
        metadata={"description": "Without brackets; without a host once the campaign was purged."},
    )
    bounced_at = Milliseconds(
        data_key="bouncedAt",
        allow_none=True,
        metadata={"description": "When a report said that it came back; it stays `sent`. Null: none did."},
    )
    bounce_about = fields.String(
        data_key="bounceAbout", allow_none=True, metadata={"description": "Whom that is about, as of a refusal."}
    )
    bounce_permanent = fields.Boolean(
        data_key="bouncePermanent", allow_none=True, metadata={"description": "False: a soft bounce, given up for now."}
    )
    bounce_status = fields.String(
        data_key="bounceStatus",
        allow_none=True,
        metadata={"description": "The enhanced status code, such as 5.1.1 (RFC 3463); empty: none was given."},
    )
    bounce_reply = fields.String(
        data_key="bounceReply", allow_none=True, metadata={"description": "The other side's words."}
    )
    complained_at = Milliseconds(
        data_key="complainedAt", allow_none=True, metadata={"description": "When the recipient marked it as spam."}
    )


class MinutesQuerySchema(StrictSchema):
    """Which minutes to list: those after the one that began at `after`."""

    after = Milliseconds(load_default=None, metadata={"type": "string", "format": "date-time"})
    count = fields.Integer(load_default=100, validate=validate.Range(1, 1000))


class MinuteSchema(Schema):
    """How many outcomes of each status were recorded in the minute that began at `minute`."""

    minute = Milliseconds(metadata={"type": "string", "format": "date-time"})
    sent = fields.Integer()
    failed = fields.Integer()
    deferred = fields.Integer()
    uncertain = fields.Integer()
    skipped = fields.Integer()


class MinutesAnswerSchema(SuccessSchema):
    """A page of minutes; `next` is the `after` of the page that follows, null at the end."""

    minutes = fields.List(fields.Nested(MinuteSchema))
    count = fields.Integer()
    next = fields.String(allow_none=True)


class DeliveriesAnswerSchema(SuccessSchema):
    """A page of outcomes; `next` is the `after` of the page that follows, null at the end."""

    deliveries = fields.List(fields.Nested(DeliverySchema))
    count = fields.Integer()
    next = fields.String(allow_none=True)


def make_blueprint(
    db: Database, guard: Guard, warnings: CampaignWarnings, window: SendWindow | None = None
) -> Blueprint:
    """Routes that read campaigns. One that the caller may not see is answered like one that does not exist."""
    blueprint = ApiBlueprint("Campaigns", __name__, url_prefix="/api/v1/mailer/campaigns")

    @blueprint.route("")
    @guard.requires(SEND_MAIL, MANAGE_CAMPAIGNS)
    @blueprint.arguments(CampaignsQuerySchema, location="query")
    @blueprint.response(200, CampaignsAnswerSchema)
    def list_campaigns(page: dict[str, Any]) -> Any:
        """The caller's campaigns, newest first; with `all` and the permission `manage-campaigns` everybody's."""
        caller = current_caller()
        if page["everybody"]:
            caller.require(MANAGE_CAMPAIGNS)
        whose = None if page["everybody"] else caller.user_id
        states = () if page["state"] is None else (page["state"],)
        found, total = progress.recent(
            db, whose, page["count"], page["offset"], states=states, since=page["since"], window=window
        )
        paging = {"count": len(found), "offset": page["offset"], "total": total}
        return {"success": True, "campaigns": found, **paging}

    @blueprint.route("/<campaign_id>")
    @guard.requires(SEND_MAIL, MANAGE_CAMPAIGNS)
    @blueprint.response(200, CampaignAnswerSchema)
    def show_campaign(campaign_id: str) -> Any:
        """A campaign's state and counts."""
        found = progress.progress(db, campaign_id, campaigns_in_reach(), window=window)
        return {"success": True, "campaign": warnings.beside(found)}

    @blueprint.route("/<campaign_id>/deliveries")
    @guard.requires(SEND_MAIL, MANAGE_CAMPAIGNS)
    @blueprint.arguments(DeliveriesQuerySchema, location="query")
    @blueprint.response(200, DeliveriesAnswerSchema)
    def list_deliveries(page: dict[str, Any], campaign_id: str) -> Any:
        """A campaign's outcomes by user id; `after` continues a listing."""
        progress.progress(db, campaign_id, campaigns_in_reach())
        wanted = wanted_of(page)
        found = deliveries.deliveries(db, campaign_id, wanted, after=page["after"], count=page["count"])
        return keyset_page("deliveries", found, page["count"], lambda one: one.user_id)

    @blueprint.route("/<campaign_id>/minutes")
    @guard.requires(SEND_MAIL, MANAGE_CAMPAIGNS)
    @blueprint.arguments(MinutesQuerySchema, location="query")
    @blueprint.response(200, MinutesAnswerSchema)
    def list_minutes(page: dict[str, Any], campaign_id: str) -> Any:
        """What came of a campaign minute by minute, for charts; minutes in which nothing did are left out."""
        progress.progress(db, campaign_id, campaigns_in_reach())
        found = minutes.minutes(db, campaign_id, after=page["after"], count=page["count"])
        return keyset_page("minutes", found, page["count"], lambda one: to_iso(one.minute))

    return blueprint
