"""`mailer suppressed`: addresses not written to because campaign after campaign had them refused."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import click

from mailer.addresses import envelope_address
from mailer.cli.failures import Failure
from mailer.cli.output import moment, print_rows
from mailer.cli.storage import open_database
from mailer.cli.suppression import WRITERS
from mailer.refusals import all_suppressed_addresses, lift
from mailer.suppression_lists import SuppressedAddress


@click.group()
def suppressed() -> None:
    """Addresses not written to: campaign after campaign had them refused (MAILER_SUPPRESS_AFTER)."""


@suppressed.command("list")
@click.option("--limit", type=click.IntRange(min=0), default=50, show_default=True, help="How many; 0 is all.")
def list_(limit: int) -> None:
    """Show the addresses, since when, after how many campaigns, how many users have them, and the last reply.

    `rule` is by what that reply was taken to be about the address: nothing else counts.
    """
    with open_database() as db:
        found = list(islice(all_suppressed_addresses(db), limit or None))
    rows = [(one.address, moment(one.suppressed_at), one.campaigns, one.users, one.rule, one.reply) for one in found]
    print_rows(("address", "suppressed", "campaigns", "users", "rule", "reply"), rows)


@suppressed.command()
@click.option("--format", "form", type=click.Choice(list(WRITERS)), default="csv", show_default=True)
def export(form: str) -> None:
    """Print all of them as a file."""
    with open_database() as db:
        for line in WRITERS[form](all_suppressed_addresses(db), SuppressedAddress):
            click.echo(line, nl=False)


def _addresses(_context: click.Context, _option: click.Parameter, given: Sequence[str]) -> Sequence[str]:
    for text in given:
        if envelope_address(text) is None:
            raise click.BadParameter(f"{text} is no valid address")
    return given


@suppressed.command("lift")
@click.argument("addresses", nargs=-1, required=True, callback=_addresses, metavar="ADDRESS...")
def lift_(addresses: Sequence[str]) -> None:
    """Write to each ADDRESS again, counting anew. Exit code 1 if one was not suppressed; the others are lifted."""
    with open_database() as db:
        done = lift(db, addresses)
    click.echo(f"lifted: {done.lifted}")
    if done.unmatched:
        raise Failure(f"not suppressed: {done.unmatched} of the addresses")
