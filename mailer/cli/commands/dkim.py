"""`mailer dkim record`: what the DNS must have, so that others can verify what the transport signs."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from math import isinf
from typing import Any

import click

from mailer.cli.failures import Failure, Misuse
from mailer.cli.output import print_json, print_notes
from mailer.settings import Settings
from transports import TransportConfigError
from transports.dkim.keys import SigningKey
from transports.dkim.records import keys_in, warnings_about


@click.group()
def dkim() -> None:
    """The keys that sign outgoing mail."""


@dkim.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def record(as_json: bool) -> None:
    """Show the TXT record of each key of MAILER_TRANSPORT, as a line of a zone file.

    Nothing is asked of the DNS, and no private key is shown.
    """
    url = Settings.from_env().transport
    try:
        keys = keys_in(url)
    except TransportConfigError as error:
        raise Misuse(f"MAILER_TRANSPORT: {error}") from error
    if not keys:
        raise Failure("MAILER_TRANSPORT has no dkim: in it, so nothing is signed here")
    if as_json:
        print_json([_as_json(key) for key in keys])
        return
    for key in keys:
        click.echo(f"; {_in_words(key)}\n{key.record.zone_line}")
    print_notes(warnings_about(url))


def _in_words(key: SigningKey) -> str:
    kind = "Ed25519" if key.algorithm.startswith("ed") else f"RSA, {key.bits} bits"
    span = [f"{word} {_day(at)}" for word, at in (("from", key.not_before), ("until", key.until)) if not isinf(at)]
    return ", ".join([kind, " ".join(["signs", *span, "" if key.in_force(time.time()) else "(not now)"]).strip()])


def _as_json(key: SigningKey) -> dict[str, Any]:
    begins, ends = (None if isinf(at) else _day(at) for at in (key.not_before, key.until))
    signs = {"inForce": key.in_force(time.time()), "notBefore": begins, "until": ends}
    record = {"name": key.record.name, "type": "TXT", "text": key.record.text}
    return {**record, "domain": key.domain, "selector": key.selector, "algorithm": key.algorithm, **signs}


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
