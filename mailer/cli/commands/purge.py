"""`mailer purge`: forget what ended campaigns said."""

from __future__ import annotations

import click

from mailer.campaigns import retention
from mailer.cli.database import open_database
from mailer.cli.options import duration
from mailer.settings import Settings


@click.command()
@click.option(
    "--older-than",
    callback=duration(("d",), "not a number of days like 90d", most=99_999 * 86_400),
    metavar="DAYS",
    required=True,
    help="How long ago campaigns ended, such as 90d.",
)
def purge(older_than: int) -> None:
    """Forget what ended campaigns said and to which addresses; ids, states and counts stay."""
    with open_database() as db:
        purged = retention.purge(db, older_than, Settings.from_env().key_lifetime * 1000)
    click.echo(f"purged {purged.campaigns} campaigns with {purged.deliveries} deliveries")
