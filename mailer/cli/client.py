"""A client of the HTTP API, for the commands that need a running service."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import click
import requests
from click.core import ParameterSource
from requests.adapters import HTTPAdapter

from mailer.cli.answers import RETRIES, Json, answer_of, campaign_of, foreign
from mailer.cli.failures import Misuse
from mailer.cli.output import erased_note, print_notes
from mailer.settings import AUTH_TOKEN, Settings, client_variables, environment
from mailer.text import is_http_header_value
from mailer.times import to_iso

CAMPAIGNS = "/api/v1/mailer/campaigns"
LOOKED_AT = ("from", "subject", "body", "inlineCss")  # fields of a message that its warnings are about
AUDIENCE = "/api/v1/mailer/audience"
PREVIEW = "/api/v1/mailer/preview"
LOCAL = Settings().site_url
ERASED = "Mailer-Erased"
TIMEOUT = (10.0, 60.0)  # seconds to connect, and to the answer
LEAST_WAIT = 1.0  # seconds: a request that may not wait at all would be lost for nothing


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
        self.ends: float | None = None  # by `time.monotonic`, when the answer of a request is not waited for any more
        self._session = requests.Session()
        self._session.headers.update({"X-User-Id": user_id, "X-Auth-Token": token})
        # only reads are tried again: a POST whose answer was lost may have been accepted
        self._session.mount(f"{self._url}{CAMPAIGNS}/", HTTPAdapter(max_retries=RETRIES))

    def send(self, payload: Json, idempotency_key: str | None = None) -> Accepted:
        """POST a campaign."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        response = self._request("POST", "/api/v1/mailer", json=payload, headers=headers)
        answer_of(response)
        campaign_id = response.headers.get("Location", "").rpartition("/")[2]
        if not campaign_id:
            raise foreign(response, "without the campaign's address")
        replayed = response.headers.get("Idempotent-Replayed") == "true"
        return Accepted(campaign_id, replayed, response.headers.get("Mailer-Warning", ""))

    def campaign(self, campaign_id: str) -> Json:
        """The state and counts of one campaign."""
        return campaign_of(self._request("GET", _address(campaign_id)))

    def events(self, campaign_id: str) -> list[Json]:
        """What happened to one campaign, in order."""
        found: list[Json] = []
        page: Json = {"next": None}
        while not found or page["next"] is not None:
            params = {"count": 1000, **({"after": page["next"]} if page["next"] else {})}
            page = answer_of(self._request("GET", f"{_address(campaign_id)}/events", params=params), "events", "next")
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
        return answer_of(self._request("GET", CAMPAIGNS, params=params), "campaigns", "total")

    def audience(self, whom: Json, message: Json | None = None) -> Json:
        """Who would receive a campaign: `count`, a `sample` and `warnings`, also about its message.

        `whom` has the fields of a campaign that select its recipients, `message` those of what it says.
        """
        said = {name: value for name, value in (message or {}).items() if name in LOOKED_AT}
        return answer_of(self._request("POST", AUDIENCE, json={**whom, **said}), "count", "sample", "warnings")

    def preview(self, payload: Json) -> Json:
        """What one user would read: `subject`, `html` and `text`."""
        return answer_of(self._request("POST", PREVIEW, json=payload), "subject", "html", "text")

    def preview_message(self, payload: Json) -> bytes:
        """The same as the message itself (RFC 5322)."""
        response = self._request("POST", PREVIEW, json=payload, headers={"Accept": "message/rfc822"})
        if response.status_code != 200:
            answer_of(response)
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
        return campaign_of(self._request("PATCH", _address(campaign_id), json=text))

    def transfer(self, giver: str, receiver: str) -> Json:
        """Hand all campaigns of `giver` over to `receiver`; return how many, and the ids of the `open` ones."""
        path = f"{CAMPAIGNS}:transfer"
        return answer_of(self._request("POST", path, json={"from": giver, "to": receiver}), "campaigns", "open")

    def retry_failed(self, campaign_id: str, *, uncertain: bool) -> int:
        """Try everyone again who failed, with `uncertain` also who may have it already. Return how many."""
        params = {"uncertain": str(uncertain).lower()}
        answer = answer_of(self._request("POST", f"{_address(campaign_id)}/retry-failed", params=params), "retried")
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
                answer_of(response)
            print_notes(erased_note(int(response.headers.get(ERASED, "0"))))
            yield from response.iter_content(None)

    def _change(self, address: str) -> Json:
        return campaign_of(self._request("POST", address))

    def _request(self, method: str, path: str, **options: Any) -> requests.Response:
        # a redirect would take the token to wherever it points
        left = TIMEOUT[1] if self.ends is None else max(LEAST_WAIT, self.ends - time.monotonic())
        timeout = (min(TIMEOUT[0], left), min(TIMEOUT[1], left))
        return self._session.request(method, self._url + path, timeout=timeout, allow_redirects=False, **options)


def _address(campaign_id: str) -> str:
    return f"{CAMPAIGNS}/{quote(campaign_id, safe='')}"


def connected(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options for where the service is and who calls: `url`, `user_id` and `token`."""
    for option in (
        _option("--token", AUTH_TOKEN, "X-Auth-Token."),
        _option("--user-id", "MAILER_USER_ID", "X-User-Id."),
        _option("--url", "MAILER_SITE_URL", f"Where the service is; {LOCAL} if nothing says so.", LOCAL),
    ):
        command = option(command)
    return command


def _option(name: str, variable: str, about: str, default: str | None = None) -> Callable[..., Any]:
    def found() -> str | None:  # click itself has looked into the environment before, and this looks into .env
        return _known(variable).get(variable) or default

    return click.option(name, default=found, callback=_given, envvar=variable, show_envvar=True, help=about)


def _known(variable: str) -> Mapping[str, str]:
    return client_variables() if variable == AUTH_TOKEN else environment()


def _given(context: click.Context, option: click.Parameter, value: str | None) -> str:
    if context.get_parameter_source(str(option.name)) is ParameterSource.ENVIRONMENT:
        _known(str(option.envvar))  # which refuses a token that a file is to hold as well
    if value is None:
        raise click.MissingParameter(ctx=context, param=option)
    return value
