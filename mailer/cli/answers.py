"""What the service answers, read strictly: its refusals, and successes that are none of the mailer's."""

from __future__ import annotations

from typing import Any

import requests
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from mailer.cli.failures import Failure
from mailer.cli.output import printable

RETRIES = Retry(
    total=4,
    backoff_factor=0.3,
    status_forcelist=(502, 503, 504),
    allowed_methods={"GET"},
    respect_retry_after_header=False,  # a person is waiting
    raise_on_status=False,  # the last answer says more than that there were many
)

Json = dict[str, Any]


class Refused(Failure):
    """The service has answered, with a status that is not 200. `retry_after`: seconds that it asks to wait for."""

    def __init__(self, message: str, status: int, retry_after: float | None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


def campaign_of(response: requests.Response) -> Json:
    """The campaign in an answer."""
    campaign: Json = answer_of(response, "campaign")["campaign"]
    return campaign


def answer_of(response: requests.Response, *parts: str) -> Json:
    """What the service says. Raises `Refused`, also for a success that is not the mailer's or lacks one of `parts`."""
    try:
        answer = response.json()
    except requests.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        raise foreign(response, "without JSON")
    if response.status_code != 200:
        text = answer.get("error") or answer.get("message") or "no reason given"
        problem = f"refused with {response.status_code}: {printable(text)}{_wait(response, str(text))}"
        raise Refused(problem, response.status_code, _retry_after(response))
    if answer.get("success") is not True or any(part not in answer for part in parts):
        raise foreign(response, "with something else")
    return answer


def foreign(response: requests.Response, how: str) -> Refused:
    """The failure to raise for an answer that is not the mailer's."""
    problem = f"{response.url} answered {response.status_code} {how}; is it the mailer?"
    return Refused(problem, response.status_code, _retry_after(response))


def _retry_after(response: requests.Response) -> float | None:
    """The seconds that `Retry-After` asks for, be it a number or a date (RFC 9110, section 10.2.3)."""
    try:
        return RETRIES.get_retry_after(response.raw)
    except InvalidHeader:
        return None


def _wait(response: requests.Response, text: str) -> str:
    """How long to wait, unless the service's own words say so already."""
    seconds = response.headers.get("Retry-After", "")
    return f"; try again in {seconds} seconds" if seconds.isdecimal() and f"{seconds} seconds" not in text else ""
