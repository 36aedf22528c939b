"""What the pages share: safe headers, errors as HTML, and addresses that hold below a proxy's own path.

`templates/base.html` is the frame that a page fills.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from pathlib import Path

from flask import Blueprint, Response, make_response, render_template, request

from mailer.errors import NotFound
from mailer.text import is_storable

ROOM = Path(__file__).resolve().parent
TEMPLATES = ROOM / "templates"
STATIC = ROOM / "static"  # a folder for each page

PRIVATE_HEADERS = {
    "Referrer-Policy": "no-referrer",  # the address may be a credential: it must not leak to where a reader goes next
    "X-Robots-Tag": "noindex, nofollow",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
MARK = "X-Robots-Tag"  # an answer that has this header is a page already
FOR_PROGRAMS = "/mailer/mailbox/api/"  # whatever is below answers in JSON
MAX_FORM_BYTES = 16 * 1024  # how large a form may be, but for that of a campaign
KEPT_HEADERS = ("Allow", "Retry-After")  # of the error that a page replaces


def content_policy(*allowed: str) -> str:
    """A Content-Security-Policy: a browser may load and do what the directives in `allowed` name, and nothing else."""
    return "; ".join(["default-src 'none'", *allowed, "base-uri 'none'", "frame-ancestors 'none'"])


def refuse_unstorable(blueprint: Blueprint, told_by_pages: Collection[str]) -> None:
    """There is no page at an address with a parameter that no database keeps, as with such a path.

    Of those in `told_by_pages` a page itself says what is wrong.
    """

    @blueprint.before_request
    def refuse() -> None:
        given = (value for name, value in request.args.items(multi=True) if name not in told_by_pages)
        if not all(map(is_storable, given)):
            raise NotFound("There is no such page.")


def limit_forms(blueprint: Blueprint) -> None:
    """Take no body of more than `MAX_FORM_BYTES`, however it is encoded, unless the view says how much it takes.

    A view that reads the form answers 413 to a larger one.
    """

    @blueprint.before_request
    def limit() -> None:
        request.max_content_length = MAX_FORM_BYTES


def private_page(template: str, policy: str, values: Mapping[str, object], status: int = HTTPStatus.OK) -> Response:
    """A page that is for its reader alone: nobody stores, frames or indexes it. `values` are for the template."""
    page = make_response(render_template(template, **values), status)
    page.headers.update({"Content-Security-Policy": policy, **PRIVATE_HEADERS})
    return page


def show_errors_as_pages(blueprint: Blueprint, prefix: str, error_page: Callable[[Response], Response]) -> None:
    """Replace every error at an address below `prefix` by `error_page` of it, also one that the app has raised."""

    @blueprint.after_app_request
    def replace(answer: Response) -> Response:
        if answer.status_code < HTTPStatus.BAD_REQUEST or MARK in answer.headers:
            return answer
        below = request.path.startswith(prefix) or request.path == prefix.rstrip("/")
        if not below or request.path.startswith(FOR_PROGRAMS):
            return answer
        page = error_page(answer)
        page.headers.update({name: answer.headers[name] for name in KEPT_HEADERS if name in answer.headers})
        return page


def relative_address(prefix: str) -> str:
    """The address of the folder `prefix` relative to the page asked for.

    Relative, because a proxy may serve the whole below a path of its own that this service does not know.
    """
    if not request.path.startswith(prefix):  # the folder without its last slash
        return prefix.strip("/").rpartition("/")[2] + "/"
    as_sent = str(request.environ.get("RAW_URI", request.path)).partition("?")[0]  # %2F divides nothing in a browser
    if prefix in as_sent:
        return "../" * as_sent.partition(prefix)[2].count("/")
    folders = as_sent.removeprefix(request.script_root).count("/") - 1
    return "../" * folders + prefix.lstrip("/")
