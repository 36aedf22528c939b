"""The part of `mailer config check` that asks the DNS: about each domain that mail is sent from, as far as is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from mailer.cli.commands.operation.findings import print_findings
from mailer.dns_records.check import check
from mailer.dns_records.finding import Finding, Level
from mailer.dns_records.known import known_sendings, transport_selectors
from mailer.dns_records.lookups import Address
from mailer.dns_records.resolver import Resolver
from mailer.settings import Settings

Domains = Mapping[str, Sequence[Finding]]

_NO_DOMAIN = (
    "no domain is known that mail is sent from, so the DNS was not asked: MAILER_ALLOWED_SENDERS names none; "
    "`mailer dns check DOMAIN` asks about one"
)


def look_online(settings: Settings, addresses: Sequence[Address], resolver: tuple[str, int] | None) -> Domains:
    """What the DNS says of each domain. It does so of the sender's domain as the envelope's too: they are the same."""
    selectors = transport_selectors(settings.transport)
    sendings = known_sendings(settings.allowed_senders, "", selectors, addresses)
    lookups = Resolver(resolver) if sendings else None
    return {sending.domain: check(lookups, sending) for sending in sendings if lookups is not None}


def troubles(domains: Domains) -> dict[str, str | None]:
    """What is wrong or cannot be told, by domain; None where all is well."""
    return {
        f"DNS of {domain}": "; ".join(
            f"{one.what}: {one.says}" for one in findings if one.level in (Level.WRONG, Level.UNKNOWN)
        )
        or None
        for domain, findings in domains.items()
    }


def no_domain(domains: Domains | None) -> tuple[str, ...]:
    """A note where the DNS should be asked and nobody knows about what."""
    return (_NO_DOMAIN,) if domains is not None and not domains else ()


def print_domains(domains: Domains) -> None:
    """A table for each domain."""
    for domain, findings in domains.items():
        click.echo(f"\n{domain}:")
        print_findings(findings)
