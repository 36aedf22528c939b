"""`mailer purge`: forget what ended campaigns said, after a question."""

from __future__ import annotations

import sys

import click

from mailer.campaigns import retention
from mailer.campaigns.retention import Purged
from mailer.cli.database import open_database
from mailer.cli.failures import Failure, Misuse
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
@click.option("--dry-run", is_flag=True, help="Only say how many it would be.")
@click.option("--yes", is_flag=True, help="Do not ask. Needed where nobody can be asked, as in a script.")
def purge(older_than: int, dry_run: bool, yes: bool) -> None:
    """Forget what ended campaigns said and to which addresses; ids, states and counts stay."""
    with open_database() as db:
        found = None if yes and not dry_run else retention.purgeable(db, older_than)
        if found is not None and dry_run:
            click.echo(f"would purge {_counted(found)}")
            return
        if found is not None:
            _ask(found)
        purged = retention.purge(db, older_than, Settings.from_env().key_lifetime * 1000)
    click.echo(f"purged {_counted(purged)}")


def _ask(found: Purged) -> None:
    """Raise `Failure` for a no, and `Misuse` where nobody can be asked."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Misuse("say --yes, since nobody can be asked here; --dry-run only counts")
    if not click.confirm(f"Forget the texts and addresses of {_counted(found)} for good?", err=True):
        raise Failure("nothing was purged")


def _counted(purged: Purged) -> str:
    return f"{purged.campaigns} campaigns with {purged.deliveries} deliveries"
