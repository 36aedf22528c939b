"""The bodies of requests and answers that several resources share. Their names stop here: views get plain values."""

from __future__ import annotations

from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate, validates_schema

from mailer.api.requests.earlier import not_reached_field, reached_field
from mailer.api.requests.fields import (
    Milliseconds,
    QueryString,
    WireAddresses,
    WireBoolean,
    WireCount,
    WireMailbox,
    WireString,
    one_line,
    storable,
)
from mailer.audience.bounds import MOST
from mailer.audience.named_addresses import MOST as MOST_NAMED
from mailer.storage.models import CampaignState, Priority


class StrictSchema(Schema):
    """Refuses unknown fields."""

    class Meta:
        """marshmallow's options."""

        unknown = RAISE


def _expected(name: str, otherwise: str) -> WireCount:
    about = f"If {otherwise} would receive it, it is paused and nothing is sent. A dry run does not look at it."
    kind = {"type": "integer", "minimum": 0, "maximum": MOST, "description": about}
    return WireCount(data_key=name, load_default=lambda: None, metadata=kind)  # a default that is called is not shown


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
    reply_to = WireMailbox(
        data_key="replyTo",
        load_default=None,
        allow_none=True,
        metadata={"description": "Where answers go, bare or as `Name <address>`. Absent: to the address in `from`."},
    )
    priority = fields.Enum(
        Priority,
        by_value=True,
        load_default=None,
        allow_none=True,
        metadata={
            "type": "string",
            "description": "How large a share it gets while others wait. Absent: by its size. `urgent` needs a "
            "permission.",
        },
    )
    reached = reached_field()
    not_reached = not_reached_field()
    min_recipients = _expected("minRecipients", "fewer")
    max_recipients = _expected("maxRecipients", "more")

    to = WireAddresses(
        load_default=lambda: None,
        metadata={
            "type": "array",
            "items": {"type": "string", "format": "email"},
            "minItems": 1,
            "maxItems": MOST_NAMED,
            "description": "With `dryrun`: these get the one message, instead of the address in `from`. Who has "
            "unsubscribed, and a suppressed address, are skipped.",
        },
    )

    inline_css = WireBoolean(
        data_key="inlineCss",
        load_default=False,
        allow_none=True,
        metadata={
            "oneOf": [{"type": "boolean"}, {"type": "string", "enum": ["true", "false"]}],
            "default": False,
            "description": "If true, the CSS of an HTML body's style sheets is also written into the elements that it "
            "is about. Nothing is loaded from elsewhere.",
        },
    )

    @validates_schema
    def _in_order(self, given: dict[str, Any], **_options: Any) -> None:
        least, most = given.get("min_recipients"), given.get("max_recipients")
        if least is not None and most is not None and least > most:
            raise ValidationError("Is less than minRecipients.", "maxRecipients")


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


class WarnedSchema(Schema):
    """What is probably a slip."""

    warnings = fields.List(
        fields.String(),
        metadata={
            "description": "What is probably a slip, a sentence each: fields that no user has, `[words]` that are no "
            "placeholders, a hidden unsubscribe link, links without https or shortened, a message that Gmail cuts, "
            "images without alt text, a sender for whom this service may not send, a campaign that was for nobody."
        },
    )
    warning_codes = fields.List(
        fields.String(), data_key="warningCodes", metadata={"description": "The codes of `warnings`, in their order."}
    )


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


SHOWN_STATES = [*(state.value for state in CampaignState), "held", "blocked", "cancelling"]


class CampaignSchema(WarnedSchema):
    """How a campaign goes. Its message is looked at for `warnings` only where it is asked for alone."""

    id = fields.String(data_key="_id")
    caller_id = fields.String(data_key="callerId")
    state = fields.String(
        validate=validate.OneOf(SHOWN_STATES),
        metadata={
            "description": "`resting`: it alone waits after trouble of its own. `held`: an operator holds all sending. "
            "`failed`: it cannot be sent."
        },
    )
    reason = fields.String(
        allow_none=True, metadata={"description": "Why it stands still, has failed or does not get on."}
    )
    subject = fields.String()
    dry_run = fields.Boolean(data_key="dryrun")
    priority = fields.String(
        allow_none=True,
        validate=validate.OneOf([priority.value for priority in Priority]),
        metadata={"description": "Null until it is planned, where the request named none. A dry run is `urgent`."},
    )
    min_recipients = fields.Integer(
        data_key="minRecipients", allow_none=True, metadata={"description": "How many its caller expects at least."}
    )
    max_recipients = fields.Integer(
        data_key="maxRecipients", allow_none=True, metadata={"description": "How many its caller expects at most."}
    )
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
    version = fields.Integer(
        metadata={"description": "Of its subject and body, which can be replaced while it is paused; 1 is the first."}
    )
    unsubscribed = fields.Integer(
        metadata={"description": "How many people have left because of it: by link, one click, mail or complaint."}
    )
    bounced = fields.Integer(
        metadata={"description": "How many of its messages came back after they were sent; they stay `sent`."}
    )
    complained = fields.Integer(metadata={"description": "How many recipients marked its message as spam."})
    created_at = Milliseconds(data_key="createdAt")
    started_at = Milliseconds(data_key="startedAt", allow_none=True)
    finished_at = Milliseconds(data_key="finishedAt", allow_none=True)


class CampaignAnswerSchema(SuccessSchema):
    """One campaign."""

    campaign = fields.Nested(CampaignSchema)
