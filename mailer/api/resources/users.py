"""The directory over HTTP, for those without a workspace to sync from. For those who manage users."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import request
from flask_smorest import Blueprint
from marshmallow import INCLUDE, Schema, fields

from mailer.api.blueprint import ApiBlueprint, upload_body
from mailer.api.guard import Guard
from mailer.api.requests.uploads import uploaded_text
from mailer.api.schemas import StrictSchema, SuccessSchema
from mailer.directory.changes import Mode
from mailer.directory.imports import ImportOptions, upsert_documents
from mailer.directory.user_files import UserFile
from mailer.directory.user_tables import TableOptions
from mailer.directory.users import Stored, deactivate_user, patch_user, put_user
from mailer.ownership.leaving import Leaving
from mailer.storage.database import Database

PERMISSION = "manage-users"
EXAMPLE = {"name": "Ada Lovelace", "emails": [{"address": "ada@example.org", "verified": True}], "roles": ["user"]}
SUFFIXES = {"application/x-ndjson": ".ndjson", "application/json": ".json", "text/csv": ".csv"}
MAX_PROBLEMS = 100


class DocumentSchema(Schema):
    """A user document, or a part of one: any fields. The directory itself checks them."""

    class Meta:
        """marshmallow's options."""

        unknown = INCLUDE


class LeftSchema(SuccessSchema):
    """What became of what users own who are inactive now, and were active."""

    ended_tokens = fields.Integer(data_key="endedTokens", metadata={"description": "How many tokens of theirs ended."})
    paused_campaigns = fields.List(
        fields.String(), data_key="pausedCampaigns", metadata={"description": "Ids of open ones that were paused."}
    )
    ongoing_campaigns = fields.List(
        fields.String(),
        data_key="ongoingCampaigns",
        metadata={"description": "Ids of open ones that go on, as `MAILER_OWNER_DEACTIVATED` may say."},
    )
    waiting_campaigns = fields.List(
        fields.String(), data_key="waitingCampaigns", metadata={"description": "Ids of those that were paused before."}
    )


class UserAnswerSchema(LeftSchema):
    """The user's document as a query sees it."""

    user = fields.Dict()


class ImportSchema(StrictSchema):
    """What becomes of what the file does not name, and how a table is read."""

    replace = fields.Boolean(load_default=False)
    empty_clears = fields.Boolean(data_key="emptyClears", load_default=False)
    ignore_unknown = fields.Boolean(data_key="ignoreUnknown", load_default=False)


class ProblemSchema(Schema):
    """What keeps mail from a user."""

    user_id = fields.String(data_key="_id")
    field = fields.String()
    reason = fields.String()


class ImportedSchema(LeftSchema):
    """What became of the users in the stream."""

    created = fields.Integer()
    updated = fields.Integer()
    unchanged = fields.Integer()
    erased = fields.Integer(metadata={"description": "How many more were left out, because they were erased"})
    unreachable = fields.Integer(metadata={"description": "How many of them have no address to write to"})
    problems = fields.List(fields.Nested(ProblemSchema), metadata={"description": "Who, the first hundred of them"})
    notes = fields.List(fields.String(), metadata={"description": "What was assumed in reading the file"})


def make_blueprint(db: Database, guard: Guard, *, pause: bool = True) -> Blueprint:
    """Routes that put, change and deactivate single users, and import a file of them.

    `pause`: the open campaigns of those who become inactive are paused.
    """
    blueprint = ApiBlueprint("Users", __name__, url_prefix="/api/v1/mailer")

    @blueprint.route("/users/<user_id>", methods=["PUT"])
    @guard.requires(PERMISSION)
    @blueprint.arguments(DocumentSchema, example=EXAMPLE)
    @blueprint.response(200, UserAnswerSchema)
    @blueprint.alt_response(201, schema=UserAnswerSchema, description="The user is new")
    @blueprint.refuses(400, "Not a user document")
    def put(document: dict[str, Any], user_id: str) -> Any:
        """Add this user, or replace their document."""
        stored = put_user(db, user_id, document, pause=pause)
        return _shown(stored), 201 if stored.created else 200

    @blueprint.route("/users/<user_id>", methods=["PATCH"])
    @guard.requires(PERMISSION)
    @blueprint.arguments(DocumentSchema, example={"customFields": {"plan": "pro"}, "language": None})
    @blueprint.response(200, UserAnswerSchema)
    @blueprint.refuses(400, "Not a user document")
    @blueprint.refuses(404, "No such user")
    def patch(changes: dict[str, Any], user_id: str) -> Any:
        """Change some fields of this user's document; null removes one."""
        return _shown(patch_user(db, user_id, changes, pause=pause))

    @blueprint.route("/users/<user_id>", methods=["DELETE"])
    @guard.requires(PERMISSION)
    @blueprint.response(200, UserAnswerSchema)
    @blueprint.refuses(404, "No such user")
    def deactivate(user_id: str) -> Any:
        """Make this user inactive: no mail, and no valid token. What was sent to them stays on record."""
        return _shown(deactivate_user(db, user_id, pause=pause))

    @blueprint.route("/users:import", methods=["POST"])
    @guard.requires(PERMISSION, streams=True)
    @blueprint.arguments(ImportSchema, location="query")
    @blueprint.response(200, ImportedSchema)
    @blueprint.refuses(400, "A row that is no user")
    @blueprint.doc(requestBody=upload_body(*SUFFIXES))
    def import_stream(wanted: dict[str, Any]) -> Any:
        """Add the users of a file, or change those who are known: all of it or nothing."""
        with uploaded_text(*SUFFIXES) as text:
            users = UserFile(
                text, SUFFIXES[request.mimetype], TableOptions(wanted["empty_clears"], wanted["ignore_unknown"])
            )
            mode = Mode.REPLACE if wanted["replace"] else Mode.MERGE
            result = upsert_documents(db, iter(users), ImportOptions(mode, problems=MAX_PROBLEMS, pause=pause))
            notes = (*users.notes, *result.notes)
        return {"success": True, **asdict(result), "problems": result.problems, "notes": notes, **_left(result.left)}

    return blueprint


def _shown(stored: Stored) -> dict[str, Any]:
    return {"success": True, "user": stored.document, **_left(stored.left)}


def _left(left: Leaving) -> dict[str, Any]:
    campaigns = {"paused_campaigns": left.paused, "ongoing_campaigns": left.ongoing, "waiting_campaigns": left.waiting}
    return {"ended_tokens": left.tokens, **campaigns}
