"""Pages that ask for a session: who has signed in, which forms are ours, and the frame that these pages share."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from flask import Response, g, redirect, request

from mailer.audit.actor import Actor, Via, acting
from mailer.callers.client_address import TrustedProxies
from mailer.callers.page_sessions import PageSessions, SignedIn, form_token, is_form_token
from mailer.callers.tokens import MANAGE_CAMPAIGNS, SEND_MAIL
from mailer.errors import InvalidParams, NotLoggedIn
from mailer.pages.base import content_policy, private_page, relative_address

PREFIX = "/mailer/"
SESSION, FIRST_FORM = "mailer_session", "mailer_form"
POLICY = content_policy(
    "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'", "form-action 'self'"
)
FOREIGN_FORM = "The form is not from this page, or the page has been open for too long. Go back and load it again."

View = Callable[..., Response]


class SignIns:
    """Lets in who has signed in, and makes their pages. `secure`: browsers send the cookies over https only."""

    def __init__(self, sessions: PageSessions, proxies: TrustedProxies, site_name: str, *, secure: bool) -> None:
        self.sessions = sessions
        self._proxies = proxies
        self._site_name = site_name
        self._secure = secure

    def required(self, view: View) -> View:
        """Let in who has signed in and may see campaigns; send others to sign in. A POST must come from our form."""
        return self.requires(SEND_MAIL, MANAGE_CAMPAIGNS)(view)

    def requires(self, *permissions: str) -> Callable[[View], View]:
        """The same for who has one of `permissions`."""

        def decorate(view: View) -> View:
            @wraps(view)
            def guarded(*args: Any, **kwargs: Any) -> Response:
                try:
                    g.signed_in = one = self.sessions.read(request.cookies.get(SESSION, ""))
                except NotLoggedIn:
                    return self.ask()
                one.caller.require(*permissions)
                if request.method == "POST":
                    self.check_form(one.secret)
                with acting(Actor(one.caller.user_id, Via.PAGE, self.client())):
                    return view(*args, **kwargs)

            return guarded

        return decorate

    def ask(self) -> Response:
        """To the page where one signs in, and from there back to what was asked for."""
        wanted = request.path.removeprefix(PREFIX) if request.method == "GET" else ""
        answer = to_page("sign-in" + (f"?next={wanted}" if wanted else ""))
        self.forget(answer)
        return answer

    def check_form(self, secret: str) -> None:
        """Raise `InvalidParams` unless the form that was sent is ours, made for who has this secret."""
        if not secret or not is_form_token(secret, request.form.get("form", "")):
            raise InvalidParams(FOREIGN_FORM, field="form")

    def client(self) -> str:
        """The client's address."""
        return self._proxies.client(request.remote_addr or "", request.headers.get("X-Forwarded-For", ""))

    def first_form(self) -> tuple[str, bool]:
        """The secret of a form for somebody who has not signed in, and whether it is new."""
        kept = request.cookies.get(FIRST_FORM, "")
        return (kept, False) if kept else (secrets.token_urlsafe(32), True)

    def keep(self, answer: Response, name: str, value: str) -> None:
        """Have the browser keep it, out of reach of scripts and of other sites."""
        answer.set_cookie(name, value, httponly=True, samesite="Strict", secure=self._secure)

    def forget(self, answer: Response) -> None:
        """Have the browser forget the session."""
        answer.delete_cookie(SESSION, httponly=True, samesite="Strict", secure=self._secure)

    def page(self, template: str, values: Mapping[str, object], *, status: int = 200, secret: str = "") -> Response:
        """A page in the frame, with `values`; `secret` is for its forms, unless somebody has signed in."""
        one: SignedIn | None = g.get("signed_in")
        frame = {
            "site_name": self._site_name,
            "root": relative_address(PREFIX),
            "caller": one.caller if one else None,
            "form": form_token(one.secret if one else secret),
        }
        return private_page(template, POLICY, {**frame, **values}, status)


def signed_in() -> SignedIn:
    """Who has signed in. Only in a view for which `SignIns.required` asks."""
    one: SignedIn = g.signed_in
    return one


def to_page(place: str) -> Response:
    """See another page below the prefix, by GET. The address is relative, since a proxy may have a path of its own."""
    return redirect(relative_address(PREFIX) + place or "./", 303)  # type: ignore[return-value]
