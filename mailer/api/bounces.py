"""Bounces and complaints that providers post. No caller's token: a signature or a secret proves who it is."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from flask import request
from flask_smorest import Blueprint
from marshmallow import fields

from mailer.api.blueprint import ApiBlueprint
from mailer.api.guard import Guard
from mailer.api.schemas import NotLoggedInSchema, SuccessSchema
from mailer.bounces.providers.base import Posted, Provider
from mailer.bounces.report import Record, Report
from mailer.errors import NotFound, ProviderUnavailable

log = logging.getLogger(__name__)

DESCRIBED = {  # each provider has a form of its own; the signature decides before anybody reads it
    "required": True,
    "content": {"application/json": {"schema": {}}},
}


class RecordedSchema(SuccessSchema):
    """What became of the reports in the request. `unknown`: of no message of ours."""

    bounced = fields.Integer()
    complained = fields.Integer()
    unsubscribed = fields.Integer()
    delayed = fields.Integer(metadata={"description": "Still being tried; nothing follows from it yet"})
    repeated = fields.Integer(metadata={"description": "Known already; nothing has changed"})
    not_ours = fields.Integer(
        data_key="unknown", attribute="unknown", metadata={"description": "Of no message of ours; nothing has changed"}
    )


def make_blueprint(guard: Guard, providers: Mapping[str, Provider], record: Record) -> Blueprint:
    """The route that providers post to. Whoever is not set up finds nothing there."""
    blueprint = ApiBlueprint("Bounces", __name__, url_prefix="/api/v1/mailer")

    @blueprint.route("/bounces/<provider>", methods=["POST"])
    @guard.proves()
    @blueprint.response(200, RecordedSchema)
    @blueprint.alt_response(401, schema=NotLoggedInSchema, description="Not from the provider", success=False)
    @blueprint.refuses(404, "This provider is not set up")
    @blueprint.refuses(429, "Too many requests of this client were not from the provider")
    @blueprint.doc(requestBody=DESCRIBED)
    def take(provider: str) -> Any:
        """Take what a provider tells of messages; a repetition changes nothing, nor does what it tells of others."""
        found = providers.get(provider)
        if found is None:
            raise NotFound("This provider is not set up.")
        posted = _posted()
        recorded = record(_reports(found, posted))
        found.recorded(posted)
        told = recorded._asdict()
        if any(told.values()):
            log.info("%s: %s", provider, ", ".join(f"{count} {what}" for what, count in told.items() if count))
        return {"success": True, **told}

    return blueprint


def _reports(provider: Provider, posted: Posted) -> Sequence[Report]:
    try:
        return provider.reports(posted)
    except ProviderUnavailable as error:
        log.warning("%s: not taken: %s", provider.name, error.text)
        raise


def _posted() -> Posted:
    sent = request.authorization
    password = sent.password if sent is not None and sent.type == "basic" else None
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Posted(request.get_data(), headers, password, int(time.time() * 1000))
