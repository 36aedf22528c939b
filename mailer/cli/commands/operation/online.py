"""The part of `mailer config check` that asks the DNS: about each domain that mail is sent from, as far as is known."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from mailer.cli.commands.operation.findings import as_record, print_findings, resolver_at
from mailer.dns_records.check import check
from mailer.dns_records.finding import Finding, Level
from mailer.dns_records.known import known_sendings, transport_selectors
from mailer.dns_records.lookups import Address
from mailer.settings import Settings

_NO_DOMAIN = (
    "no domain is known that mail is sent from, so the DNS was not asked: MAILER_ALLOWED_SENDERS names none; "
    "`mailer dns check DOMAIN` asks about one"
)


@dataclass(frozen=True, slots=True)
class Online:
    """What the DNS says, by domain; none are known where there is none."""

    domains: Mapping[str, Sequence[Finding]]

    @property
    def troubles(self) -> dict[str, str | None]:
        """What is wrong or cannot be told, by domain; None where all is well."""
        return {f"DNS of {domain}": _trouble(findings) for domain, findings in self.domains.items()}

    @property
    def notes(self) -> tuple[str, ...]:
        """That nobody was asked, where no domain is known."""
        return () if self.domains else (_NO_DOMAIN,)

    @property
    def records(self) -> list[dict[str, Any]]:
        """For scripts, one for each domain."""
        return [as_record(domain, findings) for domain, findings in self.domains.items()]

    def show(self) -> None:
        """Print a table for each domain."""
        for domain, findings in self.domains.items():
            click.echo(f"\n{domain}:")
            print_findings(findings)


def look_online(settings: Settings, addresses: Sequence[Address], resolver: tuple[str, int] | None) -> Online:
    """Ask about each domain, with the domain to which bounces go, and the keys by which the transport signs."""
    bounces = str(settings.bounce_address or "")
    keys = transport_selectors(settings.transport, time.time())
    sendings = known_sendings(settings.allowed_senders, bounces, keys, addresses)
    lookups = resolver_at(resolver) if sendings else None
    return Online({sending.domain: check(lookups, sending) for sending in sendings if lookups is not None})


def _trouble(findings: Sequence[Finding]) -> str | None:
    wrong = (one for one in findings if one.level in (Level.WRONG, Level.UNKNOWN))
    return "; ".join(f"{one.what}: {one.says}" for one in wrong) or None
