"""The caller's own campaigns: listed, counted, and their outcomes by recipient."""

from __future__ import annotations

from typing import Any

from flask_smorest import Blueprint
from marshmallow import Schema, fields, validate

from mailer.api.blueprint import ApiBlueprint, KeysetSchema, OffsetSchema, keyset_page
from mailer.api.guard import Guard, current_caller
from mailer.api.requests.fields import Milliseconds
from mailer.api.schemas import CampaignAnswerSchema, CampaignSchema, StrictSchema, SuccessSchema
from mailer.campaigns import progress
from mailer.delivery import minutes
from mailer.storage.database import Database
from mailer.storage.models import DeliveryStatus
from mailer.times import to_iso


class DeliveriesQuerySchema(KeysetSchema):
    """Which outcomes to list, by user id; `status`: only these."""

    status = fields.String(load_default=None, validate=validate.OneOf([status.value for status in DeliveryStatus]))


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


def make_blueprint(db: Database, guard: Guard) -> Blueprint:
    """Routes that read campaigns. Another caller's campaign is answered like one that does not exist."""
    blueprint = ApiBlueprint("Campaigns", __name__, url_prefix="/api/v1/mailer/campaigns")

    @blueprint.route("")
    @guard.requires("send-mail")
    @blueprint.arguments(OffsetSchema, location="query")
    @blueprint.response(200, CampaignsAnswerSchema)
    def list_campaigns(page: dict[str, int]) -> Any:
        """The caller's campaigns, newest first."""
        found, total = progress.recent(db, current_caller().user_id, page["count"], page["offset"])
        paging = {"count": len(found), "offset": page["offset"], "total": total}
        return {"success": True, "campaigns": found, **paging}

    @blueprint.route("/<campaign_id>")
    @guard.requires("send-mail")
    @blueprint.response(200, CampaignAnswerSchema)
    def show_campaign(campaign_id: str) -> Any:
        """A campaign's state and counts."""
        return {"success": True, "campaign": progress.progress(db, campaign_id, current_caller().user_id)}

    @blueprint.route("/<campaign_id>/deliveries")
    @guard.requires("send-mail")
    @blueprint.arguments(DeliveriesQuerySchema, location="query")
    @blueprint.response(200, DeliveriesAnswerSchema)
    def list_deliveries(page: dict[str, Any], campaign_id: str) -> Any:
        """A campaign's outcomes by user id; `after` continues a listing."""
        progress.progress(db, campaign_id, current_caller().user_id)
        found = progress.deliveries(db, campaign_id, status=page["status"], after=page["after"], count=page["count"])
        return keyset_page("deliveries", found, page["count"], lambda one: one.user_id)

    @blueprint.route("/<campaign_id>/minutes")
    @guard.requires("send-mail")
    @blueprint.arguments(MinutesQuerySchema, location="query")
    @blueprint.response(200, MinutesAnswerSchema)
    def list_minutes(page: dict[str, Any], campaign_id: str) -> Any:
        """What came of a campaign minute by minute, for charts; minutes in which nothing did are left out."""
        progress.progress(db, campaign_id, current_caller().user_id)
        found = minutes.minutes(db, campaign_id, after=page["after"], count=page["count"])
        return keyset_page("minutes", found, page["count"], lambda one: to_iso(one.minute))

    return blueprint
