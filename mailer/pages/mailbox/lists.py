"""The list of messages, newest first, and deleting them."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from flask import Blueprint, Response, request

from mailer.errors import InvalidParams
from mailer.mailbox import reading
from mailer.mailbox.search import Search, of_delivery, parse
from mailer.pages.from_below.translation import translated
from mailer.pages.parts import PageParts
from mailer.pages.signed_in import SignIns, signed_in, to_page

PAGE = 50
_CHOSEN = ("q", "campaign", "user")  # what says which messages are listed


def add_routes(blueprint: Blueprint, sign_ins: SignIns, parts: PageParts) -> None:
    """Add the routes. Who manages campaigns sees all messages, others those of their own campaigns."""
    db = parts.db

    @blueprint.get("/mailbox/")
    @sign_ins.required
    def list_messages() -> Response:
        """The newest messages; `q` looks for some, `before` continues the list, and `now` is the part that changes."""
        reach = signed_in().caller.reach
        try:
            search, said = wanted(), ""
        except InvalidParams as error:
            return _page(sign_ins, [], None, said=translated(error.text), status=error.status)
        found = reading.page(db, reach, search, PAGE + 1, before=_before())
        if len(found) == 1 and request.args.get("user") and "q" not in request.args:
            return to_page(f"mailbox/{found[0].id}")
        total = None if search.conditions else reading.count(db, reach)
        return _page(sign_ins, found, total, said=said)

    @blueprint.post("/mailbox/delete")
    @sign_ins.required
    def delete_messages() -> Response:
        """Delete all messages that one may see; with `q`, those found."""
        reading.remove(db, signed_in().caller.reach, wanted())
        return to_page("mailbox/")


def wanted() -> Search:
    """What the request asks for: the messages of a campaign, of one delivery, or those that are looked for.

    Raises `InvalidParams`.
    """
    campaign, user = request.values.get("campaign"), request.values.get("user")
    of_campaign = of_delivery(campaign, user or None) if campaign else Search()
    return Search((*of_campaign.conditions, *parse(request.values.get("q", "")).conditions))


def _page(
    sign_ins: SignIns,
    found: Sequence[reading.Listed],
    total: int | None,
    *,
    said: str = "",
    status: int = HTTPStatus.OK,
) -> Response:
    values: dict[str, object] = {
        "found": found[:PAGE],
        "more": found[PAGE - 1].id if len(found) > PAGE else None,
        "total": total,
        "said": said,
        "before": request.args.get("before"),
        "chosen": {name: value for name in _CHOSEN if (value := request.args.get(name))},
    }
    template = "mailbox/list_now.html" if "now" in request.args else "mailbox/list.html"
    return sign_ins.page(template, values, status=status)


def _before() -> int | None:
    text = request.args.get("before", "")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
    return number if number is None or number <= reading.LARGEST else None
