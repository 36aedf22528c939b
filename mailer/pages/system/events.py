"""The timeline of the service and of all campaigns, the latest first, below the report of the last twelve hours."""

from __future__ import annotations

from flask import Blueprint, Response, request

from mailer.callers.tokens import MANAGE_CAMPAIGNS
from mailer.campaigns.reports.timeline import everything
from mailer.operation.report import report
from mailer.pages.parts import PageParts
from mailer.pages.signed_in import SignIns

PAGE = 100
LARGEST = 2**63 - 1


def add_routes(blueprint: Blueprint, sign_ins: SignIns, parts: PageParts) -> None:
    """Add the route."""

    @blueprint.get("/system/events")
    @sign_ins.requires(MANAGE_CAMPAIGNS)
    def show_events() -> Response:
        """What happened; `before` continues the list."""
        before = _number(request.args.get("before", ""))
        found = everything(parts.db, before=before, count=PAGE + 1)
        more = found[PAGE - 1].id if len(found) > PAGE else None
        values: dict[str, object] = {"found": found[:PAGE], "more": more, "before": before}
        values["night"] = None if before else report(parts.db, parts.settings)
        return sign_ins.page("system/events.html", values)


def _number(text: str) -> int | None:
    """A number that an event may have; None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and int(text) <= LARGEST else None
