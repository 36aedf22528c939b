"""All pages for people who have signed in, below `/mailer/`."""

from __future__ import annotations

from functools import partial

from flask import Blueprint

from mailer.callers.client_address import TrustedProxies
from mailer.callers.page_sessions import PageSessions
from mailer.campaigns.hold import held
from mailer.directory.users import language_of
from mailer.pages import sign_in
from mailer.pages.base import STATIC, TEMPLATES, limit_forms, refuse_unstorable, show_errors_as_pages
from mailer.pages.campaigns import actions, campaign, edit, listing, message, outcomes
from mailer.pages.compose import routes as compose
from mailer.pages.from_below.translation import translated
from mailer.pages.languages import add_translations
from mailer.pages.mailbox import lists
from mailer.pages.mailbox import message as mailbox_message
from mailer.pages.parts import PageParts
from mailer.pages.people import erasing, not_written_to, people_search, person, readmitting
from mailer.pages.problems import problem_page
from mailer.pages.signed_in import PREFIX, SignIns
from mailer.pages.system import audit_log, credentials, events, handing_over, now, settings_page
from mailer.pages.words import add_filters
from mailer.settings import mailbox
from mailer.settings.advice import staging_warnings


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
    limit_forms(blueprint)
    refuse_unstorable(blueprint, audit_log.NAMES)
    sign_in.add_routes(blueprint, sign_ins, parts.callers.passwords, parts.limiter())
    sign_in.add_link_routes(blueprint, sign_ins, parts.db, parts.limiter())
    for page in (listing, campaign, message, outcomes, actions, edit, now, events, settings_page, audit_log):
        page.add_routes(blueprint, sign_ins, parts)
    for page in (compose, people_search, person, erasing, readmitting, not_written_to, credentials, handing_over):
        page.add_routes(blueprint, sign_ins, parts)
    has_mailbox = bool(mailbox.kept(parts.settings.mailbox, parts.settings.transport))
    for page in (lists, mailbox_message) if has_mailbox else ():
        page.add_routes(blueprint, sign_ins, parts)
    in_frame = {"banners": staging_warnings(parts.settings), "has_mailbox": has_mailbox}
    blueprint.app_context_processor(lambda: in_frame)
    add_filters(blueprint)
    blueprint.add_app_template_filter(translated, "translated")
    blueprint.record_once(lambda state: add_translations(state.app))
    show_errors_as_pages(blueprint, PREFIX, partial(problem_page, sign_ins))
    return blueprint


def _sign_ins(parts: PageParts) -> SignIns:
    settings = parts.settings
    sessions = PageSessions(parts.db, parts.callers.authenticator, settings.session_lifetime * 1000)
    secure, proxies = settings.site_url.startswith("https:"), TrustedProxies(settings.trusted_proxies)
    return SignIns(
        sessions,
        proxies,
        settings.site_name,
        partial(language_of, parts.db),
        secure=secure,
        held=partial(held, parts.db),
    )
