"""Logging in, `me` and logging out, passed on to the workspace; its answers are passed back."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import requests

from mailer.callers.sessions import Answer
from mailer.callers.tokens import Caller
from mailer.callers.workspace_callers import WorkspaceCallers
from mailer.errors import NotLoggedIn, TooManyRequests, WorkspaceUnavailable
from mailer.workspace.client import CALLER_TIMEOUT, INVALID_JSON

PASSED_BACK = (200, 400, 401, 403)  # the statuses of a workspace that has understood the call
MAX_ANSWER = 1 << 20  # bytes of an answer
ANSWER_TIMEOUT = 20.0  # seconds for all of an answer
DEFAULT_WAIT = 60  # seconds, when a workspace that limits us does not say how long


class WorkspaceSessions:
    """Sessions of a workspace. Raises `WorkspaceUnavailable` for whatever is no answer of one."""

    def __init__(self, url: str, callers: WorkspaceCallers) -> None:
        self._url = url.rstrip("/")
        self._callers = callers

    def login(self, credentials: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
        """The workspace's answer; nothing of `credentials` is kept or logged."""
        return self._ask("POST", "login", headers, credentials)

    def me(self, caller: Caller, token: str) -> Answer:
        """The caller as the workspace knows them."""
        return self._known(self._ask("GET", "me", _credentials(caller, token)))

    def logout(self, caller: Caller, token: str, headers: Mapping[str, str]) -> Answer:
        """Log out of the workspace. This process forgets the token at once, others within a minute."""
        answer = self._ask("POST", "logout", {**headers, **_credentials(caller, token)}, {})
        self._callers.forget(caller.user_id, token)
        return self._known(answer)

    def _known(self, answer: Answer) -> Answer:
        if answer.status == 401:
            raise NotLoggedIn
        return answer

    def _ask(self, method: str, path: str, headers: Mapping[str, str], body: Any = None) -> Answer:
        try:
            with requests.Session() as session:  # one a caller: a cookie of one must not go along with another
                session.trust_env = False
                with session.request(
                    method,
                    f"{self._url}/api/v1/{path}",
                    json=body,
                    headers=dict(headers),
                    timeout=CALLER_TIMEOUT,
                    allow_redirects=False,
                    stream=True,
                ) as response:
                    return _read(response)
        except requests.RequestException as error:
            raise WorkspaceUnavailable from error


def _credentials(caller: Caller, token: str) -> dict[str, str]:
    return {"X-User-Id": caller.user_id, "X-Auth-Token": token}


def _read(response: requests.Response) -> Answer:
    if response.status_code == 429:
        raise TooManyRequests(_wait(response))
    if response.status_code not in PASSED_BACK:
        raise WorkspaceUnavailable
    data, ends = b"", time.monotonic() + ANSWER_TIMEOUT
    for piece in response.iter_content(65_536):
        data += piece
        if len(data) > MAX_ANSWER or time.monotonic() > ends:
            raise WorkspaceUnavailable
    try:
        body = json.loads(data)
    except INVALID_JSON as error:
        raise WorkspaceUnavailable from error
    if not isinstance(body, dict):
        raise WorkspaceUnavailable
    return Answer(body, response.status_code, {})


def _wait(response: requests.Response) -> int:
    reset = response.headers.get("X-RateLimit-Reset", "")
    if not (reset.isascii() and reset.isdigit()):
        return DEFAULT_WAIT
    return min(3600, max(1, round(int(reset[:15]) / 1000 - time.time())))
