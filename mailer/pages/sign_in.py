"""Signing in and out, with the credentials of the API or through the workspace."""

from __future__ import annotations

import re
from http import HTTPStatus

from flask import Blueprint, Response, request

from mailer.callers.rate_limits import RateLimiter
from mailer.callers.sessions import Sessions
from mailer.errors import NotLoggedIn
from mailer.pages.signed_in import FIRST_FORM, SESSION, SignIns, signed_in, to_page

WRONG = "This user id and token do not belong together, or the token is no longer valid."
REFUSED = "The workspace does not let you in: user name, password or code are wrong."
NEXT = re.compile(r"[A-Za-z0-9][A-Za-z0-9/_-]{0,200}")  # a place below our pages, and no address of anybody else's


def add_routes(blueprint: Blueprint, sign_ins: SignIns, passwords: Sessions | None, limiter: RateLimiter) -> None:
    """Add the routes. `passwords` takes those of a workspace; None: there is none."""

    def ask(said: str = "", status: int = HTTPStatus.OK) -> Response:
        secret, new = sign_ins.first_form()
        values = {"said": said, "workspace": passwords is not None, "next": _next()}
        page = sign_ins.page("sign_in.html", values, status=status, secret=secret)
        if new:
            sign_ins.keep(page, FIRST_FORM, secret)
        return page

    @blueprint.get("/sign-in")
    def show() -> Response:
        """Ask for credentials."""
        return ask()

    @blueprint.post("/sign-in")
    def sign_in() -> Response:
        """Begin a session. Tries are counted like those of the API."""
        sign_ins.check_form(request.cookies.get(FIRST_FORM, ""))
        limiter.hit("logins", sign_ins.client())
        try:
            cookie = sign_ins.sessions.open(*_credentials(passwords))
        except NotLoggedIn as error:
            said = WRONG if error.text == NotLoggedIn.text else error.text
            return ask(said, HTTPStatus.UNAUTHORIZED)
        answer = to_page(_next())
        sign_ins.keep(answer, SESSION, cookie)
        return answer

    @blueprint.post("/sign-out")
    @sign_ins.required
    def sign_out() -> Response:
        """End this session or, with `everywhere`, all of this person's."""
        sign_ins.sessions.close(signed_in(), everywhere="everywhere" in request.form)
        answer = to_page("sign-in")
        sign_ins.forget(answer)
        return answer


def _credentials(passwords: Sessions | None) -> tuple[str, str]:
    """The user id and token of the form, or those that the workspace gives for the password in it."""
    if passwords is None or request.form.get("password") is None:
        return _own()
    code = request.form.get("code", "")
    second = {"x-2fa-code": code, "x-2fa-method": "totp"} if code.isdigit() else {}
    answer = passwords.login({"user": request.form.get("user", ""), "password": request.form["password"]}, second)
    data = answer.body.get("data")
    if answer.status != HTTPStatus.OK or not isinstance(data, dict):
        raise NotLoggedIn(_why(answer.body))
    return str(data.get("userId", "")), str(data.get("authToken", ""))


def _own() -> tuple[str, str]:
    return request.form.get("user_id", "").strip(), request.form.get("token", "").strip()


def _why(body: dict[str, object]) -> str:
    second = "totp" in str(body.get("errorType", body.get("error", "")))
    return "The workspace asks for a code as well: enter it beside your password." if second else REFUSED


def _next() -> str:
    wanted = request.values.get("next", "")
    return wanted if NEXT.fullmatch(wanted) else ""
