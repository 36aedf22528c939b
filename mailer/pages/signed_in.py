"""Pages that ask for a session: who has signed in, which forms are ours, and the frame that these pages share."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from functools import wraps
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from flask import Response, g, redirect, request
from flask_babel import lazy_gettext

from mailer.api.requests.bodies import read_whole
from mailer.audit.actor import Actor, Via, acting
from mailer.callers.client_address import TrustedProxies
from mailer.callers.page_sessions import PageSessions, SignedIn, form_token, is_form_token
from mailer.callers.tokens import MANAGE_CAMPAIGNS, MANAGE_USERS, SEND_MAIL, VIEW_AUDIT_LOG, Caller
from mailer.campaigns.hold import Hold
from mailer.errors import InvalidParams, MailerError, NotLoggedIn
from mailer.pages.base import content_policy, private_page, relative_address
from mailer.pages.languages import prefer_language, signed_in_language
from mailer.storage.database_errors import DATABASE_ERRORS

PREFIX = "/mailer/"
FIRST_PAGES = {  # where one begins, each with the permissions of which it needs one
    "": (SEND_MAIL, MANAGE_CAMPAIGNS),
    "people/": (MANAGE_USERS,),
    "system": (MANAGE_CAMPAIGNS, VIEW_AUDIT_LOG),
}
NEEDED = tuple(permission for permissions in FIRST_PAGES.values() for permission in permissions)
SESSION, FIRST_FORM = "mailer_session", "mailer_form"
POLICY = content_policy(
    "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'", "form-action 'self'"
)
FOREIGN_FORM = "The form is not from this page, or the page has been open for too long. Go back and load it again."
ANEW = lazy_gettext("You have signed in anew since. Nothing is lost, and nothing was done: press the button again.")

View = Callable[..., Response]
_SECTIONS = {
    "campaigns": "",
    "readmit": "people",
    "not-written-to": "people",
}  # by the first part of an address: below which page it is


class SignIns:
    """Lets in who has signed in, and makes their pages. `secure`: browsers send the cookies over https only.

    `language_of` a user id gives what the directory says of their language. `held()`: what holds all sending, which
    every page says.
    """

    def __init__(
        self,
        sessions: PageSessions,
        proxies: TrustedProxies,
        site_name: str,
        language_of: Callable[[str], object],
        *,
        secure: bool,
        held: Callable[[], Hold | None],
    ) -> None:
        self.sessions = sessions
        self._language_of = language_of
        self._held = held
        self._proxies = proxies
        self._site_name = site_name
        self._secure = secure

    def required(self, view: View) -> View:
        """Let in who has signed in and may see campaigns."""
        return self.requires(SEND_MAIL, MANAGE_CAMPAIGNS)(view)

    def requires(self, *permissions: str) -> Callable[[View], View]:
        """Let in who has signed in and has one of `permissions`, or anybody who has, where none is named.

        Others are sent to sign in. A POST must come from our form.
        """

        def guard(view: View) -> View:
            @wraps(view)
            def guarded(*args: Any, **kwargs: Any) -> Response:
                try:
                    one = self._read()
                except NotLoggedIn:
                    return self.ask()
                if request.path == PREFIX and (home := first_page(one.caller)):  # the address that everybody knows
                    return to_page(home)
                g.needed = permissions  # for the page of who has none of them
                if permissions:
                    one.caller.require(*permissions)
                if request.method == "POST":
                    self.check_form(one.secret)
                with self.acting_as(one.caller.user_id):
                    return view(*args, **kwargs)

            return guarded

        return guard

    def recognise(self) -> None:
        """Know who has signed in, if anybody has, for a page that everybody may see."""
        with suppress(MailerError, *DATABASE_ERRORS):
            self._read()

    def _read(self) -> SignedIn:
        one = self.sessions.read(request.cookies.get(SESSION, ""))
        prefer_language(self._language_of(one.caller.user_id))
        g.signed_in = one
        return one

    def begin(self, cookie: str, place: str = "") -> Response:
        """Go on as who has just signed in, to `place` or the first page that they may see."""
        answer = to_page(place or first_page(self.sessions.read(cookie).caller))
        self._keep(answer, SESSION, cookie)
        return answer

    def acting_as(self, user_id: str) -> AbstractContextManager[None]:
        """What is done meanwhile is on record as done by this user on a page."""
        return acting(Actor(user_id, Via.PAGE, self.client()))

    def _known_hold(self) -> Hold | None:
        with suppress(*DATABASE_ERRORS):
            return self._held()
        return None

    def ask(self) -> Response:
        """To the page where one signs in, and from there back to what was asked for."""
        wanted = request.full_path.rstrip("?").removeprefix(PREFIX) if request.method == "GET" else ""
        answer = to_page("sign-in" + (f"?next={quote(wanted)}" if wanted else ""))
        if SESSION in request.cookies:
            self.forget(answer)
        return answer

    def signed_out_page(self) -> Response:
        """To who has been signed out meanwhile: the form that they have sent, to go on with once they are back."""
        carried = [(name, value) for name, value in request.form.items(multi=True) if name not in ("form", "body")]
        values = {"carried": carried, "body": request.form.get("body", "")}
        page = self.page("signed_out.html", values, status=HTTPStatus.UNAUTHORIZED)
        self.forget(page)
        return page

    def check_form(self, secret: str) -> None:
        """Raise `InvalidParams` unless the form that was sent is ours, made for who has this secret."""
        if request.content_length is None:  # in chunks: it is known to be too large only when it has been read
            read_whole(request)
        if not secret or not is_form_token(secret, request.form.get("form", "")):
            raise InvalidParams(FOREIGN_FORM, field="form")

    def client(self) -> str:
        """The client's address."""
        return self._proxies.client(request.remote_addr or "", request.headers.get("X-Forwarded-For", ""))

    def anonymous_page(self, template: str, values: Mapping[str, object], *, status: int = 200) -> Response:
        """A page with a form for somebody who has not signed in; its secret is kept in a cookie of its own."""
        kept = request.cookies.get(FIRST_FORM, "")
        secret = kept or secrets.token_urlsafe(32)
        page = self.page(template, values, status=status, secret=secret)
        if not kept:
            self._keep(page, FIRST_FORM, secret)
        return page

    def _keep(self, answer: Response, name: str, value: str) -> None:
        """Have the browser keep it, out of reach of scripts.

        A form of another site comes without it. A link from elsewhere, as in a mail or a chat, comes with it.
        """
        answer.set_cookie(name, value, httponly=True, samesite="Lax", secure=self._secure)

    def forget(self, answer: Response) -> None:
        """Have the browser forget the session."""
        answer.delete_cookie(SESSION, httponly=True, samesite="Lax", secure=self._secure)

    def page(self, template: str, values: Mapping[str, object], *, status: int = 200, secret: str = "") -> Response:
        """A page in the frame, with `values`; `secret` is for its forms, unless somebody has signed in."""
        one: SignedIn | None = g.get("signed_in")
        frame = {
            "site_name": self._site_name,
            "language": signed_in_language(),
            "here": _section(),
            "root": relative_address(PREFIX),
            "caller": one.caller if one else None,
            "held": self._known_hold() if one else None,
            "home": first_page(one.caller) if one else "",
            "form": form_token(one.secret if one else secret),
        }
        page = private_page(template, POLICY, {**frame, **values}, status)
        page.content_language.add(signed_in_language())
        return page


def signed_in() -> SignedIn:
    """Who has signed in. Only in a view for which `SignIns.required` asks."""
    one: SignedIn = g.signed_in
    return one


def first_page(caller: Caller) -> str:
    """Where this caller begins: the first of the pages that they may see."""
    return next((place for place, needed in FIRST_PAGES.items() if not caller.permissions.isdisjoint(needed)), "")


def _section() -> str:
    """Which page of the frame's list is asked for: the first part of the address, "" for the campaigns."""
    first = request.path.removeprefix(PREFIX).partition("/")[0]
    return _SECTIONS.get(first, first)


def to_page(place: str) -> Response:
    """See another page below the prefix, by GET. The address is relative, since a proxy may have a path of its own."""
    return redirect(relative_address(PREFIX) + place or "./", 303)  # type: ignore[return-value]
