"""The text of a paused campaign, replaced for whoever is not served yet."""

from __future__ import annotations

from functools import partial, wraps
from http import HTTPStatus

from flask import Blueprint, Response, g, request

from mailer.campaigns.revisions.edit import edit, revisions
from mailer.errors import InvalidParams, InvalidState, MissingUnsubscribeLink
from mailer.pages.campaigns.campaign import find
from mailer.pages.from_below.translation import translated
from mailer.pages.parts import PageParts
from mailer.pages.signed_in import ANEW, SignIns, View, signed_in, to_page

ROOM = 64 * 1024  # bytes of a form beside the body
REFUSED = (InvalidParams, InvalidState, MissingUnsubscribeLink)


def add_routes(blueprint: Blueprint, sign_ins: SignIns, parts: PageParts) -> None:
    """Add the routes. A campaign that the reader may not see is answered like one that does not exist."""
    edit_path = "/campaigns/<campaign_id>/edit"

    @blueprint.before_request
    def make_room() -> None:
        if request.endpoint == f"{blueprint.name}.replace_text":  # a body is larger than other forms
            room = parts.settings.max_body_bytes + ROOM
            request.max_content_length = request.max_form_memory_size = room

    def show(campaign_id: str, typed: dict[str, str], told: str = "", status: int = HTTPStatus.OK) -> Response:
        found = find(parts, campaign_id)
        past = revisions(parts.db, campaign_id, signed_in().caller.reach)
        values: dict[str, object] = {"one": found, "typed": typed, "told": told, "past": past}
        return sign_ins.page("campaigns/edit.html", values, status=status)

    @blueprint.get(edit_path)
    @sign_ins.required
    def show_text_form(campaign_id: str) -> Response:
        """The text as it is now, to be changed, and the versions before."""
        past = revisions(parts.db, campaign_id, signed_in().caller.reach)
        now = {"subject": past[-1].subject, "body": past[-1].body} if past else {}
        return show(campaign_id, {**now, "version": str(find(parts, campaign_id).version)})

    @blueprint.post(edit_path)
    @partial(_keeping, sign_ins, show)
    @sign_ins.required
    def replace_text(campaign_id: str) -> Response:
        """Replace it, unless it has changed since it was shown, and show the campaign."""
        typed = _typed()
        body = typed["body"].replace("\r\n", "\n")  # as browsers send line ends
        try:
            version = int(typed["version"]) if typed["version"].isdecimal() else None
            text = {"subject": _subject(typed["subject"]), "body": body}
            edit(parts.db, parts.settings, campaign_id, signed_in().caller.reach, **text, version=version)
        except REFUSED as error:
            return show(campaign_id, typed, translated(error.text), error.status)
        return to_page(f"campaigns/{campaign_id}")


def _keeping(sign_ins: SignIns, show: View, view: View) -> View:
    """Whoever has signed out or in meanwhile gets back what they have typed, and nothing is done."""

    @wraps(view)
    def kept(campaign_id: str) -> Response:
        try:
            answer = view(campaign_id)
            return answer if "signed_in" in g else sign_ins.signed_out_page()
        except InvalidParams as error:
            if error.details.get("field") != "form" or "body" not in request.form:
                raise
            return show(campaign_id, _typed(), str(ANEW), error.status)

    return kept


def _typed() -> dict[str, str]:
    return {name: request.form.get(name, "") for name in ("subject", "body", "version")}


def _subject(typed: str) -> str:
    if not typed.strip():
        raise InvalidParams("subject: Is empty.", field="subject")
    return typed
