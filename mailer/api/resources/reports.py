"""One campaign's report in numbers, and what it said."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask_smorest import Blueprint
from marshmallow import Schema, fields

from mailer.api.blueprint import ApiBlueprint
from mailer.api.guard import Guard, campaigns_in_reach
from mailer.api.schemas import SuccessSchema
from mailer.audience.earlier import Earlier
from mailer.callers.tokens import MANAGE_CAMPAIGNS, SEND_MAIL
from mailer.campaigns import progress
from mailer.campaigns.reports.report import report
from mailer.campaigns.reports.said import said
from mailer.settings.send_window import SendWindow
from mailer.storage.database import Database


class DomainSchema(Schema):
    """How many recipients at a domain have each outcome; an empty domain stands for all others."""

    domain = fields.String()
    sent = fields.Integer()
    failed = fields.Integer()
    deferred = fields.Integer()
    uncertain = fields.Integer()
    skipped = fields.Integer()


class FailureSchema(Schema):
    """How many failed with the same answer."""

    answer = fields.String(
        metadata={"description": "In a form that is equal for all who get it: `#` for what differs. Empty: others."}
    )
    about = fields.String(metadata={"description": "Whom it is about: `address`, `mailbox`, `message` and so on."})
    count = fields.Integer()


class BounceSchema(Schema):
    """How many came back with the same code after they were sent."""

    status = fields.String(metadata={"description": "The enhanced status code, such as 5.1.1; empty: none was given."})
    about = fields.String(
        metadata={"description": "Whom they are about, as of a failure; empty: those beyond the first 5,000."}
    )
    permanent = fields.Boolean(allow_none=True, metadata={"description": "False: soft bounces, given up for now."})
    answer = fields.String(metadata={"description": "The words of one of them, with `#` for what differs."})
    count = fields.Integer()


class LeftOutSchema(Schema):
    """How many were skipped for the same reason."""

    reason = fields.String()
    count = fields.Integer()


class FromTheStartSchema(Schema):
    """Whom the query selected, and who could not be written to when it was planned."""

    suppressed = fields.Integer()
    deactivated = fields.Integer()
    unsubscribed = fields.Integer()
    no_address = fields.Integer(data_key="noAddress")


class ReportSchema(Schema):
    """The numbers."""

    per_minute = fields.Integer(
        data_key="perMinute", metadata={"description": "Messages sent: in the last minutes or, at its end, on average."}
    )
    seconds_left = fields.Integer(
        data_key="secondsLeft", allow_none=True, metadata={"description": "Null: nothing is sent now."}
    )
    domains = fields.List(fields.Nested(DomainSchema))
    failures = fields.List(fields.Nested(FailureSchema))
    bounces = fields.List(fields.Nested(BounceSchema))
    left_out = fields.List(fields.Nested(LeftOutSchema), data_key="leftOut")
    from_the_start = fields.Nested(
        FromTheStartSchema, data_key="fromTheStart", metadata={"description": "Empty: not planned, or a dry run."}
    )


class ReportAnswerSchema(SuccessSchema):
    """One campaign's report."""

    report = fields.Nested(ReportSchema)


class EarlierAnswerSchema(Schema):
    """An earlier campaign, and which outcomes in it were meant."""

    campaign = fields.String()
    outcomes = fields.List(fields.String())


class MessageSchema(Schema):
    """What a campaign said and to whom, with the fields of the POST."""

    sender = fields.String(data_key="from")
    reply_to = fields.String(data_key="replyTo", allow_none=True)
    subject = fields.String()
    body = fields.String()
    query = fields.Dict(metadata={"description": "The selector as an object."})
    dry_run = fields.Boolean(data_key="dryrun")
    test_recipients = fields.List(fields.String(), data_key="to", allow_none=True)
    inline_css = fields.Boolean(data_key="inlineCss")
    min_recipients = fields.Integer(data_key="minRecipients", allow_none=True)
    max_recipients = fields.Integer(data_key="maxRecipients", allow_none=True)
    reached = fields.Nested(EarlierAnswerSchema, allow_none=True)
    not_reached = fields.Nested(EarlierAnswerSchema, data_key="notReached", allow_none=True)


class MessageAnswerSchema(SuccessSchema):
    """What one campaign said."""

    message = fields.Nested(MessageSchema)


def make_blueprint(db: Database, guard: Guard, window: SendWindow | None = None) -> Blueprint:
    """Routes that read one campaign. One that the caller may not see is answered like one that does not exist."""
    blueprint = ApiBlueprint("Reports", __name__, url_prefix="/api/v1/mailer/campaigns/<campaign_id>")

    @blueprint.route("/report")
    @guard.requires(SEND_MAIL, MANAGE_CAMPAIGNS)
    @blueprint.response(200, ReportAnswerSchema)
    def show_report(campaign_id: str) -> Any:
        """A campaign's pace, what came of it by domain and by answers, of failures and bounces, and who was skipped."""
        found = report(db, progress.progress(db, campaign_id, campaigns_in_reach(), window=window))
        return {"success": True, "report": {**asdict(found), **asdict(found.pace)}}

    @blueprint.route("/message")
    @guard.requires(SEND_MAIL, MANAGE_CAMPAIGNS)
    @blueprint.response(200, MessageAnswerSchema)
    @blueprint.refuses(404, "Not a campaign of yours, or what it said was purged")
    def show_message(campaign_id: str) -> Any:
        """What a campaign said and to whom, as it was asked for."""
        found = said(db, campaign_id, campaigns_in_reach())
        bounds = {"min_recipients": found.expected.least, "max_recipients": found.expected.most}
        referred = {**bounds, "reached": _stored(found.reached), "not_reached": _stored(found.not_reached)}
        names = ("sender", "reply_to", "subject", "body", "query", "dry_run", "test_recipients", "inline_css")
        return {"success": True, "message": {**{name: getattr(found, name) for name in names}, **referred}}

    return blueprint


def _stored(earlier: Earlier | None) -> dict[str, Any] | None:
    return None if earlier is None else earlier.stored()
