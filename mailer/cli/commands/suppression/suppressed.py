"""`mailer suppressed`: addresses refused in several campaigns in a row, or blocked by an operator."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import IO, Any

import click

from mailer.audit.actor import current_actor
from mailer.cli.database import open_database
from mailer.cli.failures import Failure
from mailer.cli.options import FORMAT, LIMIT, RAW, text_of
from mailer.cli.output import erased_note, moment, print_notes, print_rows
from mailer.files.exports import write_rows
from mailer.messages.addresses import envelope_address
from mailer.storage.erased.people import count_erased
from mailer.suppression.blocked_addresses import block
from mailer.suppression.list_files import ListedAddress, read_addresses
from mailer.suppression.suppressed_addresses import SuppressedAddress, all_suppressed_addresses, lift_listed


@click.group()
def suppressed() -> None:
    """Addresses not written to: refused or bounced again and again, complained, or blocked by a person."""


@suppressed.command("list")
@LIMIT
def list_(limit: int) -> None:
    """Show the addresses, since when, in how many campaigns refused, how many users have them, and why.

    `rule` is what counted: an operator, a complaint, or by what the last refusal or bounce was taken to be about the
    address. Then come the operator's reason and the words of that refusal.
    """
    with open_database() as db:
        found = list(islice(all_suppressed_addresses(db), limit or None))
    rows = [(one.address, moment(one.suppressed_at), one.campaigns, one.users, *_why(one)) for one in found]
    print_rows(("address", "suppressed", "campaigns", "users", "rule", "why"), rows)


def _why(one: SuppressedAddress) -> tuple[str, str]:
    """Two cells, the rules that suppress it and the words behind them: the operator's first, the refusal's last."""
    blocked = [] if one.blocked_by is None else [(f"blocked by {one.blocked_by}", one.reason or "")]
    if one.complained_at is not None:
        blocked.append(("complained", f"marked as spam {moment(one.complained_at)}"))
    counted = one.rule if one.bounced_at is None else f"{one.rule} (bounced)"
    rules = [*blocked, *([(counted, one.reply)] if one.rule or one.campaigns else [])]
    return ", ".join(rule for rule, _ in rules), "; ".join(words for _, words in rules)


@suppressed.command()
@FORMAT
@RAW
def export(form: str, *, raw: bool) -> None:
    """Print all of them as a file."""
    with open_database() as db:
        rows = (one.cells() for one in all_suppressed_addresses(db))
        for line in write_rows(form, SuppressedAddress.COLUMNS, rows, raw=raw):
            click.echo(line, nl=False)
        print_notes(erased_note(count_erased(db)))


def _addresses(_context: click.Context, _option: click.Parameter, given: Sequence[str]) -> Sequence[str]:
    for text in given:
        if envelope_address(text) is None:
            raise click.BadParameter(f"{text} is no valid address")
    return given


ADDRESSES = click.argument("addresses", nargs=-1, callback=_addresses, metavar="[ADDRESS]...")
FILE = click.option(
    "--file", "file", type=click.File("rb"), help="A list: a table or JSON with addresses, or one a line; - is stdin."
)


@suppressed.command("block")
@ADDRESSES
@FILE
@click.option("--reason", required=True, help="Why; a column `reason` in the file goes before it.")
def block_(addresses: Sequence[str], file: IO[bytes] | None, reason: str) -> None:
    """Write to each ADDRESS no more until it is lifted, whoever has it. Who has unsubscribed is another list."""
    if not reason.strip():
        raise click.BadParameter("is empty", param_hint="--reason")
    with open_database() as db:
        done = block(db, _named(addresses, file), by=current_actor().who, reason=reason.strip())
    left_out = f", erased and not written to anyway: {done.erased}" if done.erased else ""
    click.echo(f"blocked: {done.blocked}, already: {done.already}{left_out}")


@suppressed.command("lift")
@ADDRESSES
@FILE
def lift_(addresses: Sequence[str], file: IO[bytes] | None) -> None:
    """Write to each ADDRESS again, counting anew, whether refusals or an operator had it suppressed.

    Exit code 1 if one was not suppressed; the others are lifted.
    """
    with open_database() as db:
        done = lift_listed(db, _named(addresses, file))
    click.echo(f"lifted: {done.lifted}")
    if done.unmatched:
        raise Failure(f"not suppressed: {done.unmatched} of the addresses")


def _named(addresses: Iterable[str], file: IO[Any] | None) -> list[ListedAddress]:
    named = [ListedAddress(envelope_address(one) or one) for one in addresses]
    if not named and file is None:
        raise click.UsageError("neither an ADDRESS nor a --file")
    if file is not None:
        with text_of(file) as text:
            named += read_addresses(text)
    return named
