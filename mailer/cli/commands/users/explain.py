"""`mailer explain`: what somebody got and did not get, and why."""

from __future__ import annotations

from collections.abc import Iterator

import click

from mailer.campaigns.people.explain import Answer, ExplainedUser, Explanation, Outcome
from mailer.campaigns.people.explain import explain as explained
from mailer.campaigns.people.explained import explanation_as_json
from mailer.campaigns.people.named import ExplainedAddress
from mailer.cli.commands.users.listing import told
from mailer.cli.database import open_database
from mailer.cli.failures import Failure
from mailer.cli.output import moment, print_fields, print_json, print_notes, print_rows
from mailer.errors import NotFound
from mailer.settings import Settings


@click.command()
@click.argument("whom", metavar="ADDRESS|USER")
@click.option("--campaign", "campaign_id", metavar="ID", help="Only this campaign. Default: the latest ones.")
@click.option(
    "--limit", type=click.IntRange(min=1, max=1000), default=20, show_default=True, help="How many campaigns."
)
@click.option("--json", "as_json", is_flag=True, help="Print it all as JSON.")
def explain(whom: str, campaign_id: str | None, limit: int, as_json: bool) -> None:
    """Tell what came of somebody in each campaign: tries, the relay's words, the Message-ID or why they got nothing.

    They are named by address, id or user name. It tells besides how somebody may have got a message twice.
    """
    window = Settings.from_env().send_window
    with open_database() as db:
        try:
            found = explained(db, whom, campaign_id=campaign_id, count=limit, window=window)
        except NotFound as error:
            raise Failure(str(error)) from error
    if as_json:
        print_json(explanation_as_json(found), indent=2)
        return
    _print(found)


def _print(found: Explanation) -> None:
    if found.address is not None:
        print_fields(_address_fields(found.address, len(found.users)))
    for one in found.users:
        print_fields(_user_fields(one))
        rows = [_row(answer) for answer in one.answers]
        print_rows(("campaign", "created", "subject", "version", "result", "tries", "at", "Message-ID", "why"), rows)
    print_fields(("twice", way.text) for way in found.copies)
    if found.following is not None:
        print_notes(["there are older campaigns: --limit shows more"])


def _address_fields(one: ExplainedAddress, had: int) -> Iterator[tuple[str, object]]:
    yield "user", "nobody has this address"
    where = f"in the latest {one.campaigns} campaigns"
    if had:
        yield "earlier", f"{where} it was sent to at {had} users, who are below"
    elif one.campaigns:
        yield "earlier", f"nobody had it {where}; one that is older is asked with --campaign"
    if one.erased:
        yield "erased", "somebody who had it was erased, and nobody writes to it"
    if one.suppressed_at is not None:
        yield "suppressed", moment(one.suppressed_at)
    if one.complained_at is not None:
        yield "marked as spam", moment(one.complained_at)
    for event in one.events:
        yield "history", told(event)


def _user_fields(one: ExplainedUser) -> Iterator[tuple[str, object]]:
    yield "_id", one.user_id
    if one.person is None:
        yield "state", "not in the directory any more"
        return
    yield "address", one.person.user.email
    yield "state", one.person.user.state
    for event in one.person.history:
        yield "history", told(event)


def _row(one: Answer) -> tuple[object, ...]:
    outcome = one.outcome
    about: tuple[object, ...] = ("-", "-", "-")
    if outcome is not None:
        about = (_tries(outcome), moment(outcome.updated_at), outcome.message_id)
    version = "-" if outcome is None or outcome.version is None else outcome.version
    return one.campaign_id, moment(one.created_at), one.subject, version, one.reason.code, *about, one.reason.text


def _tries(one: Outcome) -> str:
    return f"{one.tries} ({one.uncertain_attempts} without an answer)" if one.uncertain_attempts else str(one.tries)
