"""One person: whether they get mail and why not, what came of them in every campaign, and what can be done."""

from __future__ import annotations

import json
from http import HTTPStatus

from flask import Blueprint, Response, request

from mailer.audit.log import MAX_NOTE
from mailer.callers.tokens import MANAGE_USERS
from mailer.campaigns.people import export, outcomes
from mailer.campaigns.people import person as people
from mailer.campaigns.people.actions import Action, act, possible
from mailer.campaigns.people.explain import Explanation, copies_of, explain
from mailer.errors import InvalidState
from mailer.pages.from_below.translation import translated
from mailer.pages.parts import PageParts
from mailer.pages.people.people_search import place_of
from mailer.pages.signed_in import SignIns, signed_in, to_page

CAMPAIGNS = 25  # on a page


def _explained(parts: PageParts, user_id: str) -> Explanation:
    """Every campaign of the page, also those without an outcome."""
    before, window = request.args.get("before"), parts.settings.send_window
    return explain(parts.db, user_id, before=before, count=CAMPAIGNS, window=window)


def add_routes(blueprint: Blueprint, sign_ins: SignIns, parts: PageParts) -> None:
    """Add the routes."""
    merge = parts.settings.merge_addresses

    def show(user_id: str, said: str = "", status: int = HTTPStatus.OK) -> Response:
        found, before = people.person(parts.db, user_id), request.args.get("before")
        rows = outcomes.page_of_outcomes(parts.db, found.user.id, before=before, count=CAMPAIGNS + 1)
        more = rows[CAMPAIGNS - 1].campaign_id if len(rows) > CAMPAIGNS else None
        caller = signed_in().caller
        explained = _explained(parts, found.user.id) if "every" in request.args else None
        copies = explained.copies if explained else copies_of(parts.db, found.user.id, before=before, count=CAMPAIGNS)
        values: dict[str, object] = {
            "one": found.user,
            "found": found,
            "possible": {action.value for action in possible(found)},
            "rows": rows[:CAMPAIGNS],
            "more": more,
            "before": before,
            "merge": merge,
            "reach": caller.reach,
            "sees_campaigns": {"send-mail", "manage-campaigns"} & caller.permissions,
            "document": json.dumps(found.user.document, ensure_ascii=False, indent=2),
            "longest": MAX_NOTE,
            "explained": explained,
            "copies": copies,
            "said": said,
            "note": request.form.get("note", ""),
        }
        return sign_ins.page("people/person.html", values, status=status)

    @blueprint.get("/people/<user_id>")
    @sign_ins.requires(MANAGE_USERS)
    def show_person(user_id: str) -> Response:
        """The person with this id or user name; `before` continues their campaigns, `every` explains all of them."""
        return show(user_id)

    @blueprint.post("/people/<user_id>/unsubscribe", defaults={"action": Action.UNSUBSCRIBE})
    @blueprint.post("/people/<user_id>/subscribe", defaults={"action": Action.SUBSCRIBE})
    @blueprint.post("/people/<user_id>/block", defaults={"action": Action.BLOCK})
    @blueprint.post("/people/<user_id>/lift", defaults={"action": Action.LIFT})
    @sign_ins.requires(MANAGE_USERS)
    def act_upon(user_id: str, action: Action) -> Response:
        """Do something about the person, with a note, and show them again."""
        try:
            known = act(parts.db, user_id, action, request.form.get("note", "")[:MAX_NOTE], merged=merge)
        except InvalidState as error:
            return show(user_id, translated(error.text), error.status)
        return to_page(place_of(known))

    @blueprint.get("/people/<user_id>/export")
    @sign_ins.requires(MANAGE_USERS)
    def export_person(user_id: str) -> Response:
        """All that there is about the person, as a file."""
        exported = json.dumps(export.export_person(parts.db, user_id), ensure_ascii=False, indent=2)
        answer = Response(exported + "\n", mimetype="application/json")
        answer.headers["Content-Disposition"] = 'attachment; filename="person.json"'
        answer.headers["Cache-Control"] = "no-store"
        return answer
