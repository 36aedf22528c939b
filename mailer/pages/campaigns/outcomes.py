"""A campaign's outcomes by person, on pages and as a file."""

from __future__ import annotations

from flask import Blueprint, Response, request

from mailer.campaigns import export, progress
from mailer.files.exports import FORMATS, write_rows
from mailer.pages.base import PRIVATE_HEADERS
from mailer.pages.campaigns.campaign import STATUSES, find
from mailer.pages.parts import PageParts
from mailer.pages.signed_in import SignIns

OUTCOMES = 100
LONGEST = 320  # characters of what is looked for
TYPES = {"csv": "text/csv", "ndjson": "application/x-ndjson"}


def add_routes(blueprint: Blueprint, sign_ins: SignIns, parts: PageParts) -> None:
    """Add the routes. A campaign that the reader may not see is answered like one that does not exist."""

    @blueprint.get("/campaigns/<campaign_id>/outcomes")
    @sign_ins.required
    def list_outcomes(campaign_id: str) -> Response:
        """Its outcomes by user id; `after` continues the list. `whom` asks for one user, or for an address."""
        found, status, after = find(parts, campaign_id), _status(), request.args.get("after")
        paging = {"status": status, "after": after, "count": OUTCOMES + 1}
        rows = progress.deliveries(parts.db, campaign_id, **paging, **_whose())
        more = rows[OUTCOMES - 1].user_id if len(rows) > OUTCOMES else None
        values = {"one": found, "rows": rows[:OUTCOMES], "more": more, "status": status, "statuses": STATUSES}
        values["whom"] = _whom()
        return sign_ins.page("outcomes.html", values)

    @blueprint.get("/campaigns/<campaign_id>/export")
    @sign_ins.required
    def export_outcomes(campaign_id: str) -> Response:
        """All of them, or those with `status` or of `whom`, as the file that the API makes; `format` is `csv` or `ndjson`."""
        find(parts, campaign_id)
        wanted = request.args.get("format", "")
        form = wanted if wanted in FORMATS else FORMATS[0]
        rows = map(export.cells, export.records(parts.db, campaign_id, _status(), **_whose()))
        answer = Response(write_rows(form, export.COLUMNS, rows), mimetype=TYPES[form])
        answer.headers.update(PRIVATE_HEADERS)
        answer.headers["Content-Disposition"] = f'attachment; filename="outcomes.{form}"'
        return answer


def _whom() -> str:
    """A user's id or an address, as it was typed; empty: everybody."""
    return request.args.get("whom", "").strip()[:LONGEST]


def _whose() -> dict[str, str]:
    """What `whom` asks for, as `progress.deliveries` takes it."""
    whom = _whom()
    return {("address" if "@" in whom else "user_id"): whom} if whom else {}


def _status() -> str | None:
    wanted = request.args.get("status")
    return wanted if wanted in STATUSES else None
