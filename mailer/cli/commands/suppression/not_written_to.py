"""`mailer not-written-to`: everybody who must not be written to, exported with the reasons, and imported."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import click

from mailer.audit.actor import current_actor
from mailer.cli.database import open_database
from mailer.cli.options import FORMAT, RAW, text_of
from mailer.cli.output import erased_note, print_json, print_notes
from mailer.files.exports import write_rows
from mailer.storage.erased.people import count_erased
from mailer.suppression.exchange.entries import Entry, Why
from mailer.suppression.exchange.everybody import everybody
from mailer.suppression.exchange.importing import UNNAMED, Imported, import_entries, left_out
from mailer.suppression.exchange.reading import read_entries


@click.group("not-written-to")
def not_written_to() -> None:
    """Everybody who must not be written to, with the reasons: unsubscribed, refused, bounced, complained, blocked."""


@not_written_to.command()
@FORMAT
@RAW
def export(form: str, *, raw: bool) -> None:
    """Print all of them, since when and why, as a file that `import` reads again."""
    with open_database() as db:
        for line in write_rows(form, Entry.COLUMNS, (one.cells() for one in everybody(db)), raw=raw):
            click.echo(line, nl=False)
        print_notes(erased_note(count_erased(db)))


@not_written_to.command("import")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--reason",
    type=click.Choice([why.value for why in Why]),
    help="Of every row. Default: the columns of the list tell.",
)
@click.option("--all", "everything", is_flag=True, help="Take bounces too that are not about the address.")
@click.option("--dry-run", is_flag=True, help="Read the list only, and count its rows.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
def import_(file: IO[Any], *, reason: str | None, everything: bool, dry_run: bool, as_json: bool) -> None:
    """Take over what FILE says: all of it or, on an error, nothing. - is stdin.

    FILE is what `export` wrote, or what Amazon SES, Mailgun, SendGrid or Postmark export of those whom they do not
    write to, as CSV or JSON; its columns tell which. Wishes are kept as wishes, all else suppresses the address.
    Bounces of services that are soft, or about the sender or the message, are left out and counted.
    """
    source = UNNAMED if file.name in ("-", "<stdin>") else Path(file.name).name
    with open_database() as db, text_of(file) as text:
        entries = read_entries(text, Why(reason) if reason else None)
        done = import_entries(
            db, entries, by=current_actor().who, source=source, dry_run=dry_run, everything=everything
        )
    if as_json:
        print_json(asdict(done))
    else:
        click.echo("\n".join(_lines(done, dry_run=dry_run)))


def _lines(done: Imported, *, dry_run: bool) -> list[str]:
    rows = ", ".join(f"{getattr(done, name)} {name}" for name in ("unsubscribed", "refused", "bounced"))
    rows = f"rows: {rows}, {done.complained} complained, {done.blocked} blocked"
    left = [f"left out: {left_out(done.left_out, done.such_as)}"] if done.left_out else []
    if dry_run:
        return [rows, *left, "nothing was done"]
    kept = f"; wishes: {done.unmatched} of nobody yet, kept for whoever comes"
    erased = f"; rows: {done.erased} of people who were erased, left out" if done.erased else ""
    new = f"users: {done.newly_unsubscribed} newly unsubscribed; addresses: {done.suppressed} newly suppressed"
    return [rows, *left, new + kept + erased]
