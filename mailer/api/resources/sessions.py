"""The calls that Rocket.Chat's clients make around a campaign: `login`, `me`, `logout` and `info`."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify, request
from flask_smorest import Blueprint
from marshmallow import INCLUDE, Schema, fields

from mailer.api.blueprint import ApiBlueprint
from mailer.api.guard import Guard, current_caller
from mailer.api.openapi import service_version
from mailer.api.schemas import NotLoggedInSchema, SuccessSchema
from mailer.callers.sessions import Answer, Sessions
from mailer.text import is_http_header_value

SECOND_FACTOR = ("x-2fa-code", "x-2fa-method")


class LoginSchema(Schema):
    """What the workspace takes, passed on as it is: a name and a password, or a token to resume with."""

    class Meta:
        """marshmallow's options."""

        unknown = INCLUDE

    takes_forms = True
    user = fields.Raw(metadata={"type": "string", "description": "A username or an address."})
    username = fields.Raw(metadata={"type": "string"})
    password = fields.Raw(metadata={"type": "string", "format": "password"})
    resume = fields.Raw(metadata={"type": "string", "description": "A token, instead of the password."})
    code = fields.Raw(
        metadata={"type": "string", "description": "Of the second factor; the headers `x-2fa-*` are passed on too."}
    )


class LoginDataSchema(Schema):
    """The two values to send as `X-User-Id` and `X-Auth-Token`."""

    user_id = fields.String(data_key="userId")
    auth_token = fields.String(data_key="authToken")


class LoginAnswerSchema(Schema):
    """The workspace's answer."""

    status = fields.String()
    data = fields.Nested(LoginDataSchema)


class MeSchema(SuccessSchema):
    """The caller: a user document."""

    class Meta:
        """marshmallow's options."""

        unknown = INCLUDE

    id = fields.String(data_key="_id")
    username = fields.String(allow_none=True)
    name = fields.String()
    email = fields.String(allow_none=True)


class InfoSchema(SuccessSchema):
    """The version of this service, not of a workspace."""

    version = fields.String()
    info = fields.Dict()


def make_blueprint(guard: Guard, sessions: Sessions) -> Blueprint:
    """Routes that pass a login on to `sessions`, which answers for this service or asks the workspace."""
    blueprint = ApiBlueprint("Sessions", __name__, url_prefix="/api")

    @blueprint.route("/v1/login", methods=["POST"])
    @guard.opens(limited_as="logins")
    @blueprint.arguments(LoginSchema)
    @blueprint.response(200, LoginAnswerSchema)
    @blueprint.alt_response(401, schema=NotLoggedInSchema, description="Not let in", success=False)
    @blueprint.refuses(403, "Not let in")
    @blueprint.doc(**{"x-takes-forms": True})
    def login(credentials: dict[str, Any]) -> Any:
        """Log in at the workspace; with tokens made here there is nothing to log in to, and the answer says so."""
        return _response(sessions.login(credentials, _second_factor()))

    @blueprint.route("/v1/me")
    @guard.requires()
    @blueprint.response(200, MeSchema)
    def me() -> Any:
        """Who the caller is."""
        return _response(sessions.me(current_caller(), _token()))

    @blueprint.route("/v1/logout", methods=["POST"])
    @guard.requires()
    @blueprint.response(200, SuccessSchema)
    def logout() -> Any:
        """Make the token in hand invalid, also one that was made here on the command line."""
        return _response(sessions.logout(current_caller(), _token(), _second_factor()))

    @blueprint.route("/v1/info")
    @guard.opens()
    @blueprint.response(200, InfoSchema)
    def info() -> Any:
        """The version of this service."""
        return {"success": True, "version": service_version(), "info": {"version": service_version()}}

    blueprint.add_url_rule("/info", "info_unversioned", info)  # where a workspace has it too
    return blueprint


def _token() -> str:
    return request.headers.get("X-Auth-Token", "")


def _second_factor() -> dict[str, str]:
    sent = {name: request.headers.get(name, "") for name in SECOND_FACTOR}
    return {name: value for name, value in sent.items() if value and is_http_header_value(value)}


def _response(answer: Answer) -> Response:
    response = jsonify(answer.body)
    response.status_code = answer.status
    response.headers.update({"Cache-Control": "no-store", **answer.headers})
    return response
