"""The page on which somebody is erased: what goes, what stays, and the id to be typed."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, request
from flask_babel import gettext

from mailer.callers.tokens import MANAGE_USERS
from mailer.campaigns.people.erasure import erase
from mailer.campaigns.people.person import person
from mailer.errors import InvalidState
from mailer.pages.from_below.translation import translated
from mailer.pages.parts import PageParts
from mailer.pages.people.people_search import FOLDER
from mailer.pages.signed_in import SignIns, to_page


def add_routes(blueprint: Blueprint, sign_ins: SignIns, parts: PageParts) -> None:
    """Add the routes."""

    def ask(user_id: str, said: str = "", status: int = HTTPStatus.OK) -> Response:
        found = person(parts.db, user_id)
        values = {"one": found.user, "said": said, "typed": request.form.get("typed", "")}
        return sign_ins.page("people/erase.html", values, status=status)

    @blueprint.get("/people/<user_id>/erase")
    @sign_ins.requires(MANAGE_USERS)
    def ask_before_erasing(user_id: str) -> Response:
        """Say what goes and what stays, and ask for the id."""
        return ask(user_id)

    @blueprint.post("/people/<user_id>/erase")
    @sign_ins.requires(MANAGE_USERS)
    def erase_person(user_id: str) -> Response:
        """Erase the person whose id was typed."""
        known = person(parts.db, user_id).user.id
        if request.form.get("typed", "").strip() != known:
            said = gettext("Type the id as it stands above. Nothing was erased.")
            return ask(user_id, said, HTTPStatus.BAD_REQUEST)
        try:
            done = erase(parts.db, known)
        except InvalidState as error:  # a campaign that is not over says the address
            return ask(user_id, translated(error.text), error.status)
        return to_page(f"{FOLDER}?erased={done.campaigns}")
