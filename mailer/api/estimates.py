"""How long a campaign would take, as the answers of several requests tell it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from marshmallow import Schema, fields

from mailer.campaigns.estimates.estimate import Estimate, Estimator
from mailer.errors import QueryTimeout

UNCOUNTED = Estimate(why="counting those who would receive it takes too long")


class EstimateSchema(Schema):
    """How long it would take, if it were accepted now."""

    estimated_seconds = fields.Integer(
        data_key="estimatedSeconds",
        allow_none=True,
        metadata={"description": "Until everybody has been tried once. Null: it cannot be known, as while it is held."},
    )
    starts_in = fields.Integer(
        data_key="startsIn",
        allow_none=True,
        metadata={"description": "Seconds until the first message. Null: unknown."},
    )
    estimate = fields.String(
        metadata={"description": "The same for people: `about 25 s, beside one other campaign of 3,000`."}
    )


def estimate_for(estimator: Estimator, caller_id: str, counted: Callable[[], int]) -> Estimate:
    """The estimate for as many people as `counted` finds; if it takes too long, that it does."""
    try:
        return estimator.estimate(caller_id, counted())
    except QueryTimeout:
        return UNCOUNTED


def estimate_fields(found: Estimate) -> dict[str, Any]:
    """The values of an answer with `EstimateSchema`."""
    return {"estimated_seconds": found.estimated_seconds, "starts_in": found.starts_in, "estimate": found.words}
