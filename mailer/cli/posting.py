"""A POST of a campaign that is tried again rightly: the same request with the same key, until its answer is known."""

from __future__ import annotations

import random
import secrets
import time
from dataclasses import dataclass

import click
import requests

from mailer.cli.answers import Json, Refused
from mailer.cli.client import Accepted, Client
from mailer.cli.failures import Failure, unanswered
from transports.network_errors import never_arrived

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds; each pause is twice the one before
BUSY = (429, 503)  # the service took nothing, and asks for patience
LOST = "it may have been accepted"
LOOK = "`mailer campaigns list` shows it"


class NotAccepted(Failure):
    """Nothing was accepted, and the same command may succeed later."""

    exit_code = 4


class Unknown(Failure):
    """The request may have been accepted: its answer was lost."""

    exit_code = 5


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Why a try has brought no answer that lasts. `arrived`: whether the campaign may have been accepted."""

    words: str
    arrived: bool
    pause: float | None = None  # seconds that the service asks for


def new_key() -> str:
    """A key that no other request has."""
    return secrets.token_urlsafe(16)


def post(client: Client, payload: Json, key: str | None, patience: float) -> Accepted:
    """POST a campaign, and try again for `patience` seconds while the service is away, busy or silent.

    Raises `NotAccepted`, `Unknown`, and `Refused` for what no further try would change. Once a try may have arrived,
    only an answer of the service to the same key can tell what became of it.
    """
    ends = time.monotonic() + patience
    client.ends = ends if patience else None
    pause, arrived = FIRST_PAUSE, False
    while True:
        outcome = _try(client, payload, key, arrived=arrived)
        if isinstance(outcome, Accepted):
            client.ends = None
            return outcome
        arrived = arrived or outcome.arrived
        wait = max(pause * random.uniform(0.5, 1.0), outcome.pause or 0.0)  # noqa: S311 - only apart from others
        if time.monotonic() + wait >= ends:
            raise _end(outcome, key, arrived=arrived)
        click.echo(f"{outcome.words}; trying again in {wait:.0f} s", err=True)
        time.sleep(wait)
        pause = min(2 * pause, LONGEST_PAUSE)


def _try(client: Client, payload: Json, key: str | None, *, arrived: bool) -> Accepted | _Trouble:
    try:
        return client.send(payload, key)
    except requests.RequestException as error:
        return _Trouble(unanswered(error), not never_arrived(error))
    except Refused as error:
        if error.status in BUSY:
            return _Trouble(error.format_message(), arrived=False, pause=error.retry_after)
        if (
            error.status >= 500 or error.status < 400
        ):  # a proxy that waited in vain, or an error whose time is not known
            return _Trouble(error.format_message(), arrived=True)
        if arrived:
            raise Unknown(f"{error.format_message()}; {_lost(key)}") from error
        raise


def _end(last: _Trouble, key: str | None, *, arrived: bool) -> Failure:
    if arrived:
        return Unknown(f"{last.words}; {_lost(key)}")
    return NotAccepted(last.words)


def _lost(key: str | None) -> str:
    return f"{LOST}: {LOOK}" if key is None else f"{LOST}: repeat with --idempotency-key {key}, or {LOOK}"
