"""The page on which somebody who was erased is let in again, since they have asked to join again."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, request

from mailer.callers.tokens import MANAGE_USERS
from mailer.campaigns.people.readmission import MOST_ADDRESSES, readmit
from mailer.errors import InvalidParams, NotFound
from mailer.pages.from_below.translation import translated
from mailer.pages.parts import PageParts
from mailer.pages.signed_in import SignIns, to_page
from mailer.text import is_storable

LONGEST = 5_000  # characters of the field for addresses


def add_routes(blueprint: Blueprint, sign_ins: SignIns, parts: PageParts) -> None:
    """Add the routes."""

    def ask(said: str = "", status: int = HTTPStatus.OK) -> Response:
        entered = {name: request.form.get(name, "") for name in ("user_id", "addresses")}
        done = (request.args.get("user") == "1", request.args.get("addresses", "")[:9])
        values = {**entered, "said": said, "most": MOST_ADDRESSES, "done": done}
        return sign_ins.page("people/readmit.html", values, status=status)

    @blueprint.get("/readmit")
    @sign_ins.requires(MANAGE_USERS)
    def ask_whom_to_readmit() -> Response:
        """Ask for all that the person comes back with."""
        return ask()

    @blueprint.post("/readmit")
    @sign_ins.requires(MANAGE_USERS)
    def readmit_person() -> Response:
        """Forget the hashes of what was entered."""
        user_id, addresses = request.form.get("user_id", "").strip(), request.form.get("addresses", "")[:LONGEST]
        if not is_storable(user_id + addresses):
            return ask(translated("Has a NUL or half a character."), HTTPStatus.BAD_REQUEST)
        try:
            done = readmit(parts.db, user_id, addresses.split())
        except (InvalidParams, NotFound) as error:
            return ask(translated(error.text), error.status)
        return to_page(f"readmit?user={int(done.user)}&addresses={done.addresses}")
