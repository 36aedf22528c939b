"""`reached` and `notReached` of a request: an object that names an earlier campaign, and outcomes in it."""

from __future__ import annotations

from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, post_load, validate

from mailer.api.requests.fields import FormText, storable
from mailer.audience.earlier import USUAL, Earlier
from mailer.files import strict_json
from mailer.storage.models import DeliveryStatus


class EarlierSchema(Schema):
    """An earlier campaign, and which outcomes in it are meant."""

    class Meta:
        """marshmallow's options."""

        unknown = RAISE

    campaign = fields.String(required=True, validate=[validate.Length(min=1), storable])
    outcomes = fields.List(
        fields.Enum(DeliveryStatus, by_value=True, metadata={"type": "string"}),
        load_default=USUAL,
        validate=validate.Length(min=1, error="Names no outcome; leave it out to mean `sent` and `uncertain`."),
        metadata={"description": "Absent: `sent` and `uncertain`, all who may have the message."},
    )

    @post_load
    def _make(self, given: dict[str, Any], **_options: Any) -> Earlier:
        return Earlier(given["campaign"], tuple(given["outcomes"]))


class EarlierField(fields.Nested):
    """The object; in a form, which holds only text, it is written as JSON.

    Null is refused: it may be a variable that was never set, and would mean everybody.
    """

    def __init__(self, name: str, about: str) -> None:
        # a default that is called is not described: null is none that can be sent
        super().__init__(EarlierSchema, data_key=name, load_default=lambda: None, metadata={"description": about})

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, FormText):
            try:
                value = strict_json.loads(value)
            except (ValueError, RecursionError) as error:
                raise ValidationError("Not a JSON object.") from error
        return super()._deserialize(value, *args, **kwargs)


def reached_field() -> EarlierField:
    """The field `reached`."""
    return EarlierField("reached", "Of those whom `query` selects, only who had the campaign, paused or ended by now.")


def not_reached_field() -> EarlierField:
    """The field `notReached`."""
    about = (
        "Of those whom `query` selects, nobody who had the campaign, or whose address had it. Paused or ended by now."
    )
    return EarlierField("notReached", about)
