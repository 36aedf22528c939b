"""`mailer hold` and `mailer release`: stop all sending, and let it go on, whether the service's web answers or not."""

from __future__ import annotations

import click

from mailer.campaigns import hold as holding
from mailer.cli.database import open_database
from mailer.cli.output import printable


def _reason(_context: click.Context, _option: click.Parameter, given: str) -> str:
    text = given.strip()
    if not holding.is_reason(text):
        raise click.BadParameter(f"not a line of 1 to {holding.MAX_REASON} characters")
    return text


@click.command()
@click.option("--reason", required=True, callback=_reason, help="Why; callers see it with their campaigns.")
def hold(reason: str) -> None:
    """Send nothing from the next checkpoint on, in every process, until `mailer release`.

    Campaigns are accepted and planned as always. If sending is held already, that hold stays.
    """
    with open_database() as db:
        held = holding.hold(db, reason)
        with db.read() as connection:
            in_hand = holding.batches_in_hand(connection, db.clock(connection))
    click.echo(printable(f"sending is {held}, by {held.by}"))
    if in_hand:
        click.echo(f"batches that are still ending their checkpoint: {in_hand}", err=True)


@click.command()
def release() -> None:
    """Go on with everything where `mailer hold` stopped it."""
    with open_database() as db:
        ended = holding.release(db)
    click.echo(printable(f"released; it was {ended}, by {ended.by}") if ended else "sending was not held")
