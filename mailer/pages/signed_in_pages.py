"""All pages for people who have signed in, below `/mailer/`."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response

from mailer.callers.client_address import TrustedProxies
from mailer.callers.page_sessions import PageSessions
from mailer.pages import campaigns, sign_in
from mailer.pages.base import STATIC, TEMPLATES, show_errors_as_pages
from mailer.pages.mailbox import lists, message
from mailer.pages.parts import PageParts
from mailer.pages.signed_in import PREFIX, SignIns
from mailer.settings import mailbox
from mailer.settings.advice import staging_warnings
from mailer.times import to_iso

PROBLEMS: dict[int, tuple[str, str]] = {
    HTTPStatus.BAD_REQUEST: ("That form cannot be taken", "Go back, load the page again, and send it once more."),
    HTTPStatus.FORBIDDEN: ("Not for you", "Your token does not allow this. It takes the permission send-mail."),
    HTTPStatus.NOT_FOUND: ("There is nothing here", "It may never have been, or it is not yours."),
    HTTPStatus.TOO_MANY_REQUESTS: ("Too many tries", "Wait a minute, and try again."),
    HTTPStatus.SERVICE_UNAVAILABLE: ("Not available at the moment", "Nothing is lost. Try again in a minute."),
}
OTHER_PROBLEM = ("Something went wrong", "It is in the service's log. Nothing that was accepted is lost.")


def _for_people(milliseconds: int) -> str:
    """A time to the minute, such as `2026-11-29 07:42 UTC`."""
    return to_iso(milliseconds)[:16].replace("T", " ") + " UTC"


def make_blueprint(parts: PageParts) -> Blueprint:
    """The pages, and every error below their address as a page."""
    sign_ins = _sign_ins(parts)
    blueprint = Blueprint(
        "pages",
        __name__,
        url_prefix=PREFIX.rstrip("/"),
        template_folder=str(TEMPLATES),
        static_folder=str(STATIC / "pages"),
        static_url_path="/static",
    )
    sign_in.add_routes(blueprint, sign_ins, parts.callers.passwords, parts.limiter())
    campaigns.add_routes(blueprint, sign_ins, parts)
    has_mailbox = bool(mailbox.kept(parts.settings.mailbox, parts.settings.transport))
    if has_mailbox:
        lists.add_routes(blueprint, sign_ins, parts)
        message.add_routes(blueprint, sign_ins, parts)
    in_frame = {"banners": staging_warnings(parts.settings), "has_mailbox": has_mailbox}
    blueprint.app_context_processor(lambda: in_frame)
    blueprint.add_app_template_filter(to_iso, "iso")
    blueprint.add_app_template_filter(_for_people, "moment")
    blueprint.add_app_template_filter(lambda number: f"{number:,}", "number")

    def problem(status: int) -> Response:
        title, advice = PROBLEMS.get(status, OTHER_PROBLEM)
        return sign_ins.page("problem.html", {"title": title, "advice": advice}, status=status)

    show_errors_as_pages(blueprint, PREFIX, problem)
    return blueprint


def _sign_ins(parts: PageParts) -> SignIns:
    settings = parts.settings
    sessions = PageSessions(parts.db, parts.callers.authenticator, settings.session_lifetime * 1000)
    secure = settings.site_url.startswith("https:")
    return SignIns(sessions, TrustedProxies(settings.trusted_proxies), settings.site_name, secure=secure)
