"""What callers and links are known by: tokens by their digests, keys by their fingerprints, never themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from mailer.api.blueprint import ApiBlueprint
from mailer.api.guard import Guard
from mailer.api.requests.fields import Milliseconds, one_line
from mailer.api.schemas import StrictSchema, SuccessSchema
from mailer.callers.revocation import revoke
from mailer.callers.tokens import MANAGE_CAMPAIGNS, MANAGE_USERS, Tokens
from mailer.campaigns.signing.needed import forget_key, known_keys
from mailer.storage.database import Database


class TokenSchema(Schema):
    """A token, without itself. `endsSoon`: its end is near for the time that it was made for."""

    digest = fields.String()
    user_id = fields.String(data_key="userId")
    permissions = fields.List(fields.String())
    label = fields.String(allow_none=True)
    created_at = Milliseconds(data_key="createdAt")
    expires_at = Milliseconds(data_key="expiresAt", allow_none=True)
    last_used_at = Milliseconds(data_key="lastUsedAt", allow_none=True, metadata={"description": "Right to the hour."})
    ends_soon = fields.Boolean(data_key="endsSoon")
    held = fields.Boolean(
        metadata={"description": "It came back with a backup, and does not work until an operator says so."}
    )


class TokensSchema(SuccessSchema):
    """All tokens, the oldest first."""

    tokens = fields.List(fields.Nested(TokenSchema))
    count = fields.Integer()


class RevocationSchema(StrictSchema):
    """Which tokens to end: those whose digest begins so, or all of one user or service."""

    digest = fields.String(
        load_default=None, validate=validate.Regexp(r"[0-9a-f]{8,64}\Z", error="Not 8 to 64 hexadecimal digits.")
    )
    user = fields.String(load_default=None, validate=[validate.Length(1, 255), one_line])

    @validates_schema
    def _one_of_both(self, data: dict[str, Any], **_: Any) -> None:
        if (data.get("digest") is None) == (data.get("user") is None):
            raise ValidationError("One of digest and user is needed.", "digest")


class RevokedSchema(SuccessSchema):
    """How many tokens have ended."""

    revoked = fields.Integer()


class KeySchema(Schema):
    """A key that signs unsubscribe links, or did. Times are right to the hour."""

    fingerprint = fields.String()
    role = fields.String(metadata={"description": "`signs`, `verifies`, or `missing` in the settings."})
    known_at = Milliseconds(data_key="knownAt", allow_none=True)
    last_signed_at = Milliseconds(data_key="lastSignedAt", allow_none=True)
    messages = fields.Integer(metadata={"description": "The most that it has signed."})
    last_used_at = Milliseconds(data_key="lastUsedAt", allow_none=True)
    may_go_at = Milliseconds(data_key="mayGoAt", allow_none=True)
    may_go = fields.Boolean(data_key="mayGo")


class KeysSchema(SuccessSchema):
    """The keys of the settings, first the one that signs, then those that are missing there."""

    keys = fields.List(fields.Nested(KeySchema))


class FingerprintSchema(StrictSchema):
    """Which key to forget."""

    fingerprint = fields.String(
        required=True, validate=validate.Regexp(r"[0-9a-f]{16}\Z", error="Not 16 hexadecimal digits.")
    )


def make_blueprint(db: Database, guard: Guard, fingerprints: Sequence[str]) -> Blueprint:
    """Routes that list and end tokens, and list and forget keys. `fingerprints` are those of the settings."""
    blueprint = ApiBlueprint("Credentials", __name__, url_prefix="/api/v1/mailer")

    @blueprint.route("/tokens")
    @guard.requires(MANAGE_USERS)
    @blueprint.response(200, TokensSchema)
    def list_tokens() -> Any:
        """List all tokens by their digests. They are made on the command line, where nobody else sees them."""
        found = [asdict(one) for one in Tokens(db).list()]
        return {"success": True, "tokens": found, "count": len(found)}

    @blueprint.route("/tokens:revoke", methods=["POST"])
    @guard.requires(MANAGE_USERS)
    @blueprint.arguments(RevocationSchema, example={"user": "ada"})
    @blueprint.response(200, RevokedSchema)
    @blueprint.refuses(404, "There is no such user, or no such token")
    def revoke_tokens(which: dict[str, str | None]) -> Any:
        """End tokens at once and for good."""
        return {"success": True, "revoked": revoke(db, **which)}

    @blueprint.route("/signing-keys")
    @guard.requires(MANAGE_CAMPAIGNS)
    @blueprint.response(200, KeysSchema)
    def list_keys() -> Any:
        """List the keys that sign unsubscribe links, what each has signed, and which may go."""
        return {"success": True, "keys": [asdict(one) for one in known_keys(db, fingerprints)]}

    @blueprint.route("/signing-keys:forget", methods=["POST"])
    @guard.requires(MANAGE_CAMPAIGNS)
    @blueprint.arguments(FingerprintSchema, example={"fingerprint": "0123456789abcdef"})
    @blueprint.response(200, SuccessSchema)
    @blueprint.refuses(404, "There is no such key")
    @blueprint.refuses(409, "The key is in the settings")
    def forget(which: dict[str, str]) -> Any:
        """Forget a key that was taken out of the settings on purpose, so that nobody is warned of it any more."""
        forget_key(db, which["fingerprint"], fingerprints)
        return {"success": True}

    return blueprint
