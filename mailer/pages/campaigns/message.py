"""What a campaign said: its body as a document of its own, for a frame that can do nothing."""

from __future__ import annotations

from flask import Blueprint, Response, make_response

from mailer.campaigns.draft import compile_draft
from mailer.campaigns.reports.said import said
from mailer.messages.links import PREVIEW
from mailer.messages.recipient import Recipient
from mailer.messages.template import Preview
from mailer.pages.base import PRIVATE_HEADERS
from mailer.pages.parts import PageParts
from mailer.pages.signed_in import SignIns, signed_in

# it runs nothing, loads nothing and sends nothing, also when somebody opens it in a window of its own
POLICY = "; ".join(
    (
        "sandbox",
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'self'",
    )
)
READER = Recipient("reader", "[fname] [lname]", "reader@example.com")  # the placeholders of a name stay to be seen


def add_routes(blueprint: Blueprint, sign_ins: SignIns, parts: PageParts) -> None:
    """Add the routes. A campaign that the reader may not see is answered like one that does not exist."""

    def seen(campaign_id: str) -> Preview:
        draft = said(parts.db, campaign_id, signed_in().caller.reach).draft
        return compile_draft(draft, campaign_id, parts.settings).preview(READER, parts.links.link(PREVIEW))

    @blueprint.get("/campaigns/<campaign_id>/body")
    @sign_ins.required
    def show_body(campaign_id: str) -> Response:
        """The HTML of the message, with a link to unsubscribe that is nobody's."""
        return _document(seen(campaign_id).html, "text/html")

    @blueprint.get("/campaigns/<campaign_id>/text")
    @sign_ins.required
    def show_text(campaign_id: str) -> Response:
        """The text part of the message."""
        return _document(seen(campaign_id).text, "text/plain")


def _document(content: str, mimetype: str) -> Response:
    document = make_response(content)
    document.mimetype = mimetype
    document.headers.update(PRIVATE_HEADERS)
    document.headers.update({"Content-Security-Policy": POLICY, "X-Frame-Options": "SAMEORIGIN"})
    return document
