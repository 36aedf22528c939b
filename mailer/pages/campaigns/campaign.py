"""One campaign: how it goes, in numbers and charts, and what to do about what went wrong."""

from __future__ import annotations

from flask import Blueprint, Response, request
from flask_babel import lazy_gettext as _

from mailer.campaigns import progress
from mailer.campaigns.checks.message_checks import checks
from mailer.campaigns.checks.warned import text_of
from mailer.campaigns.estimates.estimate import duration
from mailer.campaigns.reports.report import report
from mailer.campaigns.reports.said import said
from mailer.campaigns.reports.timeline import timeline
from mailer.campaigns.revisions.served import served
from mailer.campaigns.stops import BLOCKED, HELD
from mailer.delivery import minutes
from mailer.errors import NotFound
from mailer.pages.campaigns.charts import bars, domain_bars
from mailer.pages.parts import PageParts
from mailer.pages.signed_in import SignIns, signed_in
from mailer.storage.models import CampaignState, DeliveryStatus
from mailer.storage.models.states import ACTIVE, UNFINISHED, WITH_ISSUES

EVENTS = 200  # of its timeline, from the beginning
MINUTES = 10_000  # with outcomes in them, that the chart shows
STATUSES = {
    DeliveryStatus.SENT.value: _("sent"),
    DeliveryStatus.FAILED.value: _("failed"),
    DeliveryStatus.DEFERRED.value: _("deferred"),
    DeliveryStatus.UNCERTAIN.value: _("uncertain"),
    DeliveryStatus.SKIPPED.value: _("skipped"),
}
STILL = tuple(state for state in CampaignState if state not in ACTIVE)  # nothing changes until a person does something
GOING = (CampaignState.RUNNING, HELD, BLOCKED)  # as a running campaign may be shown
ACTIONS = {
    "pause": (*GOING, CampaignState.RESTING),
    "resume": (CampaignState.PAUSED, CampaignState.RESTING),
    "cancel": (*GOING, *UNFINISHED),
    "retry": (*WITH_ISSUES, CampaignState.PAUSED),
}


def add_routes(blueprint: Blueprint, sign_ins: SignIns, parts: PageParts) -> None:
    """Add the route. A campaign that the reader may not see is answered like one that does not exist."""

    @blueprint.get("/campaigns/<campaign_id>")
    @sign_ins.required
    def show_campaign(campaign_id: str) -> Response:
        """One campaign; with `now` only the part of the page that changes."""
        return show(sign_ins, parts, campaign_id)


def show(sign_ins: SignIns, parts: PageParts, campaign_id: str, told: str = "", status: int = 200) -> Response:
    """The page of a campaign; `told` is why something could not be done with it. Raises `NotFound`."""
    found = find(parts, campaign_id)
    allowed = {name for name, states in ACTIONS.items() if found.state in states}
    allowed -= set() if found.failed or found.uncertain else {"retry"}
    values: dict[str, object] = {
        "one": found,
        "allowed": allowed,
        "told": told,
        "still": found.state in STILL,
        "stopped": STILL,
        "statuses": STATUSES,
        **_numbers(parts, found),
    }
    if "now" in request.args:
        return sign_ins.page("campaign_now.html", values)
    page = sign_ins.page("campaign.html", {**values, **_said(parts, found), **_versions(parts, found)}, status=status)
    page.headers["Content-Security-Policy"] += "; frame-src 'self'"  # what it said is shown in a frame
    return page


def find(parts: PageParts, campaign_id: str) -> progress.Progress:
    """The campaign, if whoever has signed in may see it. Raises `NotFound`."""
    return progress.progress(parts.db, campaign_id, signed_in().caller.reach, window=parts.settings.send_window)


def _numbers(parts: PageParts, found: progress.Progress) -> dict[str, object]:
    went = minutes.minutes(parts.db, found.id, after=None, count=MINUTES)
    numbers = report(parts.db, found)
    return {
        "chart": bars([(one.minute, one.sent) for one in went]),
        "by_domain": domain_bars(numbers.domains),
        "time_left": _duration(numbers.pace.seconds_left),
        "report": numbers,
        "events": timeline(parts.db, found, count=EVENTS),
    }


def _versions(parts: PageParts, found: progress.Progress) -> dict[str, object]:
    """Which text went to how many, if it was replaced."""
    versions, unknown = served(parts.db, found.id, signed_in().caller.reach) if found.version > 1 else ((), 0)
    return {"versions": versions, "unknown_version": unknown}


def _duration(seconds: int | None) -> str:
    """Two units at most, so that it can be read at a glance: `3 h 20 min`. Empty for None."""
    return "" if seconds is None else duration(seconds)


def _said(parts: PageParts, found: progress.Progress) -> dict[str, object]:
    """What it said, and what in that is probably a slip."""
    try:
        message = said(parts.db, found.id, signed_in().caller.reach)
    except NotFound:  # purged
        return {"message": None}
    slips = [one for one in checks(parts.settings, text_of(message.draft)) if one.sentences]
    return {"message": message, "slips": slips}
