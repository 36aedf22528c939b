"""`mailer unsubscribes`: who has unsubscribed, listed, exported, imported, and subscribed again."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import IO, Any

import click

from mailer.audit.actor import current_actor
from mailer.cli.database import id_of, open_database
from mailer.cli.options import FORMAT, LIMIT, RAW, text_of
from mailer.cli.output import erased_note, moment, print_json, print_notes, print_rows
from mailer.files.exports import write_rows
from mailer.settings import Settings
from mailer.storage.erased.people import count_erased
from mailer.suppression.list_files import read_people
from mailer.suppression.unsubscribe_lists import (
    Unsubscribed,
    all_unsubscribed_users,
    all_unsubscribed_users_and_wishes,
    unsubscribe_listed,
)
from mailer.suppression.unsubscribes import resubscribe, resubscribe_address
from mailer.suppression.wishes import all_kept_wishes


@click.group()
def unsubscribes() -> None:
    """The unsubscribed: who is not written to."""


@unsubscribes.command("list")
@LIMIT
def list_(limit: int) -> None:
    """Show who has unsubscribed, by _id; `kept` shows the addresses and ids that are kept for whoever comes."""
    with open_database() as db:
        found = list(islice(all_unsubscribed_users(db), limit or None))
    rows = [(one.user_id, moment(one.unsubscribed_at), one.address, one.campaign_id) for one in found]
    print_rows(("_id", "unsubscribed", "address", "campaign"), rows)


@unsubscribes.command()
@LIMIT
def kept(limit: int) -> None:
    """Show the addresses and ids that are kept for whoever comes: since when, by whom, and from which list."""
    with open_database() as db:
        found = list(islice(all_kept_wishes(db), limit or None))
    heading = ("address", "_id", "unsubscribed", "kept", "by", "list")
    rows = [
        (one.address, one.user_id, moment(one.unsubscribed_at), moment(one.kept_at), one.kept_by, one.source)
        for one in found
    ]
    print_rows(heading, rows)


@unsubscribes.command()
@FORMAT
@RAW
def export(form: str, *, raw: bool) -> None:
    """Print all of them, and what is kept for whoever comes, as a file that `import` reads again."""
    with open_database() as db:
        rows = (one.cells() for one in all_unsubscribed_users_and_wishes(db))
        for line in write_rows(form, Unsubscribed.COLUMNS, rows, raw=raw):
            click.echo(line, nl=False)
        print_notes(erased_note(count_erased(db)))


@unsubscribes.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
def import_(file: IO[Any], *, as_json: bool) -> None:
    """Unsubscribe whom FILE names: all of it or, on an error, nothing. - is stdin.

    FILE is a table with a column _id or email (or address), and unsubscribedAt if it has one; JSON with such fields; or
    addresses, one or more a line. Rows that name nobody are kept, and hold for whoever comes later.
    """
    with open_database() as db, text_of(file) as text:
        counts = asdict(unsubscribe_listed(db, read_people(text), by=current_actor().who, source=_name(file)))
    if as_json:
        print_json(counts)
    else:
        users = f"users: {counts['unsubscribed']} unsubscribed, {counts['already']} already"
        left_out = f", {counts['erased']} of people who were erased, left out" if counts["erased"] else ""
        click.echo(f"{users}; rows: {counts['unmatched']} unmatched, kept for whoever comes{left_out}")


def _name(file: IO[Any]) -> str:
    return "standard input" if file.name in ("-", "<stdin>") else Path(file.name).name


@unsubscribes.command()
@click.argument("user_id", metavar="ID|ADDRESS")
def remove(user_id: str) -> None:
    """Subscribe the user ID again (a username will do), or take back what is kept for ADDRESS, at their own request.

    With an ADDRESS, users whom it had marked are written to again; who has unsubscribed by themselves is not.
    """
    with open_database() as db:
        merged = Settings.from_env().merge_addresses
        if not resubscribe(db, user_id, merged=merged) and resubscribe_address(db, user_id) is None:
            user_id = id_of(db, user_id)
            resubscribe(db, user_id, merged=merged)
    click.echo(f"subscribed: {user_id}")
