"""The wire's names and types of the audience and of previews."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate

from mailer.api.schemas import MailerSchema, QueryString, StrictSchema, SuccessSchema, storable


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


class SampledSchema(Schema):
    """One of those who would receive it."""

    name = fields.String()
    address = fields.String(metadata={"description": "Masked: `a***@example.com`."})


def _warnings() -> fields.Field[Any]:
    about = "What is probably a slip: fields that no user has, `[words]` that are no placeholders. A sentence each."
    return fields.List(fields.String(), metadata={"description": about})


class AudienceAnswerSchema(SuccessSchema):
    """How many would receive it, and the first of them."""

    count = fields.Integer()
    suppressed = fields.Integer(metadata={"description": "How many more, were their addresses not suppressed."})
    sample = fields.List(fields.Nested(SampledSchema))
    warnings = _warnings()


class PreviewSchema(MailerSchema):
    """The body of `POST /api/v1/mailer/preview`: a campaign's, without `dryrun`."""

    class Meta(StrictSchema.Meta):
        """marshmallow's options."""

        exclude = ("dry_run",)

    user = fields.String(
        load_default=None,
        allow_none=True,
        validate=[validate.Length(min=1), storable],
        metadata={"description": "For whom: a user's `_id`, or else username. Absent: the first whom `query` selects."},
    )


class PreviewAnswerSchema(SuccessSchema):
    """A message as its reader would see it."""

    user_id = fields.String(data_key="userId")
    subject = fields.String()
    html = fields.String()
    text = fields.String()
    warnings = _warnings()
