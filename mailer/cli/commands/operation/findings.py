"""How the commands ask the DNS, and show what it says of a domain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from mailer.cli.failures import Failure
from mailer.cli.output import print_rows, printable
from mailer.dns_records.finding import TEXT, Finding, in_strings, worst
from mailer.dns_records.lookups import Address, DnsFailure, parse_address, parse_server

if TYPE_CHECKING:
    from mailer.dns_records.resolver import Resolver


def _addresses(_context: click.Context, _option: click.Parameter, given: Iterable[str]) -> tuple[Address, ...]:
    return tuple(_read(parse_address, one, "IP address") for one in given)


def _server(_context: click.Context, _option: click.Parameter, given: str | None) -> tuple[str, int] | None:
    return None if given is None else _read(parse_server, given, "address of a resolver, such as 192.0.2.53:53")


def _read(reader: Callable[[str], Any], given: str, what: str) -> Any:
    try:
        return reader(given)
    except ValueError as error:
        raise click.BadParameter(f"{given!r} is no {what}") from error


SENDING_IP = click.option(
    "--ip",
    "addresses",
    multiple=True,
    callback=_addresses,
    metavar="IP",
    help="An address from which mail goes out to its receivers; as often as there are.",
)
RESOLVER = click.option(
    "--resolver",
    callback=_server,
    metavar="IP[:PORT]",
    help="The DNS resolver that is asked. Default: that of the system.",
)


def resolver_at(server: tuple[str, int] | None) -> Resolver:
    """The resolver to ask. Raises `Failure` where the system names none."""
    from mailer.dns_records.resolver import Resolver  # noqa: PLC0415 - only those who ask need what speaks to the DNS

    try:
        return Resolver(server)
    except DnsFailure as error:
        raise Failure(str(error)) from error


def print_findings(findings: Sequence[Finding]) -> None:
    """A line for each, and below them the records to publish, as a zone file has them."""
    print_rows(("about", "state", "says"), [(one.what, one.level, one.says) for one in findings])
    wanted = [one.publish for one in findings if one.publish is not None]
    if wanted:
        click.echo()
        click.echo("to publish:")
    for name, kind, value in dict.fromkeys(wanted):
        shown = in_strings(value) if kind == TEXT else value if kind in ("A", "AAAA") else f"{value}."
        click.echo(printable(f"{name}. IN {kind} {shown}"))


def as_record(domain: str, findings: Sequence[Finding]) -> dict[str, Any]:
    """What was found, for scripts."""
    return {"domain": domain, "state": worst(findings), "findings": [_found(one) for one in findings]}


def _found(one: Finding) -> dict[str, Any]:
    publish = None if one.publish is None else one.publish._asdict()
    return {"what": one.what, "level": one.level, "says": one.says, "publish": publish}
