"""The page behind the link in every message: it unsubscribes its reader, and takes that back."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from pathlib import Path

from flask import Blueprint, Response, make_response, render_template, request
from flask.blueprints import BlueprintSetupState
from werkzeug.routing import PathConverter

from mailer.messages.links import NOBODY, PATH, PREVIEW, Links
from mailer.storage.database import Database
from mailer.suppression.unsubscribes import resubscribe, unsubscribe

PAGES = Path(__file__).resolve().parent
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",  # the address is the credential: it must not leak to where a reader goes next
    "X-Robots-Tag": "noindex, nofollow",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
OURS = "X-Robots-Tag"  # an answer that has it is one of these pages
OLD_TRIAL = "dry-run"  # in links of versions before; a user may have this id as well
KEPT = ("Allow", "Retry-After")  # headers of an error
ERRORS: dict[int, str] = {
    HTTPStatus.NOT_FOUND: "not_valid",
    HTTPStatus.TOO_MANY_REQUESTS: "busy",
    HTTPStatus.SERVICE_UNAVAILABLE: "away",
}


class _Anything(PathConverter):
    """What follows in an address, also where programs have left line ends in it."""

    regex = r"[^/][\s\S]*?"


def make_blueprint(links: Links, db: Database, site_name: str, *, merge: bool = False) -> Blueprint:
    """Give the page's routes. They need no login and no cookie: the signed link says who is asking, for what.

    With `merge` users who share an address subscribe again together. Every error at an address below is a page too.
    """
    blueprint = Blueprint(
        "unsubscribe_page",
        __name__,
        url_prefix=PATH.rstrip("/"),
        template_folder=str(PAGES / "templates"),
        static_folder=str(PAGES / "static" / "unsubscribe"),
        static_url_path="/static",
    )

    @blueprint.record_once
    def take_anything(state: BlueprintSetupState) -> None:
        state.app.url_map.converters["anything"] = _Anything

    @blueprint.get("/<anything:token>", merge_slashes=False)  # any text at all gets this page
    def show(token: str) -> Response:
        """Offer to unsubscribe. Changes nothing: mail scanners follow every link."""
        user_id = links.read(token)
        if user_id is None:
            return _not_valid()
        return _page("preview" if user_id == PREVIEW else "offer")

    @blueprint.post("/<anything:token>", merge_slashes=False)
    def change(token: str) -> Response:
        """Unsubscribe, from the button or in one click (RFC 8058); with `action=subscribe`, subscribe again."""
        user_id = links.read(token)
        if user_id is None:
            return _not_valid()
        if user_id in (PREVIEW, NOBODY):
            return _page("preview" if user_id == PREVIEW else "trial")
        back = request.form.get("action") == "subscribe"
        if resubscribe(db, user_id, merged=merge) if back else unsubscribe(db, user_id):
            return _page("subscribed" if back else "unsubscribed")
        return _page("trial") if user_id == OLD_TRIAL else _not_valid()

    @blueprint.after_app_request
    def show_errors(answer: Response) -> Response:
        return _for_people(answer, site_name)

    _page = partial(_rendered, site_name)

    def _not_valid() -> Response:
        # 404: to whoever holds no signed link there is nothing at this address, as with any other wrong one
        return _page("not_valid", HTTPStatus.NOT_FOUND)

    return blueprint


def _for_people(answer: Response, site_name: str) -> Response:
    """`answer`, or a page where it is an error that somebody else has given at an address of these pages."""
    ours = request.path.startswith(PATH) or request.path == PATH.rstrip("/")
    status = answer.status_code
    if not ours or status < HTTPStatus.BAD_REQUEST or OURS in answer.headers:
        return answer
    other = "failed" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "refused"
    page = _rendered(site_name, ERRORS.get(status, other), status)
    page.headers.update({name: answer.headers[name] for name in KEPT if name in answer.headers})
    return page


def _rendered(site_name: str, state: str, status: int = HTTPStatus.OK) -> Response:
    text = render_template("unsubscribe.html", state=state, site_name=site_name, static=_static())
    response = make_response(text, status)
    response.headers.update(SECURITY_HEADERS)
    return response


def _static() -> str:
    """The folder of the style sheet as seen from the address, which may be below a proxy's own path."""
    if not request.path.startswith(PATH):
        return "unsubscribe/static/"
    as_sent = str(request.environ.get("RAW_URI", request.path)).partition("?")[0]  # %2F divides nothing in a browser
    if PATH in as_sent:
        return "../" * as_sent.partition(PATH)[2].count("/") + "static/"
    folders = as_sent.removeprefix(request.script_root).count("/") - 1
    return "../" * folders + PATH.lstrip("/") + "static/"
