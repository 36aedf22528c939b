"""`mailer unsubscribes`: who is not written to."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from pathlib import Path

import click

from mailer.cli.failures import Failure
from mailer.cli.output import moment, print_json, print_rows
from mailer.cli.storage import open_database
from mailer.suppression import all_suppressed, suppress
from mailer.suppression_lists import read_entries, write_csv, write_ndjson
from mailer.unsubscribe import resubscribe

WRITERS = {"csv": write_csv, "ndjson": write_ndjson}


@click.group()
def unsubscribes() -> None:
    """The unsubscribed: who is not written to."""


@unsubscribes.command("list")
@click.option("--limit", type=click.IntRange(min=0), default=50, show_default=True, help="How many; 0 is all.")
def list_(limit: int) -> None:
    """Show who has unsubscribed, by _id."""
    with open_database() as db:
        found = list(islice(all_suppressed(db), limit or None))
    rows = [(one.user_id, moment(one.unsubscribed_at), one.address) for one in found]
    print_rows(("_id", "unsubscribed", "address"), rows)


@unsubscribes.command()
@click.option("--format", "form", type=click.Choice(list(WRITERS)), default="csv", show_default=True)
def export(form: str) -> None:
    """Print all of them as a file that `import` reads again."""
    with open_database() as db:
        for line in WRITERS[form](all_suppressed(db)):
            click.echo(line, nl=False)


@unsubscribes.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
def import_(file: Path, as_json: bool) -> None:
    """Unsubscribe whom FILE names: all of it or, on an error, nothing.

    FILE is CSV with a column _id or address, NDJSON with such fields, or one address a line. It marks users of the
    directory; rows that name nobody are counted, and forgotten.
    """
    with open_database() as db, file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        counts = asdict(suppress(db, read_entries(lines), by="", source=""))
    if as_json:
        print_json(counts)
    else:
        users = f"users: {counts['unsubscribed']} unsubscribed, {counts['already']} already"
        click.echo(f"{users}; rows: {counts['unmatched']} unmatched")


@unsubscribes.command()
@click.argument("user_id", metavar="ID")
def remove(user_id: str) -> None:
    """Subscribe the user ID again."""
    with open_database() as db:
        if not resubscribe(db, user_id):
            raise Failure(f"there is no user with the id {user_id}")
    click.echo(f"subscribed: {user_id}")
