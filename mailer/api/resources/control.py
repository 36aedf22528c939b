"""Pause, resume, cancel or retry a campaign, and download its outcomes. For its caller and for operators."""

from __future__ import annotations

from typing import Any

from flask_smorest import Blueprint
from marshmallow import fields

from mailer.api.blueprint import ApiBlueprint, FormatSchema, download
from mailer.api.guard import Guard, campaigns_in_reach
from mailer.api.requests.fields import WireBoolean
from mailer.api.requests.outcomes import OutcomesSchema, wanted_of
from mailer.api.schemas import CampaignAnswerSchema, StrictSchema
from mailer.callers.tokens import MANAGE_CAMPAIGNS, SEND_MAIL
from mailer.campaigns import control, export, progress
from mailer.engines import Engine
from mailer.files.exports import write_rows
from mailer.observer import UNOBSERVED, Observer
from mailer.settings.send_window import SendWindow
from mailer.storage.database import Database
from mailer.storage.models import DeliveryStatus


class RetrySchema(StrictSchema):
    """Whom to try again beside those who failed."""

    uncertain = WireBoolean(
        load_default=False,
        metadata={"type": "boolean", "description": "Also those who rest as uncertain: they may get a second copy."},
    )


class ExportSchema(FormatSchema, OutcomesSchema):
    """Which outcomes the file holds: all, or those for which everything holds that is given."""


class RetriedSchema(CampaignAnswerSchema):
    """The campaign, and how many recipients are tried again."""

    retried = fields.Integer()


def make_blueprint(
    db: Database,
    guard: Guard,
    engine: Engine,
    observer: Observer = UNOBSERVED,
    window: SendWindow | None = None,
) -> Blueprint:
    """Routes that change one campaign, and the one that exports its outcomes."""
    blueprint = ApiBlueprint("Control", __name__, url_prefix="/api/v1/mailer/campaigns/<campaign_id>")

    def changed(campaign_id: str) -> dict[str, Any]:
        """Have the engine look for work, and answer with the campaign as it now is."""
        engine.wake()
        return {"success": True, "campaign": progress.progress(db, campaign_id, window=window)}

    @blueprint.route("/pause", methods=["POST"])
    @guard.requires(SEND_MAIL, MANAGE_CAMPAIGNS)
    @blueprint.response(200, CampaignAnswerSchema)
    @blueprint.refuses(404, "Not a campaign of yours")
    @blueprint.refuses(409, "In another state")
    def pause(campaign_id: str) -> Any:
        """Hold the campaign from the next checkpoint on."""
        control.pause(db, campaign_id, campaigns_in_reach())
        return changed(campaign_id)

    @blueprint.route("/resume", methods=["POST"])
    @guard.requires(SEND_MAIL, MANAGE_CAMPAIGNS)
    @blueprint.response(200, CampaignAnswerSchema)
    @blueprint.refuses(404, "Not a campaign of yours")
    @blueprint.refuses(409, "In another state")
    def resume(campaign_id: str) -> Any:
        """Go on where it was paused."""
        control.resume(db, campaign_id, campaigns_in_reach())
        return changed(campaign_id)

    @blueprint.route("/cancel", methods=["POST"])
    @guard.requires(SEND_MAIL, MANAGE_CAMPAIGNS)
    @blueprint.response(200, CampaignAnswerSchema)
    @blueprint.refuses(404, "Not a campaign of yours")
    @blueprint.refuses(409, "In another state")
    def cancel(campaign_id: str) -> Any:
        """Send nothing more, from the next checkpoint on, for good."""
        skipped = control.cancel(db, campaign_id, campaigns_in_reach())
        observer.recorded({DeliveryStatus.SKIPPED: skipped})
        return changed(campaign_id)

    @blueprint.route("/retry-failed", methods=["POST"])
    @guard.requires(SEND_MAIL, MANAGE_CAMPAIGNS)
    @blueprint.arguments(RetrySchema, location="query")
    @blueprint.response(200, RetriedSchema)
    @blueprint.refuses(404, "Not a campaign of yours")
    @blueprint.refuses(409, "In another state")
    def retry_failed(whom: dict[str, bool], campaign_id: str) -> Any:
        """Try everyone again who failed."""
        retried = control.retry_failed(db, campaign_id, campaigns_in_reach(), uncertain=whom["uncertain"])
        return {**changed(campaign_id), "retried": retried}

    @blueprint.route("/export")
    @guard.requires(SEND_MAIL, MANAGE_CAMPAIGNS)
    @blueprint.arguments(ExportSchema, location="query")
    @blueprint.response(200, content_type="text/csv")
    def export_outcomes(wanted: dict[str, Any], campaign_id: str) -> Any:
        """Every recipient's outcome as CSV or NDJSON, by user id."""
        progress.progress(db, campaign_id, campaigns_in_reach())
        rows = map(export.cells, export.records(db, campaign_id, wanted_of(wanted)))
        lines = write_rows(wanted["form"], export.COLUMNS, rows)
        return download(lines, campaign_id, wanted["form"], erased=export.count_erased(db, campaign_id))

    return blueprint
