"""One message: as HTML in a frame, as text, its source, its fields, what was checked, what is attached."""

from __future__ import annotations

import re
from http import HTTPStatus

from flask import Blueprint, Response, make_response, request

from mailer.errors import NotFound
from mailer.mailbox import reading
from mailer.mailbox.checks import checks_of
from mailer.mailbox.links import LinkChecks, host_of
from mailer.mailbox.opened import framed_html, opened
from mailer.pages.base import PRIVATE_HEADERS, content_policy
from mailer.pages.parts import PageParts
from mailer.pages.signed_in import POLICY, SignIns, signed_in, to_page

VIEWS = ("html", "text", "source", "headers", "checks")
MOST_SOURCE = 300_000  # characters that a page shows; all of it can be downloaded
WITH_FRAME = f"{POLICY}; frame-src 'self'"
_ELSEWHERE = re.compile(r"(?:\b(?:src|srcset|background|poster)\s*=\s*[\"']?|url\(\s*[\"']?)\s*https?:", re.IGNORECASE)


def frame_policy(*, images: bool) -> str:
    """What the frame may do: styles, and the message's own pictures; with `images` those from elsewhere too.

    It runs no script, sends no form, and is nobody's page: the sandbox takes even its own address from it.
    """
    allowed = "img-src data: https: http:" if images else "img-src data:"
    policy = content_policy("style-src 'unsafe-inline'", allowed, "form-action 'none'")
    policy = policy.replace("frame-ancestors 'none'", "frame-ancestors 'self'")
    return f"{policy}; sandbox allow-popups allow-popups-to-escape-sandbox"


def add_routes(blueprint: Blueprint, sign_ins: SignIns, parts: PageParts) -> None:
    """Add the routes. A message that the reader may not see is answered like one that does not exist."""
    db, links = parts.db, LinkChecks(parts.links, parts.settings.site_url)

    def find(number: int) -> tuple[reading.Listed, bytes]:
        listed = reading.one(db, signed_in().caller.reach, number)
        return listed, reading.content(db, listed)

    @blueprint.get("/mailbox/<int:number>")
    @sign_ins.required
    def show_message(number: int) -> Response:
        """One message; `view` is one of `VIEWS`. To show it marks it as read."""
        listed, content = find(number)
        if not listed.read:
            reading.mark(db, signed_in().caller.reach, reading.with_ids([number]), read=True)
        message = opened(content)
        usual = "html" if message.html else "text"
        view = request.args.get("view", usual)
        values: dict[str, object] = {
            "one": listed,
            "message": message,
            "view": view if view in VIEWS else usual,
            "views": VIEWS,
            "checks": checks_of(content, message, listed.message_id, links),
            "links": links.links_of(message, listed.message_id),
            "host_of": host_of,
            "elsewhere": bool(_ELSEWHERE.search(message.html)),
            "images": "images" in request.args,
        }
        if values["view"] == "source":
            values["source"] = content.decode("utf-8", "replace")[:MOST_SOURCE]
            values["cut"] = len(content) > MOST_SOURCE
        page = sign_ins.page("mailbox/message.html", values)
        page.headers["Content-Security-Policy"] = WITH_FRAME
        return page

    @blueprint.get("/mailbox/<int:number>/html")
    @sign_ins.required
    def show_kept_html(number: int) -> Response:
        """Its HTML, for the frame; with `images` pictures from elsewhere are loaded."""
        message = opened(find(number)[1])
        page = make_response(framed_html(message))
        page.headers.update(PRIVATE_HEADERS)
        page.headers["X-Frame-Options"] = "SAMEORIGIN"
        page.headers["Content-Security-Policy"] = frame_policy(images="images" in request.args)
        return page

    @blueprint.get("/mailbox/<int:number>/source")
    @sign_ins.required
    def download_source(number: int) -> Response:
        """All of it as a file that mail programs open."""
        return _file(find(number)[1], f"{number}.eml", "message/rfc822")

    @blueprint.get("/mailbox/<int:number>/parts/<part>")
    @sign_ins.required
    def download_part(number: int, part: str) -> Response:
        """What is attached, to be kept and never to be shown here."""
        found = opened(find(number)[1]).part(part)
        if found is None:
            raise NotFound("There is no such part.")
        return _file(found.octets, found.name, "application/octet-stream")

    @blueprint.post("/mailbox/<int:number>/delete")
    @sign_ins.required
    def delete_message(number: int) -> Response:
        """Delete it."""
        reach = signed_in().caller.reach
        reading.one(db, reach, number)
        reading.remove(db, reach, reading.with_ids([number]))
        return to_page("mailbox/")


def _file(octets: bytes, name: str, kind: str) -> Response:
    answer = Response(octets, HTTPStatus.OK, mimetype=kind)
    answer.headers.set("Content-Disposition", "attachment", filename=name)
    answer.headers.update(PRIVATE_HEADERS)
    answer.headers["Content-Security-Policy"] = f"{content_policy()}; sandbox"
    return answer
