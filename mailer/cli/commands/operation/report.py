"""`mailer report`: what went on while nobody looked, from the database alone."""

from __future__ import annotations

from collections.abc import Sequence

import click

from mailer.campaigns.reports.standstills import Late, Standstill
from mailer.cli.database import open_database
from mailer.cli.options import moment_of
from mailer.cli.output import moment, print_json, print_rows, printable
from mailer.operation.report import Report, night
from mailer.operation.report import report as look_back
from mailer.settings import Settings


@click.command()
@click.option(
    "--since", callback=moment_of, default="12h", show_default=True, metavar="WHEN", help="A date, a time, or 12h, 7d."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def report(since: int, as_json: bool) -> None:
    """Show outages, what was late and by how much, and what waits for a person.

    The service need not run.
    """
    with open_database() as db:
        found = look_back(db, Settings.from_env(), since)
    if as_json:
        print_json(night(found))
    else:
        _print(found)


def _print(found: Report) -> None:
    click.echo(f"from {moment(found.since)} to {moment(found.now)}")
    if found.outages:
        click.echo()
        headings = ("stood still", "from", "until", "minutes", "tries", "by", "campaign", "reason")
        print_rows(headings, [_outage(one, found.now) for one in found.outages])
    if found.late:
        click.echo()
        print_rows(("late", "caller", "state", "minutes", "because of"), map(_late, found.late))
    click.echo()
    click.echo(f"batches taken over from lost workers: {found.workers_lost}")
    click.echo("bounced: {}, marked as spam: {}".format(*found.reported))
    for problem in found.needs_a_person:
        click.echo(printable(f"needs a person: {problem}"))
    if not found.needs_a_person:
        click.echo("nothing waits for a person")


def _outage(one: Standstill, now: int) -> Sequence[object]:
    minutes = ((one.until or now) - one.since) // 60_000
    until = "still" if one.until is None else moment(one.until)
    return (one.cause, moment(one.since), until, minutes, one.tries, one.by, one.campaign_id, one.reason)


def _late(one: Late) -> Sequence[object]:
    return (one.campaign_id, one.caller_id, one.state, one.late // 60_000, ", ".join(one.causes))
