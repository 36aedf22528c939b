"""Before a campaign is sent: who would receive it, and what they would read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from flask import Response, request
from flask_smorest import Blueprint
from marshmallow import Schema, fields, validate

from mailer.api.blueprint import ApiBlueprint
from mailer.api.estimates import EstimateSchema, estimate_fields, estimate_for
from mailer.api.guard import ConcurrencyLimit, Guard, campaigns_in_reach, current_caller
from mailer.api.requests.earlier import not_reached_field, reached_field
from mailer.api.requests.fields import QueryString, WireBoolean, storable
from mailer.api.resources.mailer import warning_header
from mailer.api.schemas import MailerSchema, StrictSchema, SuccessSchema, WarnedSchema
from mailer.audience.earlier import narrowed
from mailer.audience.field_values import CUSTOM, Counted, KnownFieldValues
from mailer.audience.preview import addressee, count, first_recipient, measure
from mailer.campaigns.checks.lint import about_directory
from mailer.campaigns.checks.message_checks import Text, Warned, about_author, about_message
from mailer.campaigns.checks.warned import about_draft, coded, over_cap, warning_fields
from mailer.campaigns.draft import Draft, compile_draft, make_draft
from mailer.campaigns.estimates.estimate import Estimate, Estimator
from mailer.campaigns.referrals import verify_now
from mailer.delivery.checkpoints.frequency_cap import who_had_enough
from mailer.errors import InvalidParams, NotFound
from mailer.messages.links import PREVIEW, Links
from mailer.messages.recipient import Recipient
from mailer.selector import parse_query
from mailer.settings import Settings
from mailer.storage.database import Database

JSON, MESSAGE = "application/json", "message/rfc822"
CAMPAIGN_ID = "preview"


class AudienceSchema(StrictSchema):
    """The body of `POST /api/v1/mailer/audience`."""

    takes_forms = True
    query = QueryString(
        load_default=None,
        allow_none=True,
        validate=storable,
        metadata={"description": "A MongoDB selector over user documents, as JSON text; absent: everyone."},
    )
    subject = fields.String(load_default="", validate=storable, metadata={"description": "Looked at for `warnings`."})
    body = fields.String(load_default="", validate=storable, metadata={"description": "Looked at for `warnings`."})
    sender = fields.String(
        data_key="from", load_default="", validate=storable, metadata={"description": "Looked at for `warnings`."}
    )
    inline_css = WireBoolean(
        data_key="inlineCss",
        load_default=False,
        metadata={"type": "boolean", "description": "Looked at for `warnings`: how large the message is."},
    )
    reached = reached_field()
    not_reached = not_reached_field()


class SampledSchema(Schema):
    """One of those who would receive it."""

    user_id = fields.String(data_key="userId")
    name = fields.String()
    address = fields.String(metadata={"description": "Masked: `a***@example.com`."})


class AudienceAnswerSchema(SuccessSchema, EstimateSchema, WarnedSchema):
    """How many would receive it, and the first of them."""

    count = fields.Integer()
    suppressed = fields.Integer(metadata={"description": "How many more, were their addresses not suppressed."})
    deactivated = fields.Integer(metadata={"description": "Whom the query selects and who is not active."})
    unsubscribed = fields.Integer(metadata={"description": "Whom it selects, and who wants no mail."})
    no_address = fields.Integer(data_key="noAddress", metadata={"description": "Whom it selects, without an address."})
    shared_address = fields.Integer(
        data_key="sharedAddress",
        metadata={"description": "Who shares an address with another, where addresses are merged."},
    )
    sample = fields.List(fields.Nested(SampledSchema))


class CountedValueSchema(Schema):
    """A value of a field, and how many have it."""

    value = fields.Raw(metadata={"description": "A string, number or boolean."})
    count = fields.Integer()


class FieldValuesSchema(SuccessSchema):
    """What a query may ask for, of those who may be written to: the most frequent values of each field."""

    exact = fields.Boolean(metadata={"description": "False: the counts are estimated from about 2,000 users."})
    roles = fields.List(fields.Nested(CountedValueSchema))
    languages = fields.List(fields.Nested(CountedValueSchema))
    domains = fields.List(fields.Nested(CountedValueSchema))
    custom_fields = fields.Dict(
        keys=fields.String(), values=fields.List(fields.Nested(CountedValueSchema)), data_key="customFields"
    )


class PreviewSchema(MailerSchema):
    """The body of `POST /api/v1/mailer/preview`: a campaign's, without what says how it is sent and to how many."""

    class Meta(StrictSchema.Meta):
        """marshmallow's options."""

        exclude = ("dry_run", "priority", "min_recipients", "max_recipients", "to")

    user = fields.String(
        load_default=None,
        allow_none=True,
        validate=[validate.Length(min=1), storable],
        metadata={"description": "For whom: a user's `_id`, or else username. Absent: the first whom `query` selects."},
    )


class PreviewAnswerSchema(SuccessSchema, EstimateSchema, WarnedSchema):
    """A message as its reader would see it."""

    user_id = fields.String(data_key="userId")
    reply_to = fields.String(
        data_key="replyTo",
        allow_none=True,
        metadata={"description": "Where answers go; null: to the address in `from`."},
    )
    subject = fields.String()
    html = fields.String()
    text = fields.String()


def make_blueprint(
    db: Database,
    guard: Guard,
    concurrency: ConcurrencyLimit,
    settings: Settings,
    *,
    links: Links,
    known: KnownFieldValues,
    estimator: Estimator,
) -> Blueprint:
    """Look, without sending. `known` are the values that the fields of the users have."""
    limit = float(settings.audience_timeout)
    blueprint = ApiBlueprint("Audience", __name__, url_prefix="/api/v1/mailer")

    @blueprint.route("/audience", methods=["POST"])
    @guard.requires("send-mail", audience_limited=True)
    @blueprint.arguments(AudienceSchema, example={"query": '{"roles": "newsletter"}'})
    @blueprint.response(200, AudienceAnswerSchema)
    @blueprint.refuses(400, "Bad Request")
    @blueprint.refuses(409, "The campaign in `reached` or `notReached` may still send")
    @blueprint.refuses(503, "It took too long")
    def show_audience(payload: dict[str, Any]) -> Any:
        """How many would receive a campaign now, and ten of them with masked addresses. Sends nothing."""
        query = parse_query(payload["query"])
        selector = narrowed(query, payload["reached"], payload["not_reached"])
        verify_now(db, selector, campaigns_in_reach())
        with concurrency.slot():
            found = measure(db, selector, merge=settings.merge_addresses, limit=limit)
            about_fields = about_directory(db, query, limit=limit)
        long = estimator.estimate(current_caller().user_id, found.count)
        text = Text(payload["subject"], payload["body"], payload["sender"], payload["inline_css"])
        told = warning_fields([*coded(about_fields), *_about_cap(selector), *about_message(settings, text)])
        return {"success": True, **asdict(found), **estimate_fields(long), **told}

    def _about_cap(selector: Mapping[str, Any]) -> list[Warned]:
        """That some had enough already, and will be skipped."""
        cap = settings.max_per_person
        enough = 0 if cap is None else who_had_enough(db, selector, cap, limit)
        return over_cap(enough, cap.count, cap.unit) if cap is not None and enough else []

    @blueprint.route("/audience/fields", methods=["GET"])
    @guard.requires("send-mail", audience_limited=True)
    @blueprint.response(200, FieldValuesSchema)
    def list_field_values() -> Any:
        """Which roles, languages, domains and custom fields there are; some minutes old, at most 20 values each."""
        found = known.now()
        custom = {name.removeprefix(CUSTOM): _listed(values) for name, values in found.custom_fields.items()}
        usual = {name: _listed(getattr(found, name)) for name in ("roles", "languages", "domains")}
        return {"success": True, "exact": found.exact, **usual, "custom_fields": custom}

    @blueprint.route("/preview", methods=["POST"])
    @guard.requires("send-mail", audience_limited=True)
    @blueprint.arguments(PreviewSchema)
    @blueprint.response(200, PreviewAnswerSchema)
    @blueprint.refuses(400, "Bad Request")
    @blueprint.refuses(404, "Nobody to show it for")
    @blueprint.refuses(409, "The campaign in `reached` or `notReached` may still send")
    @blueprint.refuses(503, "It took too long")
    def preview(payload: dict[str, Any]) -> Any:
        """What one user would read, as JSON or, with `Accept: message/rfc822`, as the message itself. Sends nothing.

        The unsubscribe link in it is that of nobody: who tries it out unsubscribes no one.
        """
        user_id = payload.pop("user")
        draft = make_draft(settings, **payload)
        verify_now(db, draft.query, campaigns_in_reach())
        with concurrency.slot():
            recipient = _recipient(db, draft, user_id, settings)
            try:
                return _rendered(draft, recipient)
            except ValueError as error:
                raise InvalidParams(f"This message cannot be written: {error}.") from error

    def _estimate_for(draft: Draft) -> Estimate:
        """That of all who would receive it."""
        merge = settings.merge_addresses
        return estimate_for(
            estimator, current_caller().user_id, lambda: count(db, draft.query, merge=merge, limit=limit)
        )

    def _rendered(draft: Draft, recipient: Recipient) -> Any:
        template = compile_draft(draft, CAMPAIGN_ID, settings)
        link, apart = links.link(PREVIEW), about_author(settings, draft.sender)
        if request.accept_mimetypes.best_match([JSON, MESSAGE], default=JSON) == MESSAGE:
            with db.read() as connection:
                now = db.clock(connection)
            content = template.render(recipient, link, now).content
            return Response(content, mimetype=MESSAGE, headers={"Vary": "Accept", **warning_header(draft, apart)})
        seen = asdict(template.preview(recipient, link))
        told = warning_fields(about_draft(settings, draft))
        long = estimate_fields(_estimate_for(draft))
        return {"success": True, "user_id": recipient.user_id, **seen, **long, **told}, {"Vary": "Accept"}

    return blueprint


def _listed(values: Counted) -> list[dict[str, Any]]:
    return [{"value": value, "count": count} for value, count in values]


def _recipient(db: Database, draft: Draft, user_id: str | None, settings: Settings) -> Recipient:
    if user_id is None:
        limit = float(settings.audience_timeout)
        recipient = first_recipient(db, draft.query, merge=settings.merge_addresses, limit=limit)
        missing = "Nobody would receive it."
    else:
        recipient = addressee(db, user_id)
        missing = "There is no active user with this id and an address."
    if recipient is None:
        raise NotFound(missing)
    return recipient
