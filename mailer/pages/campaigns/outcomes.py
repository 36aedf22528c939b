"""A campaign's outcomes by person, on pages and as a file."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Blueprint, Response, request
from flask_babel import lazy_gettext as _

from mailer.campaigns import export
from mailer.campaigns.deliveries import Wanted, deliveries
from mailer.files.exports import FORMATS, write_rows
from mailer.pages.base import PRIVATE_HEADERS
from mailer.pages.campaigns.campaign import STATUSES, find
from mailer.pages.parts import PageParts
from mailer.pages.signed_in import SignIns

OUTCOMES = 100
LONGEST = 320  # characters of what is looked for
REPORTS = {"bounced": _("bounced"), "complained": _("marked as spam")}  # what is asked for by `reported`
TYPES = {"csv": "text/csv", "ndjson": "application/x-ndjson"}


def add_routes(blueprint: Blueprint, sign_ins: SignIns, parts: PageParts) -> None:
    """Add the routes. A campaign that the reader may not see is answered like one that does not exist."""

    @blueprint.get("/campaigns/<campaign_id>/outcomes")
    @sign_ins.required
    def list_outcomes(campaign_id: str) -> Response:
        """Its outcomes by user id; `after` continues the list. `whom` asks for one user, or for an address."""
        found, wanted, after = find(parts, campaign_id), _wanted(), request.args.get("after")
        rows = deliveries(parts.db, campaign_id, wanted, after=after, count=OUTCOMES + 1)
        more = rows[OUTCOMES - 1].user_id if len(rows) > OUTCOMES else None
        values = {"one": found, "rows": rows[:OUTCOMES], "more": more, "status": wanted.status, "statuses": STATUSES}
        values |= {"whom": _whom(), "reported": _reported(), "reports": REPORTS}
        return sign_ins.page("outcomes.html", {**values, "same": _same()})

    @blueprint.get("/campaigns/<campaign_id>/export")
    @sign_ins.required
    def export_outcomes(campaign_id: str) -> Response:
        """All of them, or those that the list shows, as the API's file; `format` is `csv` or `ndjson`."""
        find(parts, campaign_id)
        wanted = request.args.get("format", "")
        form = wanted if wanted in FORMATS else FORMATS[0]
        rows = map(export.cells, export.records(parts.db, campaign_id, _wanted()))
        answer = Response(write_rows(form, export.COLUMNS, rows), mimetype=TYPES[form])
        answer.headers.update(PRIVATE_HEADERS)
        answer.headers["Content-Disposition"] = f'attachment; filename="outcomes.{form}"'
        return answer


def _whom() -> str:
    """A user's id or an address, as it was typed; empty: everybody."""
    return request.args.get("whom", "").strip()[:LONGEST]


def _wanted() -> Wanted:
    """Which outcomes are asked for: `whom` is a user's id or an address."""
    whom, reported = _whom() or None, _reported()
    user_id, address = (None, whom) if whom and "@" in whom else (whom, None)
    return Wanted(
        _status(), user_id, address, bounced=reported == "bounced" or None, complained=reported == "complained" or None
    )


def _status() -> str | None:
    wanted = request.args.get("status")
    return wanted if wanted in STATUSES else None


def _reported() -> str | None:
    wanted = request.args.get("reported")
    return wanted if wanted in REPORTS else None


def _same() -> str:
    """What a link has to name so that it means the same outcomes."""
    named = {"status": _status(), "reported": _reported(), "whom": _whom()}
    return urlencode({name: value for name, value in named.items() if value})
