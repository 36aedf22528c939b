"""How campaigns go: the caller's own, and nobody else's."""

from __future__ import annotations

from typing import Any

from flask_smorest import Blueprint

from mailer.api.guard import SECURITY, Guard, current_caller
from mailer.api.mailer import MailerBlueprint
from mailer.api.schemas import (
    CampaignAnswerSchema,
    CampaignsAnswerSchema,
    DeliveriesAnswerSchema,
    DeliveriesQuerySchema,
    PageSchema,
)
from mailer.campaigns import progress
from mailer.storage.database import Database


def make_blueprint(db: Database, guard: Guard) -> Blueprint:
    """Lists, counts and outcomes."""
    blueprint = MailerBlueprint("Campaigns", __name__, url_prefix="/api/v1/mailer/campaigns")

    @blueprint.route("")
    @guard.requires("send-mail")
    @blueprint.arguments(PageSchema, location="query")
    @blueprint.response(200, CampaignsAnswerSchema)
    @blueprint.doc(security=SECURITY)
    def list_campaigns(page: dict[str, int]) -> Any:
        """The caller's campaigns, newest first."""
        found, total = progress.recent(db, current_caller().user_id, page["count"], page["offset"])
        paging = {"count": len(found), "offset": page["offset"], "total": total}
        return {"success": True, "campaigns": found, **paging}

    @blueprint.route("/<campaign_id>")
    @guard.requires("send-mail")
    @blueprint.response(200, CampaignAnswerSchema)
    @blueprint.doc(security=SECURITY)
    def show_campaign(campaign_id: str) -> Any:
        """A campaign's state and counts."""
        return {"success": True, "campaign": progress.progress(db, campaign_id, current_caller().user_id)}

    @blueprint.route("/<campaign_id>/deliveries")
    @guard.requires("send-mail")
    @blueprint.arguments(DeliveriesQuerySchema, location="query")
    @blueprint.response(200, DeliveriesAnswerSchema)
    @blueprint.doc(security=SECURITY)
    def list_deliveries(page: dict[str, Any], campaign_id: str) -> Any:
        """A campaign's outcomes by user id; `after` continues a listing."""
        progress.progress(db, campaign_id, current_caller().user_id)
        found = progress.deliveries(db, campaign_id, **page)
        following = found[-1].user_id if len(found) == page["count"] else None
        return {"success": True, "deliveries": found, "count": len(found), "next": following}

    return blueprint
