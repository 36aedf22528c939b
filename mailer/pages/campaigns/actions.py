"""What can be done with a campaign: pause, resume, cancel, try again."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, request

from mailer.campaigns import control
from mailer.errors import InvalidState
from mailer.pages.campaigns.campaign import show
from mailer.pages.from_below.translation import translated
from mailer.pages.parts import PageParts
from mailer.pages.signed_in import SignIns, signed_in, to_page
from mailer.storage.models import DeliveryStatus


def add_routes(blueprint: Blueprint, sign_ins: SignIns, parts: PageParts) -> None:
    """Add the routes. A campaign that the reader may not see is answered like one that does not exist."""
    actions = _actions(parts)

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
            return show(sign_ins, parts, campaign_id, translated(error.text), error.status)
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
