"""`webhook:https://host/path` POSTs batches of messages as JSON; docs/reference/transports.md has the exchange.

With a 2xx response the receiver takes the batch: the body has an outcome for each message, or is empty when all were
taken. With any other response it takes nothing. When the whole request was written and no response came, all messages
are `uncertain`.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Self

import requests

from transports.base import About, Message, Outcome, Status, Transport, TransportConfigError, TransportUnavailable
from transports.network_errors import in_words
from transports.options import Options, shown_options, split_group, split_url
from transports.rate import Rate, Rated, in_requests
from transports.webhook.exchange import Body, WebhookResponse, as_json, outcomes_in, read_limited, seconds_of, uncertain
from transports.webhook.settings import (
    OPTIONS,
    SHOWN,
    WebhookSettings,
    check_url,
    existing_file,
    rate_key,
    read_secret,
    shown_target,
)

TOO_MANY_REQUESTS = 429
GATEWAY_TIMEOUT = 504  # a proxy's own word that it passed the request on and got no answer


class WebhookUnavailable(TransportUnavailable):
    """The receiver took nothing; `retry_after` is the seconds it asked to be left alone, if it did."""

    def __init__(self, text: str, retry_after: float | None = None, about: About = About.TRANSPORT) -> None:
        super().__init__(text)
        self.retry_after = retry_after
        self.about = about


class WebhookTransport(Transport, Rated):
    """POSTs messages to one address, signed with HMAC-SHA-256 when there is a secret."""

    def __init__(self, settings: WebhookSettings, clock: Callable[[], float] = time.time) -> None:
        """Raise `TransportConfigError` if the URL is not https, or http to this machine."""
        self._settings = settings
        self._clock = clock
        self._host = check_url(settings.url)
        logging.getLogger("urllib3.connectionpool").addFilter(_UNLOGGED)  # which has no effect from the second time on

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Build from `webhook:URL?options`, or `webhook:(URL?query)?options` for a URL with a query of its own."""
        parts = split_url(url)
        options = Options(parts.scheme, parts.query, OPTIONS)
        targets = split_group(parts.scheme, parts.rest) if parts.rest.startswith("(") else (parts.rest,)
        if len(targets) != 1:
            raise TransportConfigError("webhook: needs one URL")
        settings = WebhookSettings(
            url=targets[0],
            secret=read_secret(options.text("secret_file")),
            batch=options.integer("batch", 50, 1, 1000),
            timeout=options.duration("timeout", 60.0, maximum=600.0),
            connect_timeout=options.duration("connect_timeout", 10.0, maximum=600.0),
            ca_file=existing_file(options.text("ca_file")),
            rate=Rate.from_options(options, rate_key(targets[0])),
        )
        return cls(settings)

    @classmethod
    def shown(cls, url: str) -> str:
        """Without path and query, which may hold the receiver's token."""
        try:
            parts = split_url(url)
            targets = split_group(parts.scheme, parts.rest) if parts.rest.startswith("(") else (parts.rest,)
        except TransportConfigError:
            return super().shown(url)
        return f"webhook:{' '.join(map(shown_target, targets))}{shown_options(parts.query, SHOWN)}"

    def send(self, messages: Iterable[Message]) -> Iterator[Outcome]:
        """POST up to `batch` messages at a time and yield the outcomes in the answer.

        Raises `WebhookUnavailable` when the receiver took nothing of the batch in hand.
        """
        with self._session() as session:
            for batch in in_requests(messages, self._settings.rate, self._settings.batch):
                outcomes = self._exchange(session, batch)
                yield from outcomes
                self._stop_if_told(outcomes)

    def check(self) -> None:
        """POST an empty batch, signed; raise `WebhookUnavailable` unless it is taken.

        Raises `TransportUnavailable` if the day's quota is used up.
        """
        for rate in self.rates():
            rate.check()
        with self._session() as session:
            body = Body(as_json(()))
            try:
                response = self._post(session, body)
            except requests.RequestException as error:
                raise WebhookUnavailable(self._trouble(error)) from None  # what it came from names the path
            self._ensure_taken(response)

    def rates(self) -> Sequence[Rate]:
        """See `Rated.rates`."""
        return [self._settings.rate] if self._settings.rate else []

    def _exchange(self, session: requests.Session, batch: Sequence[Message]) -> list[Outcome]:
        body = Body(as_json(batch))
        try:
            response = self._post(session, body)
        except requests.RequestException as error:
            if body.handed_over:
                return uncertain(batch, self._trouble(error))
            raise WebhookUnavailable(self._trouble(error)) from None
        if response.status == GATEWAY_TIMEOUT and body.handed_over:
            return uncertain(batch, f"{self._host}: answered 504")
        self._ensure_taken(response)
        return outcomes_in(response, batch)

    def _stop_if_told(self, outcomes: Sequence[Outcome]) -> None:
        """Raise `WebhookUnavailable` where an outcome is about the rate or the receiver itself."""
        for outcome in outcomes:
            if outcome.status in (Status.DEFERRED, Status.REFUSED) and outcome.about in (About.RATE, About.TRANSPORT):
                raise WebhookUnavailable(f"{self._host}: {outcome.reply or outcome.status}", about=outcome.about)

    def _post(self, session: requests.Session, body: Body) -> WebhookResponse:
        settings = self._settings
        deadline = time.monotonic() + settings.timeout
        with (
            _unlogged(),
            session.post(
                settings.url,
                data=body,
                headers=headers(body.content, settings.secret, int(self._clock())),
                timeout=(settings.connect_timeout, settings.timeout),
                allow_redirects=False,
                stream=True,
            ) as response,
        ):
            content = read_limited(response, deadline) if response.ok else None
            return WebhookResponse(response.status_code, response.headers, content)

    def _ensure_taken(self, response: WebhookResponse) -> None:
        if not 200 <= response.status < 300:
            retry_after = seconds_of(response.headers.get("Retry-After", ""), self._clock())
            about = About.RATE if response.status == TOO_MANY_REQUESTS else About.TRANSPORT
            raise WebhookUnavailable(f"{self._host}: answered {response.status}", retry_after, about)

    def _session(self) -> requests.Session:
        # One for each `send`: a session is not for several threads. A connection kept from an earlier `send` could also
        # be closed by the receiver just when a batch is written to it, which would leave the whole batch uncertain.
        session = requests.Session()
        session.trust_env = False
        if self._settings.ca_file:
            session.verify = self._settings.ca_file
        return session

    def _trouble(self, error: requests.RequestException) -> str:
        return f"{self._host}: {in_words(error)}"  # not its own text, which may name the path, which may hold a token


class _Unlogged(logging.Filter):
    """Drops what urllib3 logs in a thread that is POSTing, since it names the path, which may hold a token."""

    def filter(self, _record: logging.LogRecord) -> bool:
        """Whether this thread is not POSTing."""
        return not getattr(_posting, "now", False)


_posting = threading.local()
_UNLOGGED = _Unlogged()


@contextmanager
def _unlogged() -> Iterator[None]:
    _posting.now = True
    try:
        yield
    finally:
        _posting.now = False


def headers(content: bytes, secret: bytes, timestamp: int) -> dict[str, str]:
    """The request's headers: the same content has the same Idempotency-Key; `timestamp` in seconds since 1970."""
    found = {"Content-Type": "application/json", "Idempotency-Key": hashlib.sha256(content).hexdigest()}
    if secret:
        found["X-Mailer-Timestamp"] = str(timestamp)
        found["X-Mailer-Signature"] = f"sha256={sign(content, secret, timestamp)}"
    return found


def sign(content: bytes, secret: bytes, timestamp: int) -> str:
    """HMAC-SHA-256 over `<timestamp>.<content>`, in hexadecimal."""
    return hmac.new(secret, f"{timestamp}.".encode() + content, hashlib.sha256).hexdigest()
