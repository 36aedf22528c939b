"""For whoever keeps the service running: is the process alive, can it work, what should a person see to."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, jsonify
from webargs.flaskparser import FlaskParser

from mailer.api.requests.fields import WireBoolean
from mailer.api.requests.parser import StrictParser
from mailer.api.schemas import StrictSchema
from mailer.operation.health import Health


class ReadySchema(StrictSchema):
    """With `strict`, a transport that does not work, or an engine whose broker is away, counts as down."""

    strict = WireBoolean(load_default=False)


_PARSER: FlaskParser = StrictParser()


def make_blueprint(health: Health) -> Blueprint:
    """`/healthz`: the process is alive. `/readyz`: 200 if it can do its work, 503 if it cannot."""
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/healthz")
    def healthz() -> Any:
        return jsonify(status="ok")

    @blueprint.get("/readyz")
    @_PARSER.use_args(ReadySchema, location="query")
    def readyz(asked: dict[str, bool]) -> Any:
        seen = health.look(strict=asked["strict"])
        parts = {name: problem or "ok" for name, problem in seen.parts.items()} | dict(seen.notes)
        status = "down" if seen.down else "ready"
        return jsonify(status=status, **parts, warnings=list(seen.warnings)), 503 if seen.down else 200

    return blueprint
