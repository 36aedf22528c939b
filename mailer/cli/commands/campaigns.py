"""`mailer campaigns`: how campaigns go, and their control, by the HTTP API."""

from __future__ import annotations

import sys
import time
from collections.abc import Container
from typing import Any

import click

from mailer.campaigns.stops import BLOCKED, HELD
from mailer.cli.answers import Json, Refused
from mailer.cli.client import Client, connected
from mailer.cli.message import BODY, read_body
from mailer.cli.options import FORMAT, SINCE
from mailer.cli.output import print_fields, print_json, print_notes, print_rows
from mailer.storage.models import CampaignState, DeliveryStatus

UNCERTAIN = """
{uncertain} uncertain: they may have arrived. Each was handed over and never answered for, or was in hand when a process
died. Ask the receiving side by Message-ID and leave them, or send them again, and some get a second copy:
mailer campaigns retry-failed {campaign_id} --uncertain"""
COUNTS = ("planned", "pending", "sent", "failed", "deferred", "uncertain", "skipped")
IN_HAND, IN_HAND_TRIES = "still in hand", 10
PAGE = 100  # campaigns asked for at once
STATES = ", ".join(CampaignState)
SHOWN_ONLY = (HELD, BLOCKED)

CAMPAIGN_ID = click.argument("campaign_id", metavar="ID")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print the campaign as JSON.")


@click.group()
def campaigns() -> None:
    """How campaigns go, from the HTTP API of a running service."""


def _known_state(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> str | None:
    """One state as it is on record. `held` and `blocked` are shown for a campaign that runs, and so are no filter."""
    if len(given) > 1:
        raise click.BadParameter("only one state can be asked for")
    if given and given[0] in SHOWN_ONLY:
        raise click.BadParameter(f"{given[0]} is how a running campaign is shown while something stops it: say running")
    if given and given[0] not in set(CampaignState):
        raise click.BadParameter(f"{given[0]!r} is none of {STATES}")
    return given[0] if given else None


@campaigns.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many.")
@click.option("--all", "everybody", is_flag=True, help="Everybody's; the token needs manage-campaigns.")
@click.option(
    "--state", multiple=True, callback=_known_state, metavar="STATE", help=f"Only those that are so: {STATES}."
)
@SINCE
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@connected
def list_(
    *,
    limit: int,
    everybody: bool,
    state: str | None,
    since: int | None,
    as_json: bool,
    url: str,
    user_id: str,
    token: str,
) -> None:
    """Show your campaigns, newest first; with --since those that were accepted since then."""
    found = _newest(Client(url, user_id, token), limit, everybody=everybody, state=state, since=since)
    if as_json:
        print_json(found)
        return
    whose = ("callerId",) if everybody else ()
    columns = ("_id", *whose, "state", "priority", "planned", "sent", "failed", "createdAt", "subject")
    print_rows(columns, [[campaign.get(column) for column in columns] for campaign in found])


def _newest(client: Client, limit: int, **which: Any) -> list[Json]:
    found: list[Json] = []
    while len(found) < limit:
        page = client.campaigns(min(PAGE, limit - len(found)), len(found), **which)
        found += page["campaigns"]
        if not page["campaigns"] or len(found) >= page["total"]:
            break
    return found


@campaigns.command("show")
@CAMPAIGN_ID
@click.option("--events", is_flag=True, help="Also what happened to it: planned, paused by whom, outages, its end.")
@AS_JSON
@connected
def show(campaign_id: str, events: bool, as_json: bool, url: str, user_id: str, token: str) -> None:
    """Show one campaign's state and counts."""
    client = Client(url, user_id, token)
    found, told = client.campaign(campaign_id), client.events(campaign_id) if events else []
    print_campaign({**found, **({"events": told} if events and as_json else {})}, as_json)
    if events and not as_json:
        click.echo()
        print_rows(("at", "what", "details"), [(one["at"], one["kind"], one["text"]) for one in told])


@campaigns.command()
@CAMPAIGN_ID
@AS_JSON
@connected
def pause(campaign_id: str, as_json: bool, url: str, user_id: str, token: str) -> None:
    """Hold a campaign from the next checkpoint on."""
    print_campaign(Client(url, user_id, token).pause(campaign_id), as_json)


@campaigns.command()
@CAMPAIGN_ID
@AS_JSON
@connected
def resume(campaign_id: str, as_json: bool, url: str, user_id: str, token: str) -> None:
    """Go on where a campaign was paused."""
    print_campaign(Client(url, user_id, token).resume(campaign_id), as_json)


@campaigns.command()
@CAMPAIGN_ID
@AS_JSON
@connected
def cancel(campaign_id: str, as_json: bool, url: str, user_id: str, token: str) -> None:
    """Send nothing more of a campaign, for good."""
    print_campaign(Client(url, user_id, token).cancel(campaign_id), as_json)


@campaigns.command()
@CAMPAIGN_ID
@click.option("--subject", help="The new subject.")
@click.option("--body-file", type=BODY, help="The new body, HTML or text with [unsubscribe]; - is stdin.")
@click.option("--version", type=click.IntRange(min=1), help="Refuse if the text has another version by now.")
@AS_JSON
@connected
def edit(
    *,
    campaign_id: str,
    subject: str | None,
    body_file: str | None,
    version: int | None,
    as_json: bool,
    url: str,
    user_id: str,
    token: str,
) -> None:
    """Replace what a paused campaign says, for whoever is not served yet."""
    if subject is None and body_file is None:
        raise click.UsageError("one of --subject and --body-file is needed")
    body = None if body_file is None else read_body(body_file)
    text = {"subject": subject, "body": body, "version": version}
    given = {name: value for name, value in text.items() if value is not None}
    print_campaign(_edited(Client(url, user_id, token), campaign_id, given), as_json)


def _edited(client: Client, campaign_id: str, text: Json) -> Json:
    """Try again for a few seconds while messages of the campaign, which was just paused, are still in hand."""
    for _ in range(IN_HAND_TRIES):
        try:
            return client.edit(campaign_id, text)
        except Refused as error:
            if error.status != 409 or IN_HAND not in error.format_message():
                raise
            time.sleep(1)
    return client.edit(campaign_id, text)


@campaigns.command()
@click.option("--from", "giver", metavar="USER", required=True, help="Whose: a user's id or username, or service:NAME.")
@click.option("--to", "receiver", metavar="USER", required=True, help="To whom: an active user, or service:NAME.")
@connected
def transfer(giver: str, receiver: str, url: str, user_id: str, token: str) -> None:
    """Hand all campaigns of somebody over to somebody else; the token needs manage-campaigns.

    A campaign that was paused when its owner was deactivated stays so; `mailer campaigns resume` goes on.
    """
    done = Client(url, user_id, token).transfer(giver, receiver)
    click.echo(f"{done['campaigns']} campaigns of {done['from']} are {done['to']}'s")
    print_notes(f"not over: campaign {one}" for one in done["open"])


@campaigns.command("retry-failed")
@CAMPAIGN_ID
@click.option("--uncertain", is_flag=True, help="Also those who may have it already: they may get a second copy.")
@connected
def retry_failed(campaign_id: str, uncertain: bool, url: str, user_id: str, token: str) -> None:
    """Try everyone of a campaign again who failed."""
    retried = Client(url, user_id, token).retry_failed(campaign_id, uncertain=uncertain)
    click.echo(f"{retried} to be tried again")


@campaigns.command()
@CAMPAIGN_ID
@FORMAT
@click.option("--status", type=click.Choice([status.value for status in DeliveryStatus]), help="Default: all.")
@click.option("--recipient", metavar="ID", help="Only the outcome of this user.")
@click.option("--address", help="Only the outcomes at this address.")
@click.option("--bounced", is_flag=True, help="Only those that came back after they were sent.")
@click.option("--complained", is_flag=True, help="Only those that their recipient marked as spam.")
@connected
def export(
    campaign_id: str,
    *,
    form: str,
    status: str | None,
    recipient: str | None,
    address: str | None,
    bounced: bool,
    complained: bool,
    url: str,
    user_id: str,
    token: str,
) -> None:
    """Write every recipient's outcome to stdout."""
    reported = {name: "true" for name, asked in (("bounced", bounced), ("complained", complained)) if asked}
    wanted = {"status": status, "userId": recipient, "address": address, **reported}
    for piece in Client(url, user_id, token).export(campaign_id, form, **wanted):
        sys.stdout.buffer.write(piece)
    sys.stdout.flush()


def print_campaign(campaign: Json, as_json: bool, *, skipping: Container[str] = (), told: Container[str] = ()) -> None:
    """A campaign's state and counts; `skipping` fields that were printed before, unless as JSON.

    Warnings that were `told` before are not told again.
    """
    if as_json:
        print_json(campaign)
        return
    print_notes([one for one in campaign.get("warnings", ()) if one not in told])
    reason = ["reason"] if campaign.get("reason") else []
    edited = ["version"] if campaign.get("version", 1) > 1 else []
    bounds = [name for name in ("minRecipients", "maxRecipients") if campaign.get(name) is not None]
    shown = ["_id", "state", *reason, "callerId", "subject", *edited, "dryrun", "priority", *bounds, *COUNTS]
    shown += ["unsubscribed", "bounced", "complained"]
    names = (*shown, "createdAt", "startedAt", "finishedAt")
    print_fields((name, campaign.get(name)) for name in names if name not in skipping)
    if campaign.get("uncertain"):
        click.echo(UNCERTAIN.format(uncertain=campaign["uncertain"], campaign_id=campaign["_id"]))
