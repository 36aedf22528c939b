"""Errors as pages: what went wrong, and what to do about it."""

from __future__ import annotations

from http import HTTPStatus

from flask import Response, g
from flask_babel import LazyString, gettext, lazy_gettext

from mailer.pages.signed_in import SignIns
from mailer.pages.words import span

PROBLEMS: dict[int, tuple[LazyString, LazyString]] = {
    HTTPStatus.BAD_REQUEST: (
        lazy_gettext("That form cannot be taken"),
        lazy_gettext("Go back, load the page again, and send it once more."),
    ),
    HTTPStatus.FORBIDDEN: (
        lazy_gettext("Not for you"),
        lazy_gettext("What you have signed in with does not allow this."),
    ),
    HTTPStatus.NOT_FOUND: (
        lazy_gettext("There is nothing here"),
        lazy_gettext("It may never have been, or it is not yours. Look whether the address is complete."),
    ),
    HTTPStatus.METHOD_NOT_ALLOWED: (
        lazy_gettext("That cannot be done here"),
        lazy_gettext("Go back, and use what is on the page."),
    ),
    HTTPStatus.CONFLICT: (
        lazy_gettext("It has changed meanwhile"),
        lazy_gettext("Somebody else was faster, or it has ended. Load the page again."),
    ),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (
        lazy_gettext("That is too large"),
        lazy_gettext("Nothing was taken of what you sent. Go back, and make the text or the file smaller."),
    ),
    HTTPStatus.TOO_MANY_REQUESTS: (
        lazy_gettext("Too many tries"),
        lazy_gettext("Nothing was done this time."),
    ),
    HTTPStatus.SERVICE_UNAVAILABLE: (
        lazy_gettext("Not available at the moment"),
        lazy_gettext("Nothing that was accepted is lost."),
    ),
}
OTHER = (
    lazy_gettext("Something went wrong"),
    lazy_gettext("That is the service's fault, not yours, and it is in its log. Nothing that was accepted is lost."),
)


def problem_page(sign_ins: SignIns, error: Response) -> Response:
    """The page that replaces `error`. It says for how long to wait, or which permission is missing."""
    sign_ins.recognise()
    title, advice = PROBLEMS.get(error.status_code, OTHER)
    needed = g.get("needed", ()) if error.status_code == HTTPStatus.FORBIDDEN else ()
    values = {"title": title, "advice": advice, "wait": _wait(error), "status": error.status_code, "needed": needed}
    return sign_ins.page("problem.html", values, status=error.status_code)


def _wait(error: Response) -> str:
    seconds = error.headers.get("Retry-After", "")
    return str(gettext("Try again in %(span)s.", span=span(int(seconds)))) if seconds.isdecimal() else ""
