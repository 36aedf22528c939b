"""What a campaign says, replaced while it is paused, and every version of it. For its caller and for operators."""

from __future__ import annotations

from typing import Any

from flask_smorest import Blueprint
from marshmallow import Schema, fields, validate

from mailer.api.blueprint import ApiBlueprint
from mailer.api.guard import Guard, campaigns_in_reach
from mailer.api.requests.fields import Milliseconds, WireString, one_line, storable
from mailer.api.schemas import CampaignAnswerSchema, StrictSchema, SuccessSchema
from mailer.callers.tokens import MANAGE_CAMPAIGNS, SEND_MAIL
from mailer.campaigns import progress
from mailer.campaigns.checks.lint import about_placeholders
from mailer.campaigns.revisions.edit import edit
from mailer.campaigns.revisions.served import served
from mailer.settings import Settings
from mailer.storage.database import Database

HEADERS = {
    "Mailer-Warning": {
        "description": "What is probably a slip, in ASCII; absent: nothing.",
        "schema": {"type": "string"},
    }
}


class EditSchema(StrictSchema):
    """What to replace: the subject, the body or both. `version`: refuse if the text has another by now."""

    subject = WireString(load_default=None, validate=[validate.Length(min=1), one_line])
    body = WireString(load_default=None, validate=storable)
    version = fields.Integer(load_default=None, strict=True, validate=validate.Range(min=1))


class RevisionSchema(Schema):
    """One version of what a campaign says; who made it, and when."""

    version = fields.Integer(attribute="revision.version")
    subject = fields.String(attribute="revision.subject")
    body = fields.String(attribute="revision.body")
    made_at = Milliseconds(data_key="madeAt", attribute="revision.made_at")
    made_by = fields.String(data_key="madeBy", attribute="revision.made_by")
    people = fields.Integer(
        allow_none=True,
        metadata={"description": "Who has it or may have it; null where there is one version, or too many to count."},
    )


class RevisionsAnswerSchema(SuccessSchema):
    """Every version, the first one first."""

    versions = fields.List(fields.Nested(RevisionSchema))


def make_blueprint(db: Database, guard: Guard, settings: Settings) -> Blueprint:
    """Routes that replace a campaign's text and list its versions."""
    blueprint = ApiBlueprint("Revisions", __name__, url_prefix="/api/v1/mailer/campaigns/<campaign_id>")

    @blueprint.route("", methods=["PATCH"])
    @guard.requires(SEND_MAIL, MANAGE_CAMPAIGNS)
    @blueprint.arguments(EditSchema, example={"subject": "Corrected: the service is away until noon"})
    @blueprint.response(200, CampaignAnswerSchema, headers=HEADERS)
    @blueprint.refuses(400, "No text that could be sent")
    @blueprint.refuses(404, "Not a campaign of yours")
    @blueprint.refuses(409, "Not paused, still in hand, or another version by now")
    def edit_campaign(text: dict[str, Any], campaign_id: str) -> Any:
        """Replace what a paused campaign says, for whoever is not served yet."""
        edit(db, settings, campaign_id, campaigns_in_reach(), **text)
        told = about_placeholders(text["subject"] or "", text["body"] or "")
        headers = {"Mailer-Warning": " ".join(told).encode("ascii", "backslashreplace").decode()} if told else {}
        found = progress.progress(db, campaign_id, window=settings.send_window)
        return {"success": True, "campaign": found}, headers

    @blueprint.route("/versions")
    @guard.requires(SEND_MAIL, MANAGE_CAMPAIGNS)
    @blueprint.response(200, RevisionsAnswerSchema)
    @blueprint.refuses(404, "Not a campaign of yours")
    def list_versions(campaign_id: str) -> Any:
        """Every version of what a campaign says; after a purge there is none."""
        return {"success": True, "versions": served(db, campaign_id, campaigns_in_reach())[0]}

    return blueprint
