"""`mailer users find`, `campaigns`, `export`, `erase` and `readmit`: one person, looked up, gone and back."""

from __future__ import annotations

from itertools import islice

import click

from mailer.audience.search import search
from mailer.campaigns.deliveries import Reported
from mailer.campaigns.people.erasure import erase
from mailer.campaigns.people.export import export_person
from mailer.campaigns.people.outcomes import all_outcomes
from mailer.campaigns.people.readmission import readmit
from mailer.cli.database import id_of, open_database
from mailer.cli.failures import Failure
from mailer.cli.options import LIMIT
from mailer.cli.output import moment, print_json, print_notes, print_rows

WHOLE_SEARCH = 3600.0  # seconds: a person at a terminal can stop it
PERSON = click.argument("user_id", metavar="ID")


@click.command()
@click.argument("text")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many.")
def find(text: str, limit: int) -> None:
    """Show who has TEXT in their id, username, name or address; who has exactly that comes alone."""
    with open_database() as db:
        found = search(db, text, count=limit, seconds=WHOLE_SEARCH)
    rows = [(one.id, one.username, one.name, one.email, one.state) for one in found.people]
    print_rows(("_id", "username", "name", "address", "state"), rows)
    if len(found.people) == limit and found.following:
        print_notes(["there may be more: --limit shows them"])


@click.command()
@PERSON
@LIMIT
def campaigns(user_id: str, limit: int) -> None:
    """Show what came of the user ID in each campaign, the newest first."""
    with open_database() as db:
        known = id_of(db, user_id)
        with db.read() as connection:
            found = list(islice(all_outcomes(connection, known), limit or None))
    rows = [
        (one.campaign_id, moment(one.updated_at), one.status, _later(one.reported), one.subject, one.reply)
        for one in found
    ]
    print_rows(("campaign", "at", "status", "reported", "subject", "answer"), rows)


def _later(reported: Reported) -> str | None:
    """What was reported of the message after it was sent; None: nothing."""
    if reported.complained_at is not None:
        return "complained"
    return None if reported.bounced_at is None else f"bounced {reported.bounce_status or ''}".rstrip()


@click.command()
@PERSON
def export(user_id: str) -> None:
    """Print all that there is about the user ID as one JSON document: what they may ask for."""
    with open_database() as db:
        print_json(export_person(db, id_of(db, user_id)), indent=2)


@click.command("erase")
@PERSON
@click.option("--yes", is_flag=True, help="Do not ask for the id to be typed again; for scripts.")
def erase_(user_id: str, yes: bool) -> None:
    """Erase the user ID for good: name, document and addresses, everywhere. None of it comes back.

    Outcomes of campaigns stay, by id alone. Hashes of the id and the addresses stay too, so that no import and no sync
    brings the person back. The key of these hashes is in the database: keep its backups.
    """
    with open_database() as db:
        known = id_of(db, user_id)
        if not yes and click.prompt(f"This cannot be undone. Type the id {known} to erase it", err=True) != known:
            raise Failure("nothing was erased: that is another id")
        done = erase(db, known)
    click.echo(f"erased: {done.user_id}; outcomes in {done.campaigns} campaigns stay, without name and address")


@click.command("readmit")
@click.argument("user_id", metavar="[ID]", required=False, default="")
@click.option("--address", "addresses", multiple=True, help="An address that the person comes back with; repeat it.")
def readmit_(user_id: str, addresses: tuple[str, ...]) -> None:
    """Let somebody who was erased join again, as they have asked for: forget the hashes that keep them away.

    Name all that they come back with, the ID and every address. It brings nobody and nothing back by itself: import the
    person afterwards. From then on they are written to like anybody else.
    """
    with open_database() as db:
        done = readmit(db, user_id, addresses)
    told = [user_id] if done.user and user_id else ["the id that was made of the address"] if done.user else []
    told += [f"{done.addresses} of {len(addresses)} addresses"] if addresses else []
    click.echo(f"may come back: {', '.join(told)}")
