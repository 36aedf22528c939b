"""The levers of a running campaign, and its outcomes as a file: for its caller, and nobody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Response
from flask_smorest import Blueprint
from marshmallow import fields, validate

from mailer.api.guard import SECURITY, Guard, current_caller
from mailer.api.mailer import MailerBlueprint
from mailer.api.schemas import CampaignAnswerSchema, ErrorSchema, StrictSchema, WireBoolean
from mailer.campaigns import control, export, progress
from mailer.engines import Engine
from mailer.storage.database import Database
from mailer.storage.models import DeliveryStatus

FORMATS = {"csv": (export.as_csv, "text/csv"), "ndjson": (export.as_ndjson, "application/x-ndjson")}


class RetrySchema(StrictSchema):
    """Whom to try again beside those who failed."""

    uncertain = WireBoolean(
        load_default=False,
        metadata={"type": "boolean", "description": "Also those who rest as uncertain: they may get a second copy."},
    )


class ExportSchema(StrictSchema):
    """What the file holds, and how."""

    form = fields.String(data_key="format", load_default="csv", validate=validate.OneOf(list(FORMATS)))
    status = fields.String(load_default=None, validate=validate.OneOf([status.value for status in DeliveryStatus]))


class RetriedSchema(CampaignAnswerSchema):
    """The campaign, and how many recipients are tried again."""

    retried = fields.Integer()


def make_blueprint(db: Database, guard: Guard, engine: Engine) -> Blueprint:
    """Pause, resume, cancel, retry-failed, export."""
    blueprint = MailerBlueprint("Control", __name__, url_prefix="/api/v1/mailer/campaigns/<campaign_id>")

    def shown(campaign_id: str) -> dict[str, Any]:
        return {"success": True, "campaign": progress.progress(db, campaign_id)}

    def lever(action: Callable[..., None], summary: str) -> None:
        @blueprint.route(f"/{action.__name__}", methods=["POST"], endpoint=action.__name__)
        @guard.requires("send-mail")
        @blueprint.response(200, CampaignAnswerSchema)
        @blueprint.alt_response(404, schema=ErrorSchema, description="Not a campaign of yours", success=False)
        @blueprint.alt_response(409, schema=ErrorSchema, description="In another state", success=False)
        @blueprint.doc(security=SECURITY, summary=summary)
        def pull(campaign_id: str) -> Any:
            action(db, campaign_id, current_caller().user_id)
            engine.wake()
            return shown(campaign_id)

    lever(control.pause, "Hold the campaign from the next checkpoint on.")
    lever(control.resume, "Go on where it was paused.")
    lever(control.cancel, "Send nothing more, from the next checkpoint on, for good.")

    @blueprint.route("/retry-failed", methods=["POST"])
    @guard.requires("send-mail")
    @blueprint.arguments(RetrySchema, location="query")
    @blueprint.response(200, RetriedSchema)
    @blueprint.alt_response(404, schema=ErrorSchema, description="Not a campaign of yours", success=False)
    @blueprint.alt_response(409, schema=ErrorSchema, description="In another state", success=False)
    @blueprint.doc(security=SECURITY)
    def retry_failed(whom: dict[str, bool], campaign_id: str) -> Any:
        """Try everyone again who failed."""
        retried = control.retry_failed(db, campaign_id, current_caller().user_id, **whom)
        engine.wake()
        return {**shown(campaign_id), "retried": retried}

    @blueprint.route("/export")
    @guard.requires("send-mail")
    @blueprint.arguments(ExportSchema, location="query")
    @blueprint.response(200, content_type="text/csv")
    @blueprint.doc(security=SECURITY)
    def export_outcomes(wanted: dict[str, Any], campaign_id: str) -> Any:
        """Every recipient's outcome as CSV or NDJSON, by user id."""
        progress.progress(db, campaign_id, current_caller().user_id)
        written, kind = FORMATS[wanted["form"]]
        answer = Response(written(export.records(db, campaign_id, wanted["status"])), mimetype=kind)
        answer.headers["Content-Disposition"] = f'attachment; filename="{campaign_id}.{wanted["form"]}"'
        return answer

    return blueprint
