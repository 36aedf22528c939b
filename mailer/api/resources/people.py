"""People: found, shown with all that keeps mail from them, acted upon, exported and erased. For who manages users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask_smorest import Blueprint
from marshmallow import Schema, fields, validate

from mailer.api.blueprint import ApiBlueprint, KeysetSchema
from mailer.api.guard import Guard
from mailer.api.requests.fields import storable
from mailer.api.schemas import StrictSchema, SuccessSchema
from mailer.audience.search import LONGEST, search
from mailer.audit.log import MAX_NOTE
from mailer.callers.tokens import MANAGE_USERS
from mailer.campaigns.people.actions import Action, act
from mailer.campaigns.people.erasure import erase
from mailer.campaigns.people.explain import explain
from mailer.campaigns.people.explained import explanation_as_json
from mailer.campaigns.people.export import export_person, outcome_as_json, person_as_json
from mailer.campaigns.people.outcomes import page_of_outcomes
from mailer.campaigns.people.person import person
from mailer.campaigns.people.readmission import MOST_ADDRESSES, readmit
from mailer.errors import InvalidParams
from mailer.settings.send_window import SendWindow
from mailer.storage.database import Database


class SearchSchema(KeysetSchema):
    """Whom to look for: in ids, user names, names and addresses."""

    wanted = fields.String(data_key="search", load_default="", validate=[validate.Length(max=LONGEST), storable])


class FoundSchema(Schema):
    """Somebody who was found, and whether they are written to."""

    id = fields.String(data_key="_id")
    username = fields.String(allow_none=True)
    name = fields.String()
    email = fields.String(data_key="address", allow_none=True)
    state = fields.Function(lambda user: user.state.value, metadata={"type": "string"})


class FoundAnswerSchema(SuccessSchema):
    """A page of people; `next` is the `after` of the page that follows, null at the end."""

    users = fields.List(fields.Nested(FoundSchema))
    count = fields.Integer()
    next = fields.String(allow_none=True)
    cut_short = fields.Boolean(
        data_key="cutShort",
        metadata={"description": "The time for one search was over; ask on with `next`."},
    )


class PersonAnswerSchema(SuccessSchema):
    """One person, as `mailer users export` writes them, but for their campaigns."""

    person = fields.Dict()


class OutcomesAnswerSchema(SuccessSchema):
    """A page of a person's outcomes, the newest campaign first; `next` is the `after` of the page that follows."""

    campaigns = fields.List(fields.Dict())
    count = fields.Integer()
    next = fields.String(allow_none=True)


class ExplainSchema(KeysetSchema):
    """Which campaigns to explain: one, or `count` of them from the one after `after` on, the newest first."""

    campaign = fields.String(load_default=None, validate=storable)
    count = fields.Integer(load_default=20, validate=validate.Range(1, 100))


class ExplanationSchema(SuccessSchema):
    """The users who are meant, each with all campaigns of the page.

    `address` is what is known of an address that nobody has. `twice` has the ways in which a message may have come
    twice. `next` is the `after` of the page that follows, null at the end.
    """

    users = fields.List(fields.Dict())
    address = fields.Dict(allow_none=True)
    twice = fields.List(fields.Dict())
    next = fields.String(allow_none=True)


class NoteSchema(StrictSchema):
    """What to write down: why, and who asked for it."""

    note = fields.String(load_default="", validate=[validate.Length(max=MAX_NOTE), storable])


class ConfirmedSchema(StrictSchema):
    """The id of whom to erase, once more."""

    user_id = fields.String(data_key="_id", required=True)


class ReadmittedSchema(StrictSchema):
    """Who comes back: the id, every address, or both. What is not named stays erased."""

    user_id = fields.String(data_key="_id", load_default="", validate=storable)
    addresses = fields.List(
        fields.String(validate=storable), load_default=list, validate=validate.Length(max=MOST_ADDRESSES)
    )


class ReadmittedAnswerSchema(SuccessSchema):
    """Whether the id was that of somebody who was erased, and how many of the addresses were."""

    user = fields.Boolean()
    addresses = fields.Integer()


class ErasedSchema(SuccessSchema):
    """Who was erased, and in how many campaigns outcomes of theirs stay."""

    user_id = fields.String(data_key="_id")
    campaigns = fields.Integer()


def make_blueprint(db: Database, guard: Guard, *, merge: bool = False, window: SendWindow | None = None) -> Blueprint:
    """Routes about single people. `merge`: users who share an address subscribe again together.

    `window` are the hours in which mail goes out.
    """
    blueprint = ApiBlueprint("People", __name__, url_prefix="/api/v1/mailer")
    _add_reading(blueprint, db, guard, window)

    for action in Action:
        _add_action(blueprint, db, guard, action, merge=merge)

    @blueprint.route("/users/<user_id>/erase", methods=["POST"])
    @guard.requires(MANAGE_USERS)
    @blueprint.arguments(ConfirmedSchema, example={"_id": "ada"})
    @blueprint.response(200, ErasedSchema)
    @blueprint.refuses(404, "No such user")
    @blueprint.refuses(409, "A campaign that is not over has an address of theirs in what it says")
    def erase_person(body: dict[str, Any], user_id: str) -> Any:
        """Erase a person for good: name, document and addresses. Outcomes stay by id, and nothing brings them back."""
        if body["user_id"] != user_id:
            raise InvalidParams("_id: Is not the one in the address.", field="_id")
        done = erase(db, user_id)
        return {"success": True, "user_id": done.user_id, "campaigns": done.campaigns}

    _add_readmission(blueprint, db, guard)
    return blueprint


def _add_readmission(blueprint: ApiBlueprint, db: Database, guard: Guard) -> None:
    @blueprint.route("/users:readmit", methods=["POST"])
    @guard.requires(MANAGE_USERS)
    @blueprint.arguments(ReadmittedSchema, example={"_id": "ada", "addresses": ["ada@example.com"]})
    @blueprint.response(200, ReadmittedAnswerSchema)
    @blueprint.refuses(404, "Nobody who was erased had any of it")
    def readmit_person(body: dict[str, Any]) -> Any:
        """Let somebody who was erased be imported again, since they have asked to join again."""
        done = readmit(db, body["user_id"], body["addresses"])
        return {"success": True, "user": done.user, "addresses": done.addresses}


def _add_reading(blueprint: ApiBlueprint, db: Database, guard: Guard, window: SendWindow | None) -> None:
    @blueprint.route("/users")
    @guard.requires(MANAGE_USERS)
    @blueprint.arguments(SearchSchema, location="query")
    @blueprint.response(200, FoundAnswerSchema)
    def find(wanted: dict[str, Any]) -> Any:
        """Who has a text in their id, user name, name or address; without one everybody, by id."""
        found = search(db, wanted["wanted"], after=wanted["after"], count=wanted["count"])
        shown = {"users": found.people, "count": len(found.people), "next": found.following}
        return {"success": True, **shown, "cut_short": found.cut_short}

    @blueprint.route("/users/<user_id>")
    @guard.requires(MANAGE_USERS)
    @blueprint.response(200, PersonAnswerSchema)
    @blueprint.refuses(404, "No such user")
    def show(user_id: str) -> Any:
        """One person: their document, whether they are written to and why not, and notes about them."""
        return {"success": True, "person": person_as_json(person(db, user_id))}

    @blueprint.route("/users/<user_id>/campaigns")
    @guard.requires(MANAGE_USERS)
    @blueprint.arguments(KeysetSchema, location="query")
    @blueprint.response(200, OutcomesAnswerSchema)
    @blueprint.refuses(404, "No such user")
    def list_outcomes(page: dict[str, Any], user_id: str) -> Any:
        """Every campaign with an outcome of this person, the newest first; `after` continues the listing."""
        known = person(db, user_id).user.id
        found = page_of_outcomes(db, known, before=page["after"], count=page["count"])
        following = found[-1].campaign_id if len(found) == page["count"] else None
        return {"success": True, "campaigns": _shown(found), "count": len(found), "next": following}

    @blueprint.route("/users/<whom>/explain")
    @guard.requires(MANAGE_USERS)
    @blueprint.arguments(ExplainSchema, location="query")
    @blueprint.response(200, ExplanationSchema)
    @blueprint.refuses(404, "No such user or campaign")
    def explain_person(page: dict[str, Any], whom: str) -> Any:
        """What came of somebody in each campaign, and where nothing did, why; by id, user name or address."""
        wanted = {"campaign_id": page["campaign"], "before": page["after"], "count": page["count"]}
        return {"success": True, **explanation_as_json(explain(db, whom, **wanted, window=window))}

    @blueprint.route("/users/<user_id>/export")
    @guard.requires(MANAGE_USERS)
    @blueprint.response(200, content_type="application/json")
    @blueprint.refuses(404, "No such user")
    def export(user_id: str) -> Any:
        """All that there is about one person, as one JSON document."""
        return export_person(db, user_id)


def _add_action(blueprint: ApiBlueprint, db: Database, guard: Guard, action: Action, *, merge: bool) -> None:
    def do(body: dict[str, Any], user_id: str) -> Any:
        known = act(db, user_id, action, body["note"], merged=merge)
        return {"success": True, "person": person_as_json(person(db, known))}

    do.__name__ = f"{action.value}_person"
    do.__doc__ = f"{_SUMMARIES[action]} The note is shown with the person and in the audit log."
    view = blueprint.response(200, PersonAnswerSchema)(do)
    view = blueprint.arguments(NoteSchema, example={"note": "asked by telephone"})(view)
    blueprint.route(f"/users/<user_id>/{action.value}", methods=["POST"])(guard.requires(MANAGE_USERS)(view))


_SUMMARIES = {
    Action.UNSUBSCRIBE: "Write to this person no more, as they wish.",
    Action.SUBSCRIBE: "Write to this person again, as they wish.",
    Action.BLOCK: "Write to this person's address no more, whoever has it.",
    Action.LIFT: "Write to this person's address again, and count its refusals anew.",
}


def _shown(outcomes: Sequence[Any]) -> list[dict[str, Any]]:
    return [outcome_as_json(one) for one in outcomes]
