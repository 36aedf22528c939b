"""The parameters that say which outcomes of a campaign are meant, the same for a list and for a file."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from mailer.api.requests.fields import WireAddress, WireBoolean, storable
from mailer.api.schemas import StrictSchema
from mailer.campaigns.deliveries import Wanted
from mailer.storage.models import DeliveryStatus


class OutcomesSchema(StrictSchema):
    """Which outcomes: all, or those for which everything holds that is given."""

    status = fields.String(load_default=None, validate=validate.OneOf([status.value for status in DeliveryStatus]))
    user_id = fields.String(data_key="userId", load_default=None, validate=storable)
    address = WireAddress(load_default=None, validate=storable, metadata={"description": "In any case."})
    bounced = WireBoolean(
        load_default=None,
        metadata={"type": "boolean", "description": "`true`: only those that came back after they were sent."},
    )
    complained = WireBoolean(
        load_default=None,
        metadata={"type": "boolean", "description": "`true`: only those that their recipient marked as spam."},
    )


def wanted_of(given: dict[str, Any]) -> Wanted:
    """Which outcomes the parameters mean, as `OutcomesSchema` has read them."""
    return Wanted(
        status=given["status"],
        user_id=given["user_id"],
        address=given["address"],
        bounced=given["bounced"],
        complained=given["complained"],
    )
