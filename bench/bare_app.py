"""An endpoint that validates the mailer's body with flask-smorest and does nothing: what any such POST costs."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask_smorest import Api, Blueprint
from marshmallow import Schema, fields

app = Flask(__name__)
app.config.update(API_TITLE="Bare", API_VERSION="1", OPENAPI_VERSION="3.0.3")
blueprint = Blueprint("bare", __name__)


class Letter(Schema):
    """The same fields."""

    sender = fields.String(required=True, data_key="from")
    subject = fields.String(required=True)
    body = fields.String(required=True)
    dryrun = fields.Boolean()
    query = fields.String()


class Success(Schema):
    """The same answer."""

    success = fields.Boolean(required=True)


@blueprint.route("/api/v1/mailer", methods=["POST"])
@blueprint.arguments(Letter)
@blueprint.response(200, Success)
def send(_letter: dict[str, Any]) -> dict[str, bool]:
    """Say yes."""
    return {"success": True}


Api(app).register_blueprint(blueprint)
