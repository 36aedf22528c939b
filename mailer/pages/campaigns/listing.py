"""The list of campaigns, newest first, by state."""

from __future__ import annotations

from flask import Blueprint, Response, request
from flask_babel import lazy_gettext as _

from mailer.campaigns import progress
from mailer.pages.parts import PageParts
from mailer.pages.signed_in import SignIns, signed_in
from mailer.storage.models import CampaignState
from mailer.storage.models.states import ACTIVE, WITH_ISSUES

PAGE = 50
GROUPS = {
    "going": (_("under way"), ACTIVE),
    "paused": (_("paused"), (CampaignState.PAUSED,)),
    "completed": (_("completed"), (CampaignState.COMPLETED,)),
    "issues": (_("with issues"), WITH_ISSUES),
    "cancelled": (_("cancelled"), (CampaignState.CANCELLED,)),
}


def add_routes(blueprint: Blueprint, sign_ins: SignIns, parts: PageParts) -> None:
    """Add the route."""

    @blueprint.get("/")
    @sign_ins.required
    def list_campaigns() -> Response:
        """The newest campaigns, and by `before` the older ones; with `state`, those of one of `GROUPS`."""
        reach, before = signed_in().caller.reach, request.args.get("before")
        group = _group()
        states = GROUPS[group][1] if group else ()
        window = parts.settings.send_window
        found = progress.page_before(parts.db, reach, PAGE + 1, before, states=states, window=window)
        more = found[PAGE - 1].id if len(found) > PAGE else None
        values: dict[str, object] = {"found": found[:PAGE], "more": more, "everybody": reach is None, "before": before}
        values |= {"groups": {name: label for name, (label, _states) in GROUPS.items()}}
        return sign_ins.page("campaigns.html", {**values, "group": group})


def _group() -> str:
    """The group that is asked for; empty: all campaigns."""
    wanted = request.args.get("state", "")
    return wanted if wanted in GROUPS else ""
