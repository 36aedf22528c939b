"""`mailer users import`: users from a file into the directory."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mailer.cli.database import open_database
from mailer.cli.failures import Misuse
from mailer.cli.output import print_json, print_notes, print_rows
from mailer.directory.changes import Mode
from mailer.directory.imports import ImportOptions, ImportResult, import_users
from mailer.directory.user_tables import TableOptions
from mailer.settings import Settings
from mailer.storage.database import Database

ALL = sys.maxsize


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--replace", is_flag=True, help="Make each document exactly what the file says; only `active` stays.")
@click.option("--empty-clears", is_flag=True, help="In a table, an empty cell removes its field; else it stays.")
@click.option("--ignore-unknown", is_flag=True, help="In a table, leave out columns that are not known.")
@click.option("--encoding", help="What the file is written in. Default: UTF-8 or UTF-16, as it says itself.")
@click.option("--list-problems", is_flag=True, help="Show which users have no address that can be written to, and why.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts, and what was assumed, as JSON.")
def import_(
    *,
    file: Path,
    replace: bool,
    empty_clears: bool,
    ignore_unknown: bool,
    encoding: str | None,
    list_problems: bool,
    as_json: bool,
) -> None:
    """Add the users in FILE, or change those who are known: all of them or, on an error, none.

    FILE is a JSON array or NDJSON of Rocket.Chat's user documents, pages of its users.list, or a table (CSV) with the
    columns _id, username, name (or first name, last name), email, active, type, roles (a;b), createdAt, lastLogin,
    status, language and customFields.NAME, in any case. Fields that it does not name stay as they are. Without _id,
    users are found by username or address. Secrets are not stored. Nobody is deleted, nobody who has unsubscribed is
    subscribed again, and nobody who was deactivated is active again unless FILE says so.
    """
    if replace and empty_clears:
        raise Misuse("--replace and --empty-clears: with --replace an empty cell is no field already")
    reading = TableOptions(empty_clears=empty_clears, ignore_unknown=ignore_unknown)
    mode = Mode.REPLACE if replace else Mode.MERGE
    with open_database() as db:
        problems, pause = ALL if list_problems else 0, Settings.from_env().owner_deactivated == "pause"
        result = _import(db, file, ImportOptions(mode, reading, encoding, problems, pause))
    if as_json:
        print_json(_as_json(result, list_problems))
    else:
        _print(result, list_problems)


def _import(db: Database, file: Path, options: ImportOptions) -> ImportResult:
    size = file.stat().st_size
    if not size:  # a pipe: its length is not known
        return import_users(db, file, options)
    with click.progressbar(length=size, label="reading", file=sys.stderr) as bar:
        return import_users(db, file, options, progress=lambda position: bar.update(position - bar.pos))


def _as_json(result: ImportResult, list_problems: bool) -> dict[str, object]:
    shown: dict[str, object] = {"created": result.created, "updated": result.updated, "unchanged": result.unchanged}
    shown |= {"total": result.total, "erased": result.erased, "unreachable": result.unreachable, "notes": result.notes}
    shown |= {"endedTokens": result.left.tokens, "pausedCampaigns": result.left.paused}
    shown |= {"ongoingCampaigns": result.left.ongoing, "waitingCampaigns": result.left.waiting}
    problems = [{"_id": one.user_id, "field": one.field, "reason": one.reason} for one in result.problems]
    return {**shown, "problems": problems} if list_problems else shown


def _print(result: ImportResult, list_problems: bool) -> None:
    for note in result.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(
        f"{result.total} users: {result.created} created, {result.updated} updated, {result.unchanged} unchanged"
    )
    if result.erased:
        click.echo(f"{result.erased} more have been erased, and stay so")
    if result.unreachable:
        how = "" if list_problems else "; --list-problems shows which"
        click.echo(f"{result.unreachable} of them without an address that can be written to{how}")
    print_notes(result.left.notes())
    if result.problems:
        print_rows(("_id", "field", "reason"), result.problems)
