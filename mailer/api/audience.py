"""Before a campaign is sent: who would receive it, and what they would read."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Response, request
from flask_smorest import Blueprint

from mailer.api.audience_schemas import AudienceAnswerSchema, AudienceSchema, PreviewAnswerSchema, PreviewSchema
from mailer.api.guard import SECURITY, Guard
from mailer.api.looks import Looks
from mailer.api.mailer import MailerBlueprint, warning_header
from mailer.api.schemas import ErrorSchema
from mailer.audience.preview import addressee, first_of, measure
from mailer.campaigns.draft import Draft, compile_draft, make_draft
from mailer.campaigns.review import about_directory, about_placeholders
from mailer.errors import InvalidParams, NotFound
from mailer.messages.links import PREVIEW, Links
from mailer.messages.template import Recipient
from mailer.selector import parse_query
from mailer.settings import Settings
from mailer.storage.database import Database

JSON, MESSAGE = "application/json", "message/rfc822"
CAMPAIGN_ID = "preview"


def make_blueprint(db: Database, guard: Guard, looks: Looks, settings: Settings, *, links: Links) -> Blueprint:
    """Look, without sending."""
    limit = float(settings.audience_timeout)
    blueprint = MailerBlueprint("Audience", __name__, url_prefix="/api/v1/mailer")

    @blueprint.route("/audience", methods=["POST"])
    @guard.requires("send-mail", looks=True)
    @blueprint.arguments(AudienceSchema, example={"query": '{"roles": "newsletter"}'})
    @blueprint.response(200, AudienceAnswerSchema)
    @blueprint.alt_response(400, schema=ErrorSchema, description="Bad Request", success=False)
    @blueprint.alt_response(503, schema=ErrorSchema, description="It took too long", success=False)
    @blueprint.doc(security=SECURITY)
    def show_audience(payload: dict[str, Any]) -> Any:
        """How many would receive a campaign now, and ten of them with masked addresses. Sends nothing."""
        query = parse_query(payload["query"])
        with looks.place():
            found = measure(db, query, merge=settings.merge_addresses, limit=limit)
            about_fields = about_directory(db, query, limit=limit)
        warnings = [*about_fields, *about_placeholders(payload["subject"], payload["body"])]
        return {"success": True, **asdict(found), "warnings": warnings}

    @blueprint.route("/preview", methods=["POST"])
    @guard.requires("send-mail", looks=True)
    @blueprint.arguments(PreviewSchema)
    @blueprint.response(200, PreviewAnswerSchema)
    @blueprint.alt_response(400, schema=ErrorSchema, description="Bad Request", success=False)
    @blueprint.alt_response(404, schema=ErrorSchema, description="Nobody to show it for", success=False)
    @blueprint.alt_response(503, schema=ErrorSchema, description="It took too long", success=False)
    @blueprint.doc(security=SECURITY)
    def preview(payload: dict[str, Any]) -> Any:
        """What one user would read, as JSON or, with `Accept: message/rfc822`, as the message itself. Sends nothing.

        The unsubscribe link in it is that of nobody: who tries it out unsubscribes no one.
        """
        user_id = payload.pop("user")
        draft = make_draft(settings, **payload)
        with looks.place():
            recipient = _recipient(db, draft, user_id, settings)
            try:
                return _rendered(draft, recipient)
            except ValueError as error:
                raise InvalidParams(f"This message cannot be written: {error}.") from error

    def _rendered(draft: Draft, recipient: Recipient) -> Any:
        template = compile_draft(draft, CAMPAIGN_ID, settings)
        link = links.link(PREVIEW)
        if request.accept_mimetypes.best_match([JSON, MESSAGE], default=JSON) == MESSAGE:
            with db.read() as connection:
                now = db.clock(connection)
            content = template.render(recipient, link, now).content
            return Response(content, mimetype=MESSAGE, headers={"Vary": "Accept", **warning_header(draft)})
        seen = asdict(template.preview(recipient, link))
        warnings = about_placeholders(draft.subject, draft.body)
        return {"success": True, "user_id": recipient.user_id, **seen, "warnings": warnings}, {"Vary": "Accept"}

    return blueprint


def _recipient(db: Database, draft: Draft, user_id: str | None, settings: Settings) -> Recipient:
    if user_id is None:
        limit = float(settings.audience_timeout)
        recipient = first_of(db, draft.query, merge=settings.merge_addresses, limit=limit)
        missing = "Nobody would receive it."
    else:
        recipient = addressee(db, user_id)
        missing = "There is no active user with this id and an address."
    if recipient is None:
        raise NotFound(missing)
    return recipient
