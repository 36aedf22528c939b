"""The page behind the link in every message: it unsubscribes its reader, and takes that back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus

from flask import Blueprint, Response, request
from flask.blueprints import BlueprintSetupState
from werkzeug.routing import PathConverter

from mailer.audit.actor import Actor, Via, acting
from mailer.directory.users import language_of
from mailer.messages.links import PATH, PREVIEW, Links, is_nobody
from mailer.pages.base import (
    STATIC,
    TEMPLATES,
    content_policy,
    limit_forms,
    private_page,
    relative_address,
    show_errors_as_pages,
)
from mailer.pages.languages import add_translations, reader_language, speaking
from mailer.storage.database import Database
from mailer.storage.database_errors import DATABASE_ERRORS
from mailer.storage.erased.people import was_erased
from mailer.suppression.history import Cause, Means
from mailer.suppression.unsubscribes import resubscribe, unsubscribe

POLICY = content_policy("style-src 'self'", "img-src data:", "form-action 'self'")
OLD_TRIAL = "dry-run"  # the user id in links of dry runs of versions before; a user may have this id as well
RECIPIENT = Actor("recipient", Via.LINK, "")
ERROR_STATES: dict[int, str] = {
    HTTPStatus.NOT_FOUND: "not_valid",
    HTTPStatus.TOO_MANY_REQUESTS: "busy",
    HTTPStatus.SERVICE_UNAVAILABLE: "away",
}


class _AnyText(PathConverter):
    """All of the address that follows, also where mail programs have left slashes or line ends in it."""

    regex = r"[^/][\s\S]*?"


def make_blueprint(
    links: Links, db: Database, site_name: str, *, merge: bool = False, used: Callable[[str], object] = str
) -> Blueprint:
    """Give the page's routes. They need no login and no cookie: the signed link says who is asking, for what.

    With `merge` users who share an address subscribe again together. `used` is called with the token of a link that
    somebody has used. Every error at an address below is a page too.
    """
    blueprint = Blueprint(
        "unsubscribe_page",
        __name__,
        url_prefix=PATH.rstrip("/"),
        template_folder=str(TEMPLATES),
        static_folder=str(STATIC / "unsubscribe"),
        static_url_path="/static",
    )

    limit_forms(blueprint)

    @blueprint.record_once
    def add_converter(state: BlueprintSetupState) -> None:
        state.app.url_map.converters["anytext"] = _AnyText
        add_translations(state.app)

    @blueprint.get("/<anytext:token>", merge_slashes=False)  # any text at all gets this page
    def show(token: str) -> Response:
        """Offer to unsubscribe. Changes nothing: mail scanners follow every link."""
        user_id = links.read(token)
        if user_id is None:
            return _not_valid()
        return _page(_offered(db, user_id), user_id=user_id)

    @blueprint.post("/<anytext:token>", merge_slashes=False)
    def change(token: str) -> Response:
        """Unsubscribe, from the button or in one click (RFC 8058); with `action=subscribe`, subscribe again."""
        user_id = links.read(token)
        if user_id is None:
            return _not_valid()
        if (state := _unchangeable(db, user_id)) is not None:
            return _page(state)
        back = request.form.get("action") == "subscribe" and not _is_one_click()
        by = Cause(Means.ONE_CLICK if _is_one_click() else Means.LINK, campaign_id=links.campaign(token))
        with acting(RECIPIENT):
            done = resubscribe(db, user_id, merged=merge, by=by) if back else unsubscribe(db, user_id, by=by)
        if done:
            used(token)
            return _page("subscribed" if back else "unsubscribed", user_id=user_id)
        return _page("trial") if user_id == OLD_TRIAL else _not_valid()

    def _page(state: str, status: int = HTTPStatus.OK, user_id: str | None = None) -> Response:
        static, language = relative_address(PATH) + "static/", reader_language(_language(db, user_id))
        values = {"state": state, "site_name": site_name, "static": static, "language": language}
        with speaking(language):
            page = private_page("unsubscribe.html", POLICY, values, status)
        page.content_language.add(language)
        return page

    def _not_valid() -> Response:
        # 404: to whoever holds no signed link there is nothing at this address, as with any other wrong one
        return _page("not_valid", HTTPStatus.NOT_FOUND)

    show_errors_as_pages(blueprint, PATH, lambda error: _page(_error_state(error.status_code), error.status_code))
    return blueprint


def _is_one_click() -> bool:
    """Whether a mail program posts this, and not the page's button."""
    return request.form.get("List-Unsubscribe") == "One-Click"


def _language(db: Database, user_id: str | None) -> object:
    """What the directory says of the reader's language; None also while the database is away."""
    with suppress(*DATABASE_ERRORS):
        return None if user_id is None else language_of(db, user_id)
    return None


def _offered(db: Database, user_id: str) -> str:
    """What the page says to who opens the link; a link of a dry run offers what it would."""
    return "offer" if is_nobody(user_id) else _unchangeable(db, user_id) or "offer"


def _unchangeable(db: Database, user_id: str) -> str | None:
    """What the page says where there is nobody to unsubscribe or to subscribe again; None: there is somebody."""
    if user_id == PREVIEW or is_nobody(user_id):
        return "preview" if user_id == PREVIEW else "trial"
    return "erased" if _is_erased(db, user_id) else None


def _is_erased(db: Database, user_id: str) -> bool:
    """Whether the reader was erased: then nothing brings them back from here. False also while the database is away."""
    with suppress(*DATABASE_ERRORS):
        return was_erased(db, user_id)
    return False


def _error_state(status: int) -> str:
    other = "failed" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "refused"
    return ERROR_STATES.get(status, other)
