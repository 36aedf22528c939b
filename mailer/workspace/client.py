"""A client of a Rocket.Chat workspace's REST API: its list of users, and whose token a caller has."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests

from mailer.errors import WorkspaceUnavailable
from transports.network_errors import in_words

TIMEOUT = (10, 20)  # seconds to connect, and between two pieces of the answer: less than a graceful stop
CALLER_TIMEOUT = (3, 10)  # the same, while a caller waits for our answer
ATTEMPTS = 8
FIRST_WAIT, LONGEST_WAIT = 1.0, 120.0  # seconds
INVALID_JSON = (ValueError, RecursionError)  # what Python's reader raises, also for long numbers and deep nesting
BY_ID = '{"_id": 1}'  # in this order a new user moves the fewest others


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the list of users, unchecked, and how many users there are in all."""

    users: list[Any]
    total: int


@dataclass(frozen=True, slots=True)
class Account:
    """The user to whom a token belongs, as the workspace knows them."""

    user_id: str
    active: bool
    roles: tuple[str, ...]


def account(url: str, user_id: str, token: str) -> Account | None:
    """Whose token it is, asked of `me` once; None: the workspace does not accept it. Raises `WorkspaceUnavailable`."""
    headers = {"X-User-Id": user_id, "X-Auth-Token": token}
    try:
        with requests.Session() as session:  # one a caller: a cookie of one must not go along with another
            session.trust_env = False
            response = session.get(
                f"{url.rstrip('/')}/api/v1/me", headers=headers, timeout=CALLER_TIMEOUT, allow_redirects=False
            )
    except requests.RequestException as error:
        raise WorkspaceUnavailable from error
    if response.status_code == 401:
        return None
    found = _json(response)
    roles = found.get("roles")
    if not _has_id(found) or found.get("success") is not True or not isinstance(roles, list):
        raise WorkspaceUnavailable
    return Account(found["_id"], found.get("active") is True, tuple(map(str, roles)))


def _json(response: requests.Response) -> dict[str, Any]:
    try:
        found = response.json() if response.status_code == 200 else None
    except INVALID_JSON as error:
        raise WorkspaceUnavailable from error
    if not isinstance(found, dict):
        raise WorkspaceUnavailable
    return found


class Workspace:
    """The workspace at `url`, called as `user_id` with `token`. What it refuses raises `WorkspaceUnavailable`."""

    def __init__(
        self,
        url: str,
        user_id: str,
        token: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.url = url.rstrip("/")
        self._sleep = sleep
        self._now = now
        self._session = requests.Session()
        self._session.trust_env = False  # no .netrc: it would put other credentials beside these
        self._session.headers.update({"X-User-Id": user_id, "X-Auth-Token": token})

    def users(self, offset: int, count: int) -> Page:
        """`count` users by `_id` from the number `offset` on; fewer at the end, or if its pages are smaller."""
        answer = self._get("users.list", {"offset": str(offset), "count": str(count), "sort": BY_ID})
        users, total = answer.get("users"), answer.get("total")
        if not isinstance(users, list) or not isinstance(total, int):
            raise WorkspaceUnavailable(f"{self.url} answered users.list with something else; is it a workspace?")
        return Page(users, total)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _get(self, method: str, parameters: dict[str, str]) -> dict[str, Any]:
        for attempt in range(ATTEMPTS):
            response = self._try(method, parameters)
            if isinstance(response, requests.Response) and not _is_temporary(response):
                return self._answer(method, response)
            if attempt + 1 < ATTEMPTS:
                self._sleep(retry_delay(response, attempt, self._now()))
        reason = str(response.status_code) if isinstance(response, requests.Response) else in_words(response)
        raise WorkspaceUnavailable(f"{self.url} did not answer {method} in {ATTEMPTS} attempts: {reason}")

    def _try(self, method: str, parameters: dict[str, str]) -> requests.Response | requests.RequestException:
        try:
            # a redirect would take the token to wherever it points
            url = f"{self.url}/api/v1/{method}"
            return self._session.get(url, params=parameters, timeout=TIMEOUT, allow_redirects=False)
        except requests.RequestException as error:
            return error

    def _answer(self, method: str, response: requests.Response) -> dict[str, Any]:
        if response.status_code != 200:
            raise WorkspaceUnavailable(f"{self.url} refused {method} with {response.status_code}")
        try:
            answer = response.json()
        except INVALID_JSON as error:
            raise WorkspaceUnavailable(f"{self.url} answered {method} without JSON; is it a workspace?") from error
        if not isinstance(answer, dict) or answer.get("success") is not True:
            raise WorkspaceUnavailable(f"{self.url} answered {method} without success")
        return answer


def retry_delay(response: requests.Response | requests.RequestException, attempt: int, now: float) -> float:
    """Seconds to wait after attempt number `attempt` (from 0): as the answer asks, else twice as long each time."""
    doubled = FIRST_WAIT * 2.0**attempt
    told = _requested_wait(response, now) if isinstance(response, requests.Response) else None
    return min(LONGEST_WAIT, max(0.0, doubled if told is None else told))


def _requested_wait(response: requests.Response, now: float) -> float | None:
    """Seconds by `Retry-After`, or by Rocket.Chat's `X-RateLimit-Reset` (ms since 1970); None: it asks for nothing."""
    after = response.headers.get("Retry-After", "")
    if after.isascii() and after.isdigit():
        return float(after)
    reset = response.headers.get("X-RateLimit-Reset", "")
    return int(reset) / 1000 - now if reset.isascii() and reset.isdigit() else None


def _is_temporary(response: requests.Response) -> bool:
    return response.status_code == 429 or response.status_code >= 500


def _has_id(user: object) -> bool:
    return isinstance(user, dict) and isinstance(user.get("_id"), str)
