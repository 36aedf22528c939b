"""A client of the HTTP API, for the commands that need a running service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import click
import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from mailer.cli.failures import Failure, Misuse
from mailer.cli.output import erased_note, print_notes, printable
from mailer.settings import Settings, environment
from mailer.text import is_http_header_value
from mailer.times import to_iso

CAMPAIGNS = "/api/v1/mailer/campaigns"
AUDIENCE = "/api/v1/mailer/audience"
PREVIEW = "/api/v1/mailer/preview"
LOCAL = Settings().site_url
ERASED = "Mailer-Erased"
TIMEOUT = (10, 60)  # seconds to connect, and to the answer
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


@dataclass(frozen=True, slots=True)
class Accepted:
    """A campaign that the service has accepted; `replayed`: it had been accepted before.

    `warning` is what the service says beside that; empty: nothing.
    """

    campaign_id: str
    replayed: bool
    warning: str = ""


class Client:
    """Calls the service at `url`. A refusal is a `Failure` with the service's own words."""

    def __init__(self, url: str, user_id: str, token: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise Misuse("--url: neither http:// nor https://")
        if not is_http_header_value(user_id + token):
            raise Misuse("--user-id and --token: not what a header can hold")
        self._url = url.rstrip("/")
        self._session = requests.Session()
        self._session.headers.update({"X-User-Id": user_id, "X-Auth-Token": token})
        # only reads are tried again: a POST whose answer was lost may have been accepted
        self._session.mount(f"{self._url}{CAMPAIGNS}/", HTTPAdapter(max_retries=RETRIES))

    def send(self, payload: Json, idempotency_key: str | None = None) -> Accepted:
        """POST a campaign."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        response = self._request("POST", "/api/v1/mailer", json=payload, headers=headers)
        _answer(response)
        campaign_id = response.headers.get("Location", "").rpartition("/")[2]
        replayed = response.headers.get("Idempotent-Replayed") == "true"
        return Accepted(campaign_id, replayed, response.headers.get("Mailer-Warning", ""))

    def campaign(self, campaign_id: str) -> Json:
        """The state and counts of one campaign."""
        campaign: Json = _answer(self._request("GET", _address(campaign_id)))["campaign"]
        return campaign

    def events(self, campaign_id: str) -> list[Json]:
        """What happened to one campaign, in order."""
        found: list[Json] = []
        page: Json = {"next": None}
        while not found or page["next"] is not None:
            params = {"count": 1000, **({"after": page["next"]} if page["next"] else {})}
            page = _answer(self._request("GET", f"{_address(campaign_id)}/events", params=params))
            found += page["events"]
        return found

    def campaigns(
        self,
        count: int,
        offset: int = 0,
        *,
        everybody: bool = False,
        state: str | None = None,
        since: int | None = None,
    ) -> Json:
        """A page of the caller's or everybody's campaigns, newest first, with `campaigns` and `total`.

        With `state`, only those that have it on record; with `since` (ms since 1970), only those accepted since.
        """
        wanted = {"all": "true" if everybody else None, "state": state, "since": since and to_iso(since)}
        params: Json = {"count": count, "offset": offset, **wanted}
        return _answer(self._request("GET", CAMPAIGNS, params=params))

    def audience(self, whom: Json, subject: str = "", body: str = "") -> Json:
        """Who would receive a campaign: `count`, a `sample` and `warnings`, also about the subject and the body.

        `whom` has the fields of a campaign that select its recipients.
        """
        return _answer(self._request("POST", AUDIENCE, json={**whom, "subject": subject, "body": body}))

    def preview(self, payload: Json) -> Json:
        """What one user would read: `subject`, `html` and `text`."""
        return _answer(self._request("POST", PREVIEW, json=payload))

    def preview_message(self, payload: Json) -> bytes:
        """The same as the message itself (RFC 5322)."""
        response = self._request("POST", PREVIEW, json=payload, headers={"Accept": "message/rfc822"})
        if response.status_code != 200:
            _answer(response)
        return response.content

    def pause(self, campaign_id: str) -> Json:
        """Hold a campaign; return it as it now is, as `resume` and `cancel` do."""
        return self._change(f"{_address(campaign_id)}/pause")

    def resume(self, campaign_id: str) -> Json:
        """Go on with a campaign that was paused."""
        return self._change(f"{_address(campaign_id)}/resume")

    def cancel(self, campaign_id: str) -> Json:
        """End a campaign for good."""
        return self._change(f"{_address(campaign_id)}/cancel")

    def edit(self, campaign_id: str, text: Json) -> Json:
        """Replace the subject or the body of a paused campaign; return it as it now is."""
        campaign: Json = _answer(self._request("PATCH", _address(campaign_id), json=text))["campaign"]
        return campaign

    def transfer(self, giver: str, receiver: str) -> Json:
        """Hand all campaigns of `giver` over to `receiver`; return how many, and the ids of the `open` ones."""
        path = f"{CAMPAIGNS}:transfer"
        return _answer(self._request("POST", path, json={"from": giver, "to": receiver}))

    def retry_failed(self, campaign_id: str, *, uncertain: bool) -> int:
        """Try everyone again who failed, with `uncertain` also who may have it already. Return how many."""
        params = {"uncertain": str(uncertain).lower()}
        answer = _answer(self._request("POST", f"{_address(campaign_id)}/retry-failed", params=params))
        retried: int = answer["retried"]
        return retried

    def export(
        self,
        campaign_id: str,
        form: str,
        **wanted: str | None,
    ) -> Iterator[bytes]:
        """One campaign's outcomes as a file in the format `form`, piece by piece. Who was erased is told on stderr.

        `wanted` has parameters of the API, such as `status`, that say which outcomes; None: any.
        """
        params = {"format": form, **wanted}
        with self._request("GET", f"{_address(campaign_id)}/export", params=params, stream=True) as response:
            if response.status_code != 200:
                _answer(response)
            print_notes(erased_note(int(response.headers.get(ERASED, "0"))))
            yield from response.iter_content(None)

    def _change(self, address: str) -> Json:
        campaign: Json = _answer(self._request("POST", address))["campaign"]
        return campaign

    def _request(self, method: str, path: str, **options: Any) -> requests.Response:
        # a redirect would take the token to wherever it points
        return self._session.request(method, self._url + path, timeout=TIMEOUT, allow_redirects=False, **options)


def _address(campaign_id: str) -> str:
    return f"{CAMPAIGNS}/{quote(campaign_id, safe='')}"


def _answer(response: requests.Response) -> Json:
    try:
        answer = response.json()
    except requests.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        problem = f"{response.url} answered {response.status_code} without JSON; is it the mailer?"
        raise Refused(problem, response.status_code, _retry_after(response))
    if response.status_code != 200:
        text = answer.get("error") or answer.get("message") or "no reason given"
        problem = f"refused with {response.status_code}: {printable(text)}{_wait(response, str(text))}"
        raise Refused(problem, response.status_code, _retry_after(response))
    return answer


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


def connected(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options for where the service is and who calls: `url`, `user_id` and `token`."""
    for option in (
        _option("--token", "MAILER_AUTH_TOKEN", "X-Auth-Token."),
        _option("--user-id", "MAILER_USER_ID", "X-User-Id."),
        _option("--url", "MAILER_SITE_URL", f"Where the service is; {LOCAL} if nothing says so.", LOCAL),
    ):
        command = option(command)
    return command


def _option(name: str, variable: str, about: str, default: str | None = None) -> Callable[..., Any]:
    def found() -> str | None:  # click itself has looked into the environment before, and this looks into .env
        return environment().get(variable) or default

    return click.option(name, default=found, callback=_given, envvar=variable, show_envvar=True, help=about)


def _given(context: click.Context, option: click.Parameter, value: str | None) -> str:
    if value is None:
        raise click.MissingParameter(ctx=context, param=option)
    return value
