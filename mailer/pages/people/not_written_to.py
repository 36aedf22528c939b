"""The suppressed addresses, for whoever may lift them, and everybody who is not written to as a file."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from flask import Blueprint, Response, request

from mailer.callers.tokens import MANAGE_USERS
from mailer.files.exports import FORMATS, write_rows
from mailer.messages.addresses import envelope_address
from mailer.pages.base import PRIVATE_HEADERS
from mailer.pages.parts import PageParts
from mailer.pages.signed_in import SignIns, to_page
from mailer.storage.erased.people import count_erased
from mailer.suppression.exchange.entries import Entry
from mailer.suppression.exchange.everybody import everybody
from mailer.suppression.suppressed_addresses import After, SuppressedAddress, lift, newest_suppressed
from mailer.text import is_storable

PLACE = "not-written-to"
PAGE = 50
LONGEST = 320  # characters of an address
TYPES = {"csv": "text/csv", "ndjson": "application/x-ndjson"}


def add_routes(blueprint: Blueprint, sign_ins: SignIns, parts: PageParts) -> None:
    """Add the routes."""

    def show(status: int = HTTPStatus.OK, **said: object) -> Response:
        rows = newest_suppressed(parts.db, after=_after(), count=PAGE + 1)
        more = _place_of(rows[PAGE - 1]) if len(rows) > PAGE else None
        values = {"rows": rows[:PAGE], "more": more, "first": "before" not in request.args, **said}
        return sign_ins.page("people/not_written_to.html", values, status=status)

    @blueprint.get(f"/{PLACE}")
    @sign_ins.requires(MANAGE_USERS)
    def list_suppressed() -> Response:
        """The suppressed addresses, the newest first; `before` and `address` continue the list."""
        return show(lifted=request.args.get("lifted", "") == "1")

    @blueprint.post(f"/{PLACE}/lift")
    @sign_ins.requires(MANAGE_USERS)
    def lift_suppressed() -> Response:
        """Write to one address again. A wish of whoever has it stays."""
        address = request.form.get("address", "")[:LONGEST]
        if not is_storable(address) or envelope_address(address) is None or not lift(parts.db, [address]).lifted:
            return show(HTTPStatus.NOT_FOUND, missing=True)
        return to_page(f"{PLACE}?lifted=1")

    @blueprint.get(f"/{PLACE}/export")
    @sign_ins.requires(MANAGE_USERS)
    def export_everybody() -> Response:
        """Everybody who is not written to, as the file that the API makes; `format` is `csv` or `ndjson`."""
        wanted = request.args.get("format", "")
        form = wanted if wanted in FORMATS else FORMATS[0]
        answer = Response(write_rows(form, Entry.COLUMNS, (one.cells() for one in everybody(parts.db))))
        answer.headers.update(PRIVATE_HEADERS)
        answer.headers["Content-Type"] = f"{TYPES[form]}; charset=utf-8"
        answer.headers["Content-Disposition"] = f'attachment; filename="not-written-to.{form}"'
        answer.headers["Mailer-Erased"] = str(count_erased(parts.db))
        return answer


def _after() -> After | None:
    """The last address of the page before; None: this is the first page."""
    before = request.args.get("before", "")
    if not (before.isascii() and before.isdigit() and len(before) < 16):
        return None
    return After(int(before), request.args.get("address", "")[:LONGEST])


def _place_of(last: SuppressedAddress) -> Mapping[str, object]:
    return {"before": last.suppressed_at, "address": last.address}
