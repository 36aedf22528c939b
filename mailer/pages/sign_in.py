"""Signing in and out: with the credentials of the API, through the workspace, or once with a link from an operator."""

from __future__ import annotations

import re
from contextlib import suppress
from http import HTTPStatus

from flask import Blueprint, Response, request
from flask_babel import gettext

from mailer.callers import login_links
from mailer.callers.rate_limits import RateLimiter
from mailer.callers.sessions import Sessions
from mailer.callers.tokens import Caller
from mailer.errors import NotAuthorized, NotLoggedIn, TooManyRequests, WorkspaceUnavailable
from mailer.pages.from_below.translation import translated
from mailer.pages.signed_in import FIRST_FORM, NEEDED, SignIns, signed_in, to_page
from mailer.storage.database import Database

# a place below our pages, and no address of anybody else's
NEXT = re.compile(r"[A-Za-z0-9][A-Za-z0-9/_-]{0,200}(\?[A-Za-z0-9=&%+._~-]{0,400})?")


def add_routes(blueprint: Blueprint, sign_ins: SignIns, passwords: Sessions | None, limiter: RateLimiter) -> None:
    """Add the routes. `passwords` takes those of a workspace; None: there is none."""

    def ask(said: str = "", status: int = HTTPStatus.OK) -> Response:
        values = {"said": said, "workspace": passwords is not None, "next": _next(), **_shown_again()}
        return sign_ins.anonymous_page("sign_in.html", values, status=status)

    @blueprint.get("/sign-in")
    def show() -> Response:
        """Ask for credentials."""
        return ask()

    @blueprint.post("/sign-in")
    def sign_in() -> Response:
        """Begin a session. Tries are counted like those of the API."""
        sign_ins.check_form(request.cookies.get(FIRST_FORM, ""))
        limiter.hit("logins", sign_ins.client())
        ours = passwords is not None and request.form.get("password") is not None
        user_id = token = ""
        try:
            user_id, token = _credentials(passwords)
            cookie = sign_ins.sessions.open(user_id, token, *NEEDED, token_is_ours=ours)
        except NotLoggedIn as error:
            return ask(_why_not(error), HTTPStatus.UNAUTHORIZED)
        except NotAuthorized:
            if ours:
                _log_out(passwords, Caller(user_id, frozenset()), token)
            return ask(_nothing_to_see(), HTTPStatus.FORBIDDEN)
        return sign_ins.begin(cookie, _next())

    @blueprint.post("/sign-out")
    @sign_ins.requires()
    def sign_out() -> Response:
        """End this session or, with `everywhere`, all of this person's; also the workspace's, if it began with ours."""
        one = signed_in()
        sign_ins.sessions.close(one, everywhere="everywhere" in request.form)
        if one.token_is_ours:
            _log_out(passwords, one.caller, one.token)
        answer = to_page("sign-in")
        sign_ins.forget(answer)
        return answer


def add_link_routes(blueprint: Blueprint, sign_ins: SignIns, db: Database, limiter: RateLimiter) -> None:
    """Add the page behind a link of `mailer login-link`."""

    def over() -> Response:
        values: dict[str, object] = {"user_id": None}
        return sign_ins.anonymous_page("login_link.html", values, status=HTTPStatus.NOT_FOUND)

    @blueprint.get("/sign-in/<link>")
    def offer(link: str) -> Response:
        """Show whom the link lets in, and a button. It stays good: mail scanners and chats follow links too."""
        try:
            return sign_ins.anonymous_page("login_link.html", {"user_id": login_links.whose(db, link)})
        except NotLoggedIn:
            return over()

    @blueprint.post("/sign-in/<link>")
    def use(link: str) -> Response:
        """Begin a session, and use the link up."""
        sign_ins.check_form(request.cookies.get(FIRST_FORM, ""))
        limiter.hit("logins", sign_ins.client())
        try:
            with sign_ins.acting_as(login_links.whose(db, link)):
                cookie = sign_ins.sessions.open_by_link(link)
        except NotLoggedIn:  # also where somebody else has pressed the button a moment ago
            return over()
        return sign_ins.begin(cookie)


def _credentials(passwords: Sessions | None) -> tuple[str, str]:
    """The user id and token of the form, or those that the workspace gives for the password in it."""
    if passwords is None or request.form.get("password") is None:
        return request.form.get("user_id", "").strip(), request.form.get("token", "").strip()
    credentials = {"user": request.form.get("user", ""), "password": request.form["password"]}
    if code := "".join(request.form.get("code", "").split()):  # of an app or a mail, or a backup code
        credentials["code"] = code
    answer = passwords.login(credentials, {})
    data = answer.body.get("data")
    if answer.status != HTTPStatus.OK or not isinstance(data, dict):
        raise NotLoggedIn(_why(answer.body, code))
    return str(data.get("userId", "")), str(data.get("authToken", ""))


def _log_out(passwords: Sessions | None, caller: Caller, token: str) -> None:
    """End the workspace's session that a password has begun here. Ours has ended, whether the workspace answers or not.

    A token that somebody has brought along is theirs, and stays good.
    """
    with suppress(NotLoggedIn, TooManyRequests, WorkspaceUnavailable):
        if passwords is not None:
            passwords.logout(caller, token, {})


def _why(body: dict[str, object], code: str) -> str:
    if "totp" in str(body.get("errorType", body.get("error", ""))):
        if code:
            return str(gettext("The workspace does not take this code. It may have been used, or have become old."))
        if _second(body) == "email":
            return str(gettext("The workspace has sent you a code by e-mail: enter it beside your password."))
        return str(gettext("The workspace asks for a code as well: enter it beside your password."))
    return str(gettext("The workspace does not let you in: user name, password or code are wrong."))


def _second(body: dict[str, object]) -> object:
    """By what the workspace has the code sent."""
    details = body.get("details")
    return details.get("method") if isinstance(details, dict) else None


def _why_not(error: NotLoggedIn) -> str:
    if error.text != NotLoggedIn.text:
        return translated(error.text)
    return str(gettext("This user id and token do not belong together, or the token is no longer valid."))


def _nothing_to_see() -> str:
    said = gettext(
        "These credentials are right, and they allow nothing here. An operator can make a token with the permission "
        "%(permission)s, for example.",
        permission=NEEDED[0],
    )
    return str(said)


def _shown_again() -> dict[str, str]:
    """What was entered, but for secrets."""
    return {name: request.form.get(name, "") for name in ("user", "user_id")}


def _next() -> str:
    wanted = request.values.get("next", "")
    return wanted if NEXT.fullmatch(wanted) else ""
