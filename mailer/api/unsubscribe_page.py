"""The page behind the link in every message: it unsubscribes its reader, and takes that back."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

from flask import Blueprint, Response, make_response, render_template, request

from mailer.database import Database
from mailer.planning import NOBODY
from mailer.unsubscribe import PATH, Links, resubscribe, unsubscribe

PAGES = Path(__file__).resolve().parent.parent / "pages"
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",  # the address is the credential: it must not leak to where a reader goes next
    "X-Robots-Tag": "noindex, nofollow",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


def make_blueprint(links: Links, db: Database, site_name: str) -> Blueprint:
    """Give the page's routes. They need no login and no cookie: the signed link says who is asking, for what."""
    blueprint = Blueprint(
        "unsubscribe_page",
        __name__,
        url_prefix=PATH.rstrip("/"),
        template_folder=str(PAGES / "templates"),
        static_folder=str(PAGES / "static"),
        static_url_path="/static",
    )

    @blueprint.get("/<string:token>")  # any text at all gets this page
    def show(token: str) -> Response:
        """Offer to unsubscribe. Changes nothing: mail scanners follow every link."""
        return _page("offer") if links.read(token) is not None else _not_valid()

    @blueprint.post("/<string:token>")
    def change(token: str) -> Response:
        """Unsubscribe, from the button or in one click (RFC 8058); with `action=subscribe`, subscribe again."""
        user_id = links.read(token)
        if user_id is None:
            return _not_valid()
        back = request.form.get("action") == "subscribe"
        if resubscribe(db, user_id) if back else unsubscribe(db, user_id):
            return _page("subscribed" if back else "unsubscribed")
        return _page("trial") if user_id == NOBODY else _not_valid()

    def _page(state: str, status: HTTPStatus = HTTPStatus.OK) -> Response:
        response = make_response(render_template("unsubscribe.html", state=state, site_name=site_name), status)
        response.headers.update(SECURITY_HEADERS)
        return response

    def _not_valid() -> Response:
        # 404: to whoever holds no signed link there is nothing at this address, as with any other wrong one
        return _page("not_valid", HTTPStatus.NOT_FOUND)

    return blueprint
