"""What happened to a campaign and to the service, and the report of a night."""

from __future__ import annotations

from typing import Any

from flask_smorest import Blueprint
from marshmallow import Schema, fields, validate

from mailer.api.blueprint import ApiBlueprint, keyset_page
from mailer.api.guard import Guard, campaigns_in_reach
from mailer.api.requests.fields import Milliseconds
from mailer.api.schemas import StrictSchema, SuccessSchema
from mailer.callers.tokens import MANAGE_CAMPAIGNS, SEND_MAIL
from mailer.campaigns import progress
from mailer.campaigns.reports.timeline import details, everything, in_words, timeline
from mailer.operation.report import report
from mailer.operation.standing import Operation
from mailer.timeline.events import Happened, Kind

LARGEST = 2**63 - 1
WHEN = {"type": "string", "format": "date-time"}


class EventsQuerySchema(StrictSchema):
    """Which events to list; `after` is the `next` of the page before."""

    after = fields.Integer(load_default=None, validate=validate.Range(0, LARGEST))
    count = fields.Integer(load_default=100, validate=validate.Range(1, 1000))


class AllEventsQuerySchema(EventsQuerySchema):
    """Of all events, those of one `kind`, from `since` on."""

    since = Milliseconds(load_default=None, metadata=WHEN)
    kind = fields.Enum(Kind, by_value=True, load_default=None, metadata={"type": "string"})


class EventSchema(Schema):
    """One event: its number, when, to which campaign, what, and its details, also in words."""

    id = fields.Integer(data_key="_id", metadata={"description": "0: the acceptance, the first of every campaign."})
    at = Milliseconds(metadata=WHEN)
    campaign_id = fields.String(
        data_key="campaign", allow_none=True, metadata={"description": "Null: it happened to the service."}
    )
    kind = fields.String()
    details = fields.Function(
        details, metadata={"type": "object", "description": "Reasons, who did it, since when, counts."}
    )
    text = fields.Function(in_words, metadata={"type": "string", "description": "The details as a line of text."})


class EventsAnswerSchema(SuccessSchema):
    """A page of events; `next` is the `after` of the page that follows, null at the end."""

    events = fields.List(fields.Nested(EventSchema))
    count = fields.Integer()
    next = fields.String(allow_none=True)


class ReportQuerySchema(StrictSchema):
    """From when on; twelve hours ago unless it is said."""

    since = Milliseconds(load_default=None, metadata=WHEN)


class OutageSchema(Schema):
    """A time in which nothing went out, of one campaign or, where it is null, of all."""

    cause = fields.String(metadata={"description": "`transport`, `quota`, `held`, `paused` or `resting`."})
    since = Milliseconds(metadata=WHEN)
    until = Milliseconds(allow_none=True, metadata={**WHEN, "description": "Null: it still lasts."})
    reason = fields.String(allow_none=True)
    tries = fields.Integer(allow_none=True, metadata={"description": "How often in a row it was tried."})
    by = fields.String(allow_none=True)
    campaign_id = fields.String(data_key="campaign", allow_none=True)


class LateSchema(Schema):
    """A campaign that stood still, for how long in all, and why."""

    campaign_id = fields.String(data_key="campaign")
    caller_id = fields.String(data_key="callerId")
    state = fields.String()
    late = fields.Function(lambda one: one.late // 1000, data_key="lateSeconds", metadata={"type": "integer"})
    causes = fields.List(fields.String())


class NightSchema(Schema):
    """Outages, what was late, batches taken over from lost workers, what came back, and what waits for a person."""

    since = Milliseconds(metadata=WHEN)
    now = Milliseconds(data_key="until", metadata=WHEN)
    outages = fields.List(fields.Nested(OutageSchema))
    late = fields.List(fields.Nested(LateSchema))
    workers_lost = fields.Integer(data_key="workersLost")
    bounced = fields.Integer(
        attribute="reported.bounced",
        metadata={"description": "Messages of which that was reported in this time, whenever they were sent."},
    )
    complained = fields.Integer(attribute="reported.complained", metadata={"description": "Those marked as spam."})
    needs_a_person = fields.List(fields.String(), data_key="needsAPerson")


class NightAnswerSchema(SuccessSchema):
    """The report."""

    report = fields.Nested(NightSchema)


def make_blueprint(guard: Guard, operation: Operation) -> Blueprint:
    """Routes that read events. A campaign that the caller may not see is answered like one that does not exist."""
    blueprint = ApiBlueprint("Timeline", __name__, url_prefix="/api/v1/mailer")
    db = operation.db

    @blueprint.route("/campaigns/<campaign_id>/events")
    @guard.requires(SEND_MAIL, MANAGE_CAMPAIGNS)
    @blueprint.arguments(EventsQuerySchema, location="query")
    @blueprint.response(200, EventsAnswerSchema)
    def list_campaign_events(page: dict[str, Any], campaign_id: str) -> Any:
        """What happened to a campaign, in order, with what stopped the service while it was open."""
        one = progress.progress(db, campaign_id, campaigns_in_reach())
        return keyset_page("events", timeline(db, one, **page), page["count"], _number)

    @blueprint.route("/events")
    @guard.requires(MANAGE_CAMPAIGNS)
    @blueprint.arguments(AllEventsQuerySchema, location="query")
    @blueprint.response(200, EventsAnswerSchema)
    def list_events(page: dict[str, Any]) -> Any:
        """What happened to the service and to all campaigns, the latest first; `after` continues a listing."""
        kinds = () if page["kind"] is None else (page["kind"],)
        found = everything(db, kinds=kinds, since=page["since"], before=page["after"], count=page["count"])
        return keyset_page("events", found, page["count"], _number)

    @blueprint.route("/report")
    @guard.requires(MANAGE_CAMPAIGNS)
    @blueprint.arguments(ReportQuerySchema, location="query")
    @blueprint.response(200, NightAnswerSchema)
    def show_service_report(wanted: dict[str, Any]) -> Any:
        """Outages since then, what was late and by how much, what came back, and what waits for a person."""
        return {"success": True, "report": report(db, operation.settings, wanted["since"])}

    return blueprint


def _number(event: Happened) -> str:
    return str(event.id)
