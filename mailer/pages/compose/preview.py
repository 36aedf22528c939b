"""What one of the recipients will read: as HTML in a frame of its own, as text, and as it goes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from flask import Blueprint, Response, make_response, request
from flask_babel import gettext

from mailer.campaigns import saved_drafts
from mailer.campaigns.draft import Draft, compile_draft
from mailer.campaigns.saved_drafts import DraftSent, Saved
from mailer.errors import InvalidParams, MailerError, NotFound
from mailer.messages.links import PREVIEW
from mailer.messages.recipient import Recipient
from mailer.messages.template import Template
from mailer.pages.base import PRIVATE_HEADERS, content_policy
from mailer.pages.compose import form
from mailer.pages.compose.page import ComposePages, Shown
from mailer.pages.from_below.translation import translated
from mailer.pages.signed_in import View, signed_in, to_page

VIEWS = ("html", "text", "source")
WIDTHS, SCHEMES = ("600", "360"), ("light", "dark")
CAMPAIGN_ID = "preview"
POLICY = content_policy(
    *("script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'", "form-action 'self'"),
    "frame-src 'self'",
)
FRAMED = "; ".join(
    [
        "default-src 'none'",
        "img-src https: http: data:",  # what the mail programs of recipients load too
        "font-src https: data:",
        "style-src 'unsafe-inline'",  # as mail is written; it runs nothing, and reaches nobody
        *("base-uri 'none'", "form-action 'none'", "frame-ancestors 'self'", "sandbox"),
    ]
)
"""The policy of the message itself: no script runs in it, no form is sent, and it is of no origin."""
DARK = "<style>:root{color-scheme:dark}</style>"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A draft as one of its recipients will get it."""

    recipient: Recipient
    subject: str
    reply_to: str | None
    html: str
    text: str
    source: str


def add_routes(blueprint: Blueprint, composing: Callable[[View], View], pages: ComposePages) -> None:
    """Add the routes. Both take `user`, the id of whom it is shown for; without it, it is the first recipient."""

    @blueprint.get("/compose/<draft_id>/preview")
    @composing
    def show_preview(draft_id: str) -> Response:
        """The message from all sides, and whom it can be shown for."""
        try:
            saved, draft = _draft(pages, draft_id)
        except DraftSent as sent:
            return to_page(f"campaigns/{sent.campaign_id}")
        except InvalidParams as error:
            return _not_yet(pages, draft_id, error)
        try:
            rendered = _rendered(pages, draft, request.args.get("user", ""))
        except MailerError as error:
            return _page(pages, saved, draft, None, translated(error.text), error.status)
        return _page(pages, saved, draft, rendered)

    @blueprint.get("/compose/<draft_id>/preview/html")
    @composing
    def show_preview_html(draft_id: str) -> Response:
        """The HTML alone, for the frame on that page; `scheme` is light or dark."""
        try:
            _, draft = _draft(pages, draft_id)
        except DraftSent as error:
            raise NotFound from error
        html = _rendered(pages, draft, request.args.get("user", "")).html
        answer = make_response(html + (DARK if request.args.get("scheme") == "dark" else ""))
        answer.headers.update({**PRIVATE_HEADERS, "Content-Security-Policy": FRAMED, "X-Frame-Options": "SAMEORIGIN"})
        return answer


def _draft(pages: ComposePages, draft_id: str) -> tuple[Saved, Draft]:
    caller = signed_in().caller
    saved = saved_drafts.read(pages.parts.db, caller.user_id, draft_id)
    draft, problems = form.check(pages.submissions, caller, saved.typed)
    if draft is None:
        raise InvalidParams(fields=problems)
    return saved, draft


def _rendered(pages: ComposePages, draft: Draft, user_id: str) -> Rendered:
    recipient = pages.looks.recipient(signed_in().caller, draft.query, user_id)
    try:
        template = compile_draft(draft, CAMPAIGN_ID, pages.parts.settings)
        link = pages.parts.links.link(PREVIEW)
        seen = template.preview(recipient, link)
        source = _source(pages, template, recipient, link)
    except ValueError as error:
        raise InvalidParams(gettext("This message cannot be written: %(why)s.", why=translated(str(error)))) from error
    return Rendered(recipient, seen.subject, seen.reply_to, seen.html, seen.text, source)


def _source(pages: ComposePages, template: Template, recipient: Recipient, link: str) -> str:
    with pages.parts.db.read() as connection:
        now = pages.parts.db.clock(connection)
    return template.render(recipient, link, now).content.decode("utf-8", "replace").replace("\r\n", "\n")


def _not_yet(pages: ComposePages, draft_id: str, error: InvalidParams) -> Response:
    """The form again, with what a message lacks before it can be shown."""
    saved = saved_drafts.read(pages.parts.db, signed_in().caller.user_id, draft_id)
    shown = Shown(saved.id, saved.typed, saved.version, saved.saved_at, problems=error.details["fields"])
    answer = pages.show(shown)
    answer.status_code = HTTPStatus.BAD_REQUEST
    return answer


def _page(
    pages: ComposePages,
    saved: Saved,
    draft: Draft,
    rendered: Rendered | None,
    problem: str = "",
    status: int = HTTPStatus.OK,
) -> Response:
    look = pages.looks.look(signed_in().caller, saved.typed)
    values = {
        "saved": saved,
        "draft": draft,
        "rendered": rendered,
        "problem": problem,
        "sample": look.audience.sample if look.audience else (),
        "user": request.args.get("user", ""),
        "view": _one_of("view", VIEWS),
        "width": _one_of("width", WIDTHS),
        "scheme": _one_of("scheme", SCHEMES),
        "checks": pages.checks(saved.typed),
    }
    page = pages.sign_ins.page("compose/preview.html", values, status=status)
    page.headers["Content-Security-Policy"] = POLICY
    return page


def _one_of(name: str, allowed: tuple[str, ...]) -> str:
    wanted = request.args.get(name, "")
    return wanted if wanted in allowed else allowed[0]
