"""`mailer audit`: who has changed what, from the audit log."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click

from mailer.audit.log import Act, Entry, entries, names_of
from mailer.cli.database import open_database
from mailer.cli.options import LIMIT, moment_of
from mailer.cli.output import moment, print_json, print_rows
from mailer.storage.database import Database
from mailer.times import to_iso

PAGE = 1000  # rows read at a time


@click.command()
@click.option("--since", callback=moment_of, metavar="WHEN", help="A date, a time, or how long ago: 2026-01-31, 7d.")
@click.option("--who", metavar="ID", help="A caller's id, or the system's user at the command line.")
@click.option("--act", type=click.Choice([act.value for act in Act]), help="What was done.")
@click.option("--about", metavar="ID|ADDRESS", help="A campaign, a user, a caller, or an address.")
@LIMIT
@click.option("--json", "as_json", is_flag=True, help="Print one act a line.")
def audit(since: int | None, who: str | None, act: str | None, about: str | None, limit: int, as_json: bool) -> None:
    """Show what people have changed, the latest first: when, who and from where, what, and about whom."""
    with open_database() as db:
        found = list(_found(db, since, who, act, names_of(db, about), limit))
    if as_json:
        for one in found:
            print_json(_spelled(one))
    else:
        print_rows(("at", "who", "via", "from", "act", "about", "details", "note"), map(_cells, found))


def _found(
    db: Database, since: int | None, who: str | None, act: str | None, about: tuple[str, ...], limit: int
) -> Iterator[Entry]:
    before: int | None = None
    left = limit or None
    while True:
        count = PAGE if left is None else min(PAGE, left)
        page = entries(db, since=since, who=who, act=act, about=about, before=before, count=count)
        yield from page
        left = None if left is None else left - len(page)
        if len(page) < count or left == 0:
            return
        before = page[-1].id


def _spelled(one: Entry) -> dict[str, object]:
    by = {"who": one.who, "via": one.via, "from": one.origin}
    what = {"details": one.details, "note": one.note}
    return {"_id": one.id, "at": to_iso(one.at), **by, "act": one.act, "about": one.about, **what}


def _cells(one: Entry) -> tuple[object, ...]:
    details = json.dumps(one.details, ensure_ascii=False) if one.details else ""
    return moment(one.at), one.who, one.via, one.origin, one.act, one.about, details, one.note or ""
