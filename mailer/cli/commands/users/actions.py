"""`mailer users unsubscribe`, `subscribe`, `block` and `lift`: what an operator does about one person, with a note."""

from __future__ import annotations

import click

from mailer.campaigns.people.actions import Action, act
from mailer.cli.database import id_of, open_database
from mailer.cli.output import print_notes
from mailer.directory.users import deactivate_user
from mailer.settings import Settings

USER_ID = click.argument("user_id", metavar="ID")
NOTE = click.option("--note", default="", help="Why; shown with the person and in `mailer audit`.")


def _do(user_id: str, action: Action, note: str, done: str) -> None:
    with open_database() as db:
        known = act(db, id_of(db, user_id), action, note, merged=Settings.from_env().merge_addresses)
    click.echo(f"{done}: {known}")


@click.command()
@USER_ID
@NOTE
def unsubscribe(user_id: str, note: str) -> None:
    """Write to the user ID no more, as they wish; a username will do."""
    _do(user_id, Action.UNSUBSCRIBE, note, "unsubscribed")


@click.command()
@USER_ID
@NOTE
def subscribe(user_id: str, note: str) -> None:
    """Write to the user ID again, at their own request."""
    _do(user_id, Action.SUBSCRIBE, note, "subscribed")


@click.command()
@USER_ID
@NOTE
def block(user_id: str, note: str) -> None:
    """Write to the address of the user ID no more, whoever has it, until it is lifted; the note is the reason."""
    _do(user_id, Action.BLOCK, note, "blocked")


@click.command()
@USER_ID
@NOTE
def lift(user_id: str, note: str) -> None:
    """Write to the address of the user ID again, whether refusals or an operator had it suppressed."""
    _do(user_id, Action.LIFT, note, "lifted")


@click.command()
@USER_ID
def deactivate(user_id: str) -> None:
    """Make the user ID inactive: no mail, and no valid token, also when they come back.

    MAILER_OWNER_DEACTIVATED says what becomes of their open campaigns, which are named.
    """
    with open_database() as db:
        known = id_of(db, user_id)
        done = deactivate_user(db, known, pause=Settings.from_env().owner_deactivated == "pause")
    click.echo(f"deactivated: {known}")
    print_notes(done.left.notes())
