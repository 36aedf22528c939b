"""Campaigns for people: the list, one of them while it is sent, its outcomes, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, request

from mailer.campaigns import control, progress
from mailer.campaigns.stops import BLOCKED, HELD
from mailer.delivery import minutes
from mailer.errors import InvalidState
from mailer.pages.charts import bars
from mailer.pages.parts import PageParts
from mailer.pages.signed_in import SignIns, signed_in, to_page
from mailer.storage.models import CampaignState, DeliveryStatus
from mailer.storage.models.states import ACTIVE, UNFINISHED, WITH_ISSUES

PAGE, OUTCOMES, MINUTES = 50, 100, 1000
STATUSES = tuple(status.value for status in DeliveryStatus)
STILL = tuple(state for state in CampaignState if state not in ACTIVE)  # nothing changes until a person does something
GOING = (CampaignState.RUNNING, HELD, BLOCKED)  # as a running campaign may be shown
ACTIONS = {
    "pause": (*GOING, CampaignState.RESTING),
    "resume": (CampaignState.PAUSED, CampaignState.RESTING),
    "cancel": (*GOING, *UNFINISHED),
    "retry": (*WITH_ISSUES, CampaignState.PAUSED),
}


def add_routes(blueprint: Blueprint, sign_ins: SignIns, parts: PageParts) -> None:
    """Add the routes. A campaign that the reader may not see is answered like one that does not exist."""
    actions = _actions(parts)

    def find(campaign_id: str) -> progress.Progress:
        return progress.progress(parts.db, campaign_id, signed_in().caller.reach, window=parts.settings.send_window)

    def show(campaign_id: str, said: str = "", status: int = 200) -> Response:
        found = find(campaign_id)
        allowed = {name for name, states in ACTIONS.items() if found.state in states}
        allowed -= set() if found.failed or found.uncertain else {"retry"}
        went = minutes.minutes(parts.db, campaign_id, after=None, count=MINUTES)
        values: dict[str, object] = {
            "one": found,
            "allowed": allowed,
            "said": said,
            "still": found.state in STILL,
            "statuses": STATUSES,
        }
        template = "campaign_now.html" if "now" in request.args else "campaign.html"
        values["chart"] = bars([(one.minute, one.sent) for one in went])
        return sign_ins.page(template, values, status=status)

    @blueprint.get("/")
    @sign_ins.required
    def list_campaigns() -> Response:
        """The newest campaigns, and by `before` the older ones."""
        reach, before = signed_in().caller.reach, request.args.get("before")
        found = progress.page_before(parts.db, reach, PAGE + 1, before, window=parts.settings.send_window)
        more = found[PAGE - 1].id if len(found) > PAGE else None
        values = {"found": found[:PAGE], "more": more, "everybody": reach is None, "before": before}
        return sign_ins.page("campaigns.html", values)

    @blueprint.get("/campaigns/<campaign_id>")
    @sign_ins.required
    def show_campaign(campaign_id: str) -> Response:
        """One campaign; with `now` only the part of the page that changes."""
        return show(campaign_id)

    @blueprint.get("/campaigns/<campaign_id>/outcomes")
    @sign_ins.required
    def list_outcomes(campaign_id: str) -> Response:
        """Its outcomes by user id; `after` continues the list."""
        found, status = find(campaign_id), request.args.get("status")
        status = status if status in STATUSES else None
        rows = progress.deliveries(
            parts.db, campaign_id, status=status, after=request.args.get("after"), count=OUTCOMES + 1
        )
        more = rows[OUTCOMES - 1].user_id if len(rows) > OUTCOMES else None
        values = {"one": found, "rows": rows[:OUTCOMES], "more": more, "status": status, "statuses": STATUSES}
        return sign_ins.page("outcomes.html", values)

    @blueprint.post("/campaigns/<campaign_id>/pause", defaults={"action": "pause"})
    @blueprint.post("/campaigns/<campaign_id>/resume", defaults={"action": "resume"})
    @blueprint.post("/campaigns/<campaign_id>/cancel", defaults={"action": "cancel"})
    @blueprint.post("/campaigns/<campaign_id>/retry", defaults={"action": "retry"})
    @sign_ins.required
    def act(campaign_id: str, action: str) -> Response:
        """Do something with it, and show it again."""
        try:
            actions[action](campaign_id)
        except InvalidState as error:  # somebody else was faster, or it has ended meanwhile
            return show(campaign_id, str(error), error.status)
        parts.engine.wake()
        return to_page(f"campaigns/{campaign_id}")


def _actions(parts: PageParts) -> dict[str, Callable[[str], None]]:
    def cancel(campaign_id: str) -> None:
        skipped = control.cancel(parts.db, campaign_id, signed_in().caller.reach)
        parts.observer.recorded({DeliveryStatus.SKIPPED: skipped})

    return {
        "pause": lambda campaign_id: control.pause(parts.db, campaign_id, signed_in().caller.reach),
        "resume": lambda campaign_id: control.resume(parts.db, campaign_id, signed_in().caller.reach),
        "cancel": cancel,
        "retry": lambda campaign_id: _retry(parts, campaign_id),
    }


def _retry(parts: PageParts, campaign_id: str) -> None:
    again = "uncertain" in request.form
    control.retry_failed(parts.db, campaign_id, signed_in().caller.reach, uncertain=again)
