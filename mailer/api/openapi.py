"""The OpenAPI document: what it says of the whole, and the answers and headers that many operations share."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from apispec import BasePlugin

from mailer.api.schemas import ErrorSchema, NotLoggedInSchema

SERVICE = "campaign-mailer"
INTRODUCTION = """A mass mailer that answers Rocket.Chat's `POST /api/v1/mailer`.

**Credentials.** Every call takes the headers `X-User-Id` and `X-Auth-Token`. On the service's machine
`mailer tokens create --user ID --permission send-mail` makes a token and prints both headers, this once. Where the
service asks a Rocket.Chat workspace who calls (`MAILER_AUTH=workspace`), they are those of the workspace: a personal
access token, or what `POST /api/v1/login` answers. *Authorize* keeps them for the calls of this page.

**Refusals** have no effect whatever. They are JSON, and name the field at fault.
"""
LOGGED_OUT = {
    "status": "error",
    "message": "You must be logged in to do this.",
    "success": False,
    "error": "You must be logged in to do this.",
}
CREDENTIALS = [
    {"name": name, "in": "header", "required": True, "schema": {"type": "string"}, "description": text}
    for name, text in (
        ("X-Auth-Token", "The `authToken` of the authenticated user."),
        ("X-User-Id", "The `userId` of the authenticated user."),
    )
]
SECURITY_SCHEMES = {
    "authToken": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
    "userId": {"type": "apiKey", "in": "header", "name": "X-User-Id"},
}
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


def _whole(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "integer"}}


RETRY_DESCRIBED = {"Retry-After": _whole("Seconds to wait.")}
RATES_DESCRIBED = {
    "X-RateLimit-Limit": _whole("Requests in a window of the tightest limit; absent where there is no limit."),
    "X-RateLimit-Remaining": _whole("How many of them are left."),
    "X-RateLimit-Reset": _whole("When the window ends, in milliseconds since 1970."),
}
RETRY, RATES = (
    {name: {"$ref": f"#/components/headers/{name}"} for name in described}
    for described in (RETRY_DESCRIBED, RATES_DESCRIBED)
)


def service_version() -> str:
    """The version that is installed."""
    return version(SERVICE)


def spec_options() -> dict[str, Any]:
    """What the document says of the whole API, as flask-smorest takes it."""
    return {
        "info": {"description": INTRODUCTION},
        "components": {"securitySchemes": SECURITY_SCHEMES},
        "extra_plugins": [CommonAnswers()],
    }


class CommonAnswers(BasePlugin):
    """Adds to each operation the answers and headers that follow from how it is guarded."""

    def init_spec(self, spec: Any) -> None:
        """Add the two bodies of a refusal and the headers, which operations refer to by name."""
        spec.components.schema("Error", schema=ErrorSchema)
        spec.components.schema("NotLoggedIn", schema=NotLoggedInSchema)

        for name, described in (RATES_DESCRIBED | RETRY_DESCRIBED).items():
            spec.components.header(name, described)

    def schema_helper(self, name: str, definition: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ARG002
        """List as required also the fields in the schema's `described_as_required`.

        marshmallow must not refuse a body without them, since the contract has an error of its own for that.
        """
        schema: Any = kwargs.get("schema")
        more = getattr(schema, "described_as_required", ())
        if not more:
            return {}
        fields = (schema() if isinstance(schema, type) else schema).load_fields.values()
        return {"required": [*sorted(field.data_key or field.name for field in fields if field.required), *more]}

    def operation_helper(self, path: Any = None, operations: Any = None, **_kwargs: Any) -> None:  # noqa: ARG002
        """Complete each operation of a path."""
        for operation in (operations or {}).values():
            _complete(operation)


def _complete(operation: dict[str, Any]) -> None:
    answers = operation["responses"] = {str(status): told for status, told in operation["responses"].items()}
    known = bool(operation.get("security"))
    counted = operation.get("x-rate-limited", False)
    if known:
        operation["parameters"] = [*operation.get("parameters", []), *CREDENTIALS]
        answers["401"] = _refusal("The credentials are missing or do not hold", "NotLoggedIn", LOGGED_OUT)
        answers.setdefault("403", _refusal("The token lacks the permission"))
    if not isinstance(answers.get("400"), dict):
        answers["400"] = _refusal("Something in the request is not as it must be; the text names it")
    answers.setdefault("413", _refusal("The body is too large"))
    answers.setdefault("503", {**_refusal("Nothing was done; try again later"), "headers": RETRY})
    if known or counted:  # failed logins are counted at every operation
        answers["429"] = {**_refusal("Too many requests"), "headers": RETRY | RATES}
    if counted:
        for told in answers.values():
            if isinstance(told, dict):
                told["headers"] = RATES | told.get("headers", {})
    body = operation.get("requestBody", {}).get("content", {})
    if operation.pop("x-takes-forms", False):
        body.update({kind: {"schema": body["application/json"]["schema"]} for kind in FORMS})


def _refusal(text: str, schema: str = "Error", example: Any = None) -> dict[str, Any]:
    described: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
    if example is not None:
        described["example"] = example
    return {"description": text, "content": {"application/json": described}}
