"""The page on which all campaigns of somebody who leaves are handed over to somebody else."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, request

from mailer.callers.tokens import MANAGE_CAMPAIGNS
from mailer.errors import InvalidParams
from mailer.ownership.transfer import Transferred, transfer
from mailer.pages.from_below.translation import translated
from mailer.pages.parts import PageParts
from mailer.pages.signed_in import SignIns

LONGEST = 255  # characters of an id


def add_routes(blueprint: Blueprint, sign_ins: SignIns, parts: PageParts) -> None:
    """Add the routes."""

    def ask(said: str = "", done: Transferred | None = None, status: int = HTTPStatus.OK) -> Response:
        entered = {"giver": request.form.get("from", ""), "receiver": request.form.get("to", "")}
        values: dict[str, object] = {**({} if done else entered), "said": said, "done": done}
        return sign_ins.page("system/handing_over.html", values, status=status)

    @blueprint.get("/system/handing-over")
    @sign_ins.requires(MANAGE_CAMPAIGNS)
    def ask_who_hands_over() -> Response:
        """Ask from whom and to whom."""
        return ask()

    @blueprint.post("/system/handing-over")
    @sign_ins.requires(MANAGE_CAMPAIGNS)
    def hand_over() -> Response:
        """Hand over, and say what was handed over. Doing it twice hands over nothing more."""
        giver, receiver = (request.form.get(name, "").strip()[:LONGEST] for name in ("from", "to"))
        try:
            return ask(done=transfer(parts.db, giver, receiver))
        except InvalidParams as error:
            return ask(translated(error.text), status=HTTPStatus.BAD_REQUEST)
