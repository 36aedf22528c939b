"""For operators: how the service stands, and the settings in force."""

from __future__ import annotations

from typing import Any

from flask_smorest import Blueprint
from marshmallow import Schema, fields

from mailer.api.blueprint import ApiBlueprint
from mailer.api.guard import Guard
from mailer.api.requests.fields import Milliseconds
from mailer.api.schemas import SuccessSchema
from mailer.callers.tokens import MANAGE_CAMPAIGNS
from mailer.operation.standing import Operation, Standing

SEEN = (
    *("now", "queue", "oldest_due_at", "due_by_priority", "per_minute", "open", "campaigns"),
    *("breaker", "hold", "window", "failing", "reported"),
)
TOLD = ("reason", "since", "failures", "retry_at", "is_planned")


class WorkerSchema(Schema):
    """A process that was seen within an hour; `alive`: within a minute. `doing` names the batches in its hand."""

    host = fields.String()
    pid = fields.Integer()
    role = fields.String()
    engine = fields.String()
    version = fields.String()
    started_at = Milliseconds(data_key="startedAt")
    seen_at = Milliseconds(data_key="seenAt")
    doing = fields.String()
    alive = fields.Boolean()


class WaitingSchema(Schema):
    """Open batches of one kind, and how many of their recipients have not been tried."""

    batches = fields.Integer()
    recipients = fields.Integer()


class QueueSchema(Schema):
    """Open batches: due now, due later, in a worker's hand, of campaigns that are paused or rest."""

    due = fields.Nested(WaitingSchema)
    later = fields.Nested(WaitingSchema)
    in_hand = fields.Nested(WaitingSchema, data_key="inHand")
    held_up = fields.Nested(WaitingSchema, data_key="heldUp")


class OpenCampaignSchema(Schema):
    """A campaign that has not ended."""

    id = fields.String(data_key="_id")
    caller_id = fields.String(data_key="callerId")
    state = fields.String()
    reason = fields.String(allow_none=True)
    created_at = Milliseconds(data_key="createdAt")
    priority = fields.String(allow_none=True)
    planned = fields.Integer()
    done = fields.Integer()
    sent = fields.Integer()
    left = fields.Integer()
    by_a_person = fields.Boolean(data_key="byAPerson", metadata={"description": "It is paused, and a person did that."})
    seconds_left = fields.Integer(data_key="secondsLeft", allow_none=True)


class BreakerSchema(Schema):
    """The transport's circuit breaker, where it is not closed."""

    reason = fields.String()
    since = Milliseconds()
    failures = fields.Integer(metadata={"description": "How often it failed in a row."})
    retry_at = Milliseconds(data_key="retryAt")
    is_open = fields.Boolean(data_key="isOpen", metadata={"description": "Nobody sends; false: one worker may try."})
    is_planned = fields.Boolean(data_key="isPlanned", metadata={"description": "Only the day's quota is used up."})


class HoldSchema(Schema):
    """An operator's hold on all sending."""

    since = Milliseconds()
    by = fields.String()
    reason = fields.String()


class ReportedSchema(Schema):
    """How many messages bounced and were marked as spam in the last 24 hours, by the time of the report."""

    bounced = fields.Integer()
    complained = fields.Integer()


class StatusSchema(Schema):
    """How the service stands, from the database: what `mailer status --json` prints."""

    now = Milliseconds(data_key="at", metadata={"description": "When the database was looked at, by its clock."})
    engine = fields.String()
    workers = fields.List(fields.Nested(WorkerSchema))
    queue = fields.Nested(QueueSchema)
    oldest_due_at = Milliseconds(data_key="oldestDueAt", allow_none=True)
    due_by_priority = fields.Dict(keys=fields.String(), values=fields.Integer(), data_key="dueByPriority")
    per_minute = fields.Integer(data_key="messagesPerMinute")
    reported = fields.Nested(ReportedSchema, data_key="lastDay")
    open = fields.Integer(data_key="openCampaigns")
    campaigns = fields.List(fields.Nested(OpenCampaignSchema))
    breaker = fields.Nested(BreakerSchema, data_key="transport", allow_none=True)
    hold = fields.Nested(HoldSchema, allow_none=True)
    window = fields.String(data_key="sendWindow", allow_none=True)
    failing = fields.Dict(keys=fields.String(), values=fields.String(), data_key="failingTasks")
    needs_a_person = fields.List(fields.String(), data_key="needsAPerson")


class StatusAnswerSchema(SuccessSchema):
    """How the service stands."""

    status = fields.Nested(StatusSchema)


class SettingSchema(Schema):
    """One setting: its variable, its value without secrets, where it came from."""

    name = fields.String()
    value = fields.String(metadata={"description": "As it would be written; empty: not set."})
    origin = fields.String(metadata={"description": "`environment`, `.env`, `file`, `default`, or a kept key's file."})
    secret = fields.Boolean(metadata={"description": "The value is not shown, or not all of it."})


class SettingsAnswerSchema(SuccessSchema):
    """The settings with which this process began, and what is probably a mistake in them."""

    settings = fields.List(fields.Nested(SettingSchema))
    warnings = fields.List(fields.String())


def make_blueprint(guard: Guard, operation: Operation) -> Blueprint:
    """Routes that show how the service stands. They change nothing."""
    blueprint = ApiBlueprint("Status", __name__, url_prefix="/api/v1/mailer")

    @blueprint.route("/status")
    @guard.requires(MANAGE_CAMPAIGNS)
    @blueprint.response(200, StatusAnswerSchema)
    def show_status() -> Any:
        """The engine, its workers, the queue, the pace, open campaigns and what stops them."""
        return {"success": True, "status": _status(operation.standing())}

    @blueprint.route("/settings")
    @guard.requires(MANAGE_CAMPAIGNS)
    @blueprint.response(200, SettingsAnswerSchema)
    def show_settings() -> Any:
        """The settings in force, without secrets, and what is probably a mistake in them."""
        return {"success": True, "settings": operation.in_force(), "warnings": operation.warnings()}

    return blueprint


def _status(found: Standing) -> dict[str, Any]:
    seen = found.seen
    facts: dict[str, Any] = {name: getattr(seen, name) for name in SEEN}
    if seen.breaker is not None:
        told = {name: getattr(seen.breaker, name) for name in TOLD}
        facts["breaker"] = {**told, "is_open": seen.breaker.is_open(seen.now)}
    running = {"workers": found.workers, "needs_a_person": found.needs_a_person}
    return {"engine": found.engine, **running, **facts}
