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
        user_id, address = _whose()
        whose = {"user_id": user_id, "address": address}
        rows = progress.deliveries(parts.db, campaign_id, status=status, after=after, count=OUTCOMES + 1, **whose)
        more = rows[OUTCOMES - 1].user_id if len(rows) > OUTCOMES else None
        values = {"one": found, "rows": rows[:OUTCOMES], "more": more, "status": status, "statuses": STATUSES}
        values["whom"] = _whom()
        return sign_ins.page("outcomes.html", values)

    @blueprint.get("/campaigns/<campaign_id>/export")
    @sign_ins.required
    def export_outcomes(campaign_id: str) -> Response:
        """All of them, or those with `status` or of `whom`, as the API's file; `format` is `csv` or `ndjson`."""
        find(parts, campaign_id)
        wanted = request.args.get("format", "")
        form = wanted if wanted in FORMATS else FORMATS[0]
        user_id, address = _whose()
        rows = map(export.cells, export.records(parts.db, campaign_id, _status(), user_id=user_id, address=address))
        answer = Response(write_rows(form, export.COLUMNS, rows), mimetype=TYPES[form])
        answer.headers.update(PRIVATE_HEADERS)
        answer.headers["Content-Disposition"] = f'attachment; filename="outcomes.{form}"'
        return answer


def _whom() -> str:
    """A user's id or an address, as it was typed; empty: everybody."""
    return request.args.get("whom", "").strip()[:LONGEST]


def _whose() -> tuple[str | None, str | None]:
    """The user's id and the address that `whom` asks for: at most one of them."""
    whom = _whom() or None
    return (None, whom) if whom and "@" in whom else (whom, None)


def _status() -> str | None:
    wanted = request.args.get("status")
    return wanted if wanted in STATUSES else None
