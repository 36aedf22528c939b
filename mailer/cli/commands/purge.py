"""`mailer purge`: forget what ended campaigns said."""

from __future__ import annotations

import re

import click

from mailer.campaigns import retention
from mailer.cli.database import open_database

DAY = 24 * 60 * 60 * 1000


def _milliseconds(_context: click.Context, _option: click.Parameter, days: str) -> int:
    match = re.fullmatch(r"(\d{1,5})d", days)
    if match is None:
        raise click.BadParameter("not a number of days like 90d")
    return int(match[1]) * DAY


@click.command()
@click.option(
    "--older-than",
    callback=_milliseconds,
    metavar="DAYS",
    required=True,
    help="How long ago campaigns ended, such as 90d.",
)
def purge(older_than: int) -> None:
    """Forget what ended campaigns said and to which addresses; ids, states and counts stay."""
    with open_database() as db:
        purged = retention.purge(db, older_than)
    click.echo(f"purged {purged.campaigns} campaigns with {purged.deliveries} deliveries")
