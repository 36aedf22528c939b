"""`mailer send`: a campaign through the HTTP API, with a question before it goes out."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import reduce

import click
import requests

from mailer.cli.answers import Json
from mailer.cli.client import Accepted, Client, connected
from mailer.cli.commands.campaigns import print_campaign
from mailer.cli.expect import HOW, expected, refuse_unexpected
from mailer.cli.failures import Failure, Interrupted, Misuse, unanswered
from mailer.cli.message import MessageOptions, message_options
from mailer.cli.options import duration
from mailer.cli.output import print_notes, printable
from mailer.cli.posting import LOOK, LOST, new_key, post
from mailer.cli.watch import watch
from mailer.cli.whom import whom_options
from mailer.storage.models import Priority


class AcceptedWithIssues(Failure):
    """The campaign was accepted. Not everyone was served, or it is not known."""

    exit_code = 6


OPTIONS = {"query": "--query", "reached": "--reached", "notReached": "--not-reached"}


@click.command()
@message_options
@whom_options('Who receives it, a MongoDB selector: \'{"roles": "newsletter"}\'. Default: everyone.')
@click.option("--everybody", is_flag=True, help="Without --query and without a terminal: yes, everyone is meant.")
@click.option("--yes", is_flag=True, help="Do not ask whether to send.")
@click.option(
    "--priority",
    type=click.Choice([priority.value for priority in Priority]),
    help="How large a share it gets while others wait. Default: by its size. urgent needs a permission.",
)
@click.option(
    "--expect",
    callback=expected,
    metavar="NUMBER",
    help=f"How many people it is for, {HOW}. For any other number it is paused, and nothing is sent.",
)
@click.option("--dry-run", is_flag=True, help="Send one message only, to the address in --from or in --to.")
@click.option(
    "--to",
    "recipients",
    metavar="ADDRESS",
    multiple=True,
    help="With --dry-run: send it here instead, to at most five; give it once for each.",
)
@click.option("--idempotency-key", help="Sent twice with the same key, a campaign is accepted once.")
@click.option(
    "--retry-for",
    callback=duration(("s", "m", "h"), "{} is not such as 90s, 15m or 2h, at most 24h", most=86_400),
    help="For so long the same request is tried again while the service is away or busy: 15m. It prints its key.",
)
@click.option(
    "--watch",
    "watching",
    is_flag=True,
    help="Wait for its end; exit code 6: not everyone was served, or nobody; 7: it was for nobody or not for --expect.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the campaign as JSON.")
@connected
def send(
    *,
    given: MessageOptions,
    whom: Json,
    everybody: bool,
    yes: bool,
    priority: str | None,
    expect: Json,
    dry_run: bool,
    recipients: tuple[str, ...],
    idempotency_key: str | None,
    retry_for: int | None,
    watching: bool,
    as_json: bool,
    url: str,
    user_id: str,
    token: str,
) -> None:
    """Send a campaign through the HTTP API of a running service.

    On a terminal it first says how many people would receive it, and asks. Without one it asks nothing, and takes
    --query, --reached, --not-reached, --everybody or --yes as the answer.
    """
    if everybody and whom:
        raise Misuse(f"--everybody and {OPTIONS[next(iter(whom))]} contradict each other")
    if recipients and not dry_run:
        raise Misuse("--to: only with --dry-run; a campaign goes to those whom --query selects")
    message = given.read()
    client = Client(url, user_id, token)
    asks = not dry_run and not yes and _on_a_terminal()
    if not (asks or dry_run or yes or everybody or whom):
        raise Misuse("without --query everyone receives it: say --everybody or --yes, since nobody can be asked here")
    key = idempotency_key or (None if retry_for is None else new_key())
    if retry_for is not None:
        click.echo(f"Idempotency-Key: {key}", err=True)
    patience = (retry_for or 0) / 1000
    began = time.monotonic()
    with _interruptible("nothing was sent"):
        told = _look(client, message, whom, asks=asks, patience=patience)
    payload = {**message, "dryrun": dry_run, **whom, **expect, **({} if priority is None else {"priority": priority})}
    payload |= {"to": list(recipients)} if recipients else {}
    looked = 0.0 if asks else time.monotonic() - began
    with _interruptible(f"{LOST}: {LOOK}"):
        accepted = post(client, payload, key, max(0.0, patience - looked))
    _announce(accepted, as_json, told)
    with _accepted(accepted.campaign_id):
        campaign_id = accepted.campaign_id
        campaign = watch(client, campaign_id, patience) if watching else client.campaign(campaign_id)
    print_campaign(campaign, as_json, skipping=("_id",), told=told)
    if watching:
        refuse_unexpected(campaign)
    if watching and campaign["state"] != "completed":
        raise AcceptedWithIssues(f"the campaign is {campaign['state']}")
    if watching and campaign["planned"] and not campaign["sent"]:
        skipped = f"{campaign['skipped']} were skipped"
        raise AcceptedWithIssues(f"nobody got it: {skipped}; `mailer campaigns export` says why")


def _on_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()  # the question is seen, and can be answered


@contextmanager
def _interruptible(leaves: str) -> Iterator[None]:
    """Ctrl-C, or the end of the input at a question, ends the command with the message `leaves`."""
    try:
        yield
    except (KeyboardInterrupt, click.Abort):
        click.echo(err=True)
        raise Interrupted(leaves) from None


@contextmanager
def _accepted(campaign_id: str) -> Iterator[None]:
    """What fails from here on leaves a campaign that was accepted."""
    try:
        yield
    except (Interrupted, AcceptedWithIssues):
        raise
    except requests.RequestException as error:
        raise AcceptedWithIssues(f"{unanswered(error)}; the campaign {campaign_id} was accepted") from error
    except Failure as error:
        raise AcceptedWithIssues(error.format_message()) from error


def _look(client: Client, message: Json, whom: Json, *, asks: bool, patience: float) -> list[str]:
    """Print what is probably a mistake, and return it. If it `asks`, ask whether to send. Raises `Failure` for a no.

    If nobody is asked, the look may take a quarter of the `patience` in seconds: what is left is for the campaign.
    """
    client.ends = time.monotonic() + patience / 4 if patience and not asks else None
    try:
        seen = client.audience(whom, message)
    except (Failure, requests.RequestException):
        if asks:
            raise
        return []  # the check is not required; what is wrong with the campaign, the POST's answer tells
    notes: list[str] = seen["warnings"]
    print_notes(notes)
    if not asks:
        return notes
    if "estimate" in seen:
        begin = "How long it takes" if seen["estimatedSeconds"] is None else "It takes"
        click.echo(f"{begin} {printable(seen['estimate'])}.", err=True)
    people = "person" if seen["count"] == 1 else "people"
    if not seen["count"]:
        print_notes(["Nobody may be written to of those whom it selects."])
    if not click.confirm(f"Send to {seen['count']:,} {people}?", err=True):
        raise Failure("nothing was sent")
    return notes


def _announce(accepted: Accepted, as_json: bool, told: Sequence[str]) -> None:
    click.echo(f"_id: {accepted.campaign_id}", err=as_json)
    new = reduce(lambda text, note: text.replace(note, ""), told, accepted.warning)  # its sentences stand in one line
    print_notes([" ".join(new.split())] if new.strip() else [])
    if accepted.replayed:
        print_notes(["It is the campaign that was accepted before; nobody gets it twice."])
