"""`POST /api/v1/mailer` and `POST /api/v1/mailer.unsubscribe`, as Rocket.Chat speaks them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import request
from flask_smorest import Blueprint

from mailer.api.blueprint import ApiBlueprint
from mailer.api.guard import Guard, count_within, current_caller
from mailer.api.schemas import MailerSchema, SuccessSchema, UnsubscribeSchema
from mailer.api.submissions import Submissions
from mailer.callers.tokens import SEND_MAIL
from mailer.campaigns.checks.lint import about_placeholders
from mailer.campaigns.checks.message_checks import about_author
from mailer.campaigns.checks.overlap import Overlaps
from mailer.campaigns.draft import Draft
from mailer.engines import Engine
from mailer.errors import InvalidParams
from mailer.observer import UNOBSERVED, Observer
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.suppression.unsubscribes import unsubscribe_matching

EXAMPLE = {
    "from": "test.test@test.com",
    "subject": "Welcome to the Test Newsletter",
    "body": "Thank you for subscribing to the Test Newsletter. If this was not you feel free to unsubscribe "
    "by hitting the following button [unsubscribe]",
    "dryrun": "true",
}
DESCRIPTION = """Send emails to users from your workspace. Make sure that you have configured the transport.

| Version | Description |
| ------- | ----------- |
| 5.4.0   | Added       |
"""
INVALID_FROM = {
    "success": False,
    "error": "Invalid from address [error-invalid-from-address]",
    "errorType": "error-invalid-from-address",
    "details": {"function": "Mailer.sendMail"},
}
MAX_KEY = 255
KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key and request within MAILER_KEY_LIFETIME is one campaign, however often it is sent.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY},
}
ACCEPTED = {
    "Location": {"description": "The campaign's address.", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "`true` where this is the campaign of an earlier, identical request.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Mailer-Warning": {
        "description": "What is probably a slip, in ASCII: in the message, or another campaign for the same people.",
        "schema": {"type": "string"},
    },
}


def make_blueprint(
    db: Database, guard: Guard, engine: Engine, settings: Settings, observer: Observer = UNOBSERVED
) -> Blueprint:
    """The endpoint that the service exists for. `observer` is told of each campaign that is accepted."""
    submissions = Submissions(db, settings, engine, observer)
    overlaps = Overlaps(db)
    blueprint = ApiBlueprint("Mailer", __name__, url_prefix="/api/v1")

    @blueprint.route("/mailer", methods=["POST"])
    @guard.requires(SEND_MAIL, limited=True, counts=True)
    @blueprint.arguments(MailerSchema(), example=EXAMPLE)
    @blueprint.response(200, SuccessSchema, description="OK", example={"success": True}, headers=ACCEPTED)
    @blueprint.refuses(400, "Bad Request", INVALID_FROM)
    @blueprint.refuses(409, "The campaign in `reached` or `notReached` may still send")
    @blueprint.refuses(422, "The key came with another request")
    @blueprint.doc(
        operationId="post-api-v1-mailer",
        summary="Send Mailer Endpoint",
        description=DESCRIPTION,
        parameters=[KEY],
        **{"x-takes-forms": True},
    )
    def send(payload: dict[str, Any]) -> Any:
        """Send Mailer Endpoint."""
        draft = submissions.checked(current_caller(), payload)
        accepted = submissions.accepted(current_caller(), draft, _idempotency_key(), first=count_within)
        headers = {"Location": f"/api/v1/mailer/campaigns/{accepted.campaign_id}"}
        told = about_author(settings, draft.sender)
        if accepted.replayed:
            return {"success": True}, {**headers, **warning_header(draft, told), "Idempotent-Replayed": "true"}
        same = () if draft.dry_run else overlaps.beside(draft.query, accepted.campaign_id)
        return {"success": True}, {**headers, **warning_header(draft, (*told, *same))}

    @blueprint.route("/mailer.unsubscribe", methods=["POST"])
    @guard.requires(limited=True)
    @blueprint.arguments(UnsubscribeSchema)
    @blueprint.response(200, SuccessSchema, example={"success": True})
    @blueprint.doc(**{"x-takes-forms": True})
    def unsubscribe(payload: dict[str, Any]) -> Any:
        """Unsubscribe the user whose id and creation time match; the answer does not tell whether one did."""
        unsubscribe_matching(db, payload["user_id"], int(payload["created_at"]))
        return {"success": True}

    return blueprint


def warning_header(draft: Draft, also: Sequence[str] = ()) -> dict[str, str]:
    """`Mailer-Warning`, where something is probably a slip or `also` is; the answer's body is the contract's."""
    told = (*about_placeholders(draft.subject, draft.body), *also)
    return {"Mailer-Warning": " ".join(told).encode("ascii", "backslashreplace").decode()} if told else {}


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (0 < len(key) <= MAX_KEY and key.isprintable()):
        raise InvalidParams(f"Idempotency-Key: Not 1 to {MAX_KEY} printable characters.", field="Idempotency-Key")
    return key
