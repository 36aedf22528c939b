"""The wire's names and types, which stop here: marshmallow in, plain values on."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from mailer.messages.addresses import is_forbidden
from mailer.storage.models import CampaignState, DeliveryStatus

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def one_line(text: str) -> None:
    """Refuse control characters, line separators and lone surrogates."""
    if is_forbidden(text):
        raise ValidationError("Has a control character, a line break or half a character.")


def storable(text: str) -> None:
    """Refuse what neither UTF-8 nor PostgreSQL can hold."""
    if _UNSTORABLE.search(text):
        raise ValidationError("Has a NUL or half a character.")


class WireBoolean(fields.Field[bool]):
    """A JSON boolean, the number 1 or 0, or the strings "true" and "false" in any case; null counts as absent."""

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> bool:
        if isinstance(value, bool | int | float) and value in (0, 1):
            return bool(value)
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise ValidationError('Neither a boolean nor "true" or "false".')


class WireString(fields.String):
    """Text; a JSON number is taken as its text, as Rocket.Chat's server does."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            value = str(int(value) if value == int(value) else value)
        return super()._deserialize(value, *args, **kwargs)


class FormText(str):
    """A field of a form. Text is all that a form can hold: an empty one may have meant something else."""

    __slots__ = ()


class QueryString(fields.String):
    """A selector as JSON text; empty in JSON means absent, as for Rocket.Chat, but in a form it may be a mistake."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, FormText) and not value.strip():
            raise ValidationError("Is empty; leave it out to write to everybody.")
        return super()._deserialize(value, *args, **kwargs)


class StrictSchema(Schema):
    """Refuses unknown fields."""

    class Meta:
        """marshmallow's options."""

        unknown = RAISE


class MailerSchema(StrictSchema):
    """The body of `POST /api/v1/mailer`."""

    takes_forms = True
    described_as_required = ("body",)

    sender = WireString(
        data_key="from",
        required=True,
        validate=one_line,
        metadata={"description": "A valid email address to send mails from."},
    )
    subject = WireString(
        required=True,
        validate=[validate.Length(min=1), one_line],
        metadata={"description": "The subject of the email."},
    )
    body = WireString(
        load_default=str,  # absent, it is refused later, in the words of the contract
        validate=storable,
        metadata={
            "description": "Required here. The body of the email. You must use `[unsubscribe]` for the "
            "unsubscription link. You may use `[name]`, `[fname]`, `[lname]` for the user's full name, first name or "
            "last name, respectively. You may use `[email]` for the user's email."
        },
    )
    dry_run = WireBoolean(
        data_key="dryrun",
        load_default=False,
        allow_none=True,
        metadata={
            "oneOf": [{"type": "boolean"}, {"type": "string", "enum": ["true", "false"]}],
            "default": False,
            "description": "A boolean value. If true, will only send one email to the same address as in the `From` "
            "parameter.",
        },
    )
    query = QueryString(
        load_default=None,
        allow_none=True,
        validate=storable,
        metadata={"description": "A MongoDB selector over user documents, as JSON text: who receives it."},
    )


class UnsubscribeSchema(StrictSchema):
    """The body of `POST /api/v1/mailer.unsubscribe`."""

    takes_forms = True

    user_id = WireString(data_key="_id", required=True, validate=[validate.Length(min=1), storable])
    created_at = WireString(
        data_key="createdAt", required=True, validate=validate.Regexp(r"\A-?[0-9]{1,15}\Z", error="Not milliseconds.")
    )


class SuccessSchema(Schema):
    """What every success has."""

    success = fields.Boolean(dump_default=True)


class ErrorSchema(Schema):
    """Rocket.Chat's error envelope."""

    success = fields.Boolean(dump_default=False)
    error = fields.String()
    error_type = fields.String(data_key="errorType")
    details = fields.Dict()


class NotLoggedInSchema(Schema):
    """Rocket.Chat's answer to a caller it does not know."""

    status = fields.String()
    message = fields.String()
    success = fields.Boolean(dump_default=False)
    error = fields.String()


class PageSchema(StrictSchema):
    """Rocket.Chat's paging."""

    count = fields.Integer(load_default=50, validate=validate.Range(1, 100))
    offset = fields.Integer(load_default=0, validate=validate.Range(0, 1_000_000_000))


class DeliveriesQuerySchema(StrictSchema):
    """Which outcomes to list: those after a user id, so that paging does not slow down."""

    status = fields.String(load_default=None, validate=validate.OneOf([status.value for status in DeliveryStatus]))
    after = fields.String(load_default=None, validate=storable)
    count = fields.Integer(load_default=100, validate=validate.Range(1, 1000))


class Milliseconds(fields.Field[int]):
    """Milliseconds since 1970 as ISO 8601 in UTC."""

    def _serialize(self, value: int | None, *_args: Any, **_kwargs: Any) -> str | None:
        return None if value is None else iso(value)


def iso(milliseconds: int) -> str:
    """2015-01-01T00:00:00.000Z."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


SHOWN_STATES = [*(state.value for state in CampaignState), "blocked", "cancelling"]


class CampaignSchema(Schema):
    """How a campaign goes."""

    id = fields.String(data_key="_id")
    state = fields.String(
        validate=validate.OneOf(SHOWN_STATES),
        metadata={"description": "`resting`: it alone waits after trouble of its own. `failed`: it cannot be sent."},
    )
    reason = fields.String(
        allow_none=True, metadata={"description": "Why it stands still, has failed or does not get on."}
    )
    subject = fields.String()
    dry_run = fields.Boolean(data_key="dryrun")
    planned = fields.Integer()
    pending = fields.Integer()
    sent = fields.Integer()
    failed = fields.Integer()
    deferred = fields.Integer()
    uncertain = fields.Integer(
        metadata={
            "description": "These may have arrived: handed over and never answered for, or in hand when a process "
            "died. Ask the receiving side by Message-ID, or have them sent a second copy (`retry-failed`, `uncertain`)."
        }
    )
    skipped = fields.Integer()
    created_at = Milliseconds(data_key="createdAt")
    started_at = Milliseconds(data_key="startedAt", allow_none=True)
    finished_at = Milliseconds(data_key="finishedAt", allow_none=True)


class CampaignAnswerSchema(SuccessSchema):
    """One campaign."""

    campaign = fields.Nested(CampaignSchema)


class CampaignsAnswerSchema(SuccessSchema):
    """A page of campaigns."""

    campaigns = fields.List(fields.Nested(CampaignSchema))
    count = fields.Integer()
    offset = fields.Integer()
    total = fields.Integer()


class DeliverySchema(Schema):
    """One recipient's outcome."""

    user_id = fields.String(data_key="userId")
    address = fields.String(allow_none=True)
    status = fields.String()
    attempts = fields.Integer()
    reply = fields.String()
    updated_at = Milliseconds(data_key="updatedAt")
    next_attempt_at = Milliseconds(data_key="nextAttemptAt", allow_none=True)


class DeliveriesAnswerSchema(SuccessSchema):
    """A page of outcomes; `next` is the `after` of the page that follows, null at the end."""

    deliveries = fields.List(fields.Nested(DeliverySchema))
    count = fields.Integer()
    next = fields.String(allow_none=True)
