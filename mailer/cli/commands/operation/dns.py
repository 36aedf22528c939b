"""`mailer dns check`: what the DNS says of a domain that mail is sent from, and what is missing there."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from mailer.cli.commands.operation.findings import RESOLVER, SENDING_IP, as_record, print_findings, resolver_at
from mailer.cli.output import print_json
from mailer.dns_records.check import Sending
from mailer.dns_records.check import check as look
from mailer.dns_records.dkim import Selector
from mailer.dns_records.finding import Level, worst
from mailer.dns_records.known import selectors_for, transport_selectors
from mailer.dns_records.lookups import Address
from mailer.messages.addresses import envelope_address
from mailer.settings import Settings

EXIT_CODES = {Level.OK: 0, Level.UNKNOWN: 1, Level.WRONG: 3}


def _domain(_context: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    """In the form that the DNS has: lower case, IDNA."""
    address = envelope_address(f"x@{given.removesuffix('.')}") if given is not None else ""
    if address is None:
        raise click.BadParameter(f"{given!r} is no domain")
    return address.partition("@")[2] or None


@click.group()
def dns() -> None:
    """What the DNS says of those who send."""


@dns.command()
@click.argument("domain", callback=_domain)
@SENDING_IP
@click.option(
    "--selector",
    "selectors",
    multiple=True,
    metavar="NAME[:DOMAIN]",
    help="A DKIM key, and the domain that signs if it is another; as often as there are. Default: the transport's.",
)
@click.option(
    "--envelope",
    callback=_domain,
    metavar="DOMAIN",
    help="The domain of the envelope sender, to which bounces go. Default: the same.",
)
@RESOLVER
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def check(
    domain: str,
    addresses: tuple[Address, ...],
    selectors: tuple[str, ...],
    envelope: str | None,
    resolver: tuple[str, int] | None,
    as_json: bool,
) -> None:
    """Say what SPF, DKIM, DMARC, MX, PTR, MTA-STS and TLS-RPT of DOMAIN, from which mail is sent, tell its receivers,
    and the records that are missing. It asks the DNS and nobody else.

    Exit code 3 if something is missing or wrong, 1 if the DNS does not answer, else 0.
    """
    keys = [_selector(one, domain) for one in selectors] or _of_the_transport(domain)
    findings = look(resolver_at(resolver), Sending(domain, envelope or domain, addresses, keys))
    if as_json:
        print_json(as_record(domain, findings))
    else:
        print_findings(findings)
    raise click.exceptions.Exit(EXIT_CODES[worst(findings)])


def _selector(given: str, domain: str) -> Selector:
    name, colon, signer = given.partition(":")
    place = envelope_address(f"x@{name}.{signer or domain}")
    if not name or place is None or (colon and not signer):
        raise click.BadParameter(f"--selector {given!r} is no NAME or NAME:DOMAIN")
    return Selector(name.lower(), place.partition("@")[2].removeprefix(f"{name.lower()}."))


def _of_the_transport(domain: str) -> Sequence[Selector]:
    return selectors_for(domain, transport_selectors(Settings.from_env().transport, time.time()))
