"""`mailer campaigns`: how campaigns go, and their control, by the HTTP API."""

from __future__ import annotations

import sys
from collections.abc import Container
from typing import Any

import click

from mailer.cli.client import Client, Json, connected
from mailer.cli.options import FORMAT, SINCE
from mailer.cli.output import print_fields, print_json, print_notes, print_rows
from mailer.storage.models import CampaignState, DeliveryStatus

UNCERTAIN = """
{uncertain} uncertain: they may have arrived. Each was handed over and never answered for, or was in hand when a process
died. Ask the receiving side by Message-ID and leave them, or send them again, and some get a second copy:
mailer campaigns retry-failed {campaign_id} --uncertain"""
COUNTS = ("planned", "pending", "sent", "failed", "deferred", "uncertain", "skipped")
PAGE = 100  # campaigns asked for at once

CAMPAIGN_ID = click.argument("campaign_id", metavar="ID")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print the campaign as JSON.")


@click.group()
def campaigns() -> None:
    """How campaigns go, from the HTTP API of a running service."""


@campaigns.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many.")
@click.option("--all", "everybody", is_flag=True, help="Everybody's; the token needs manage-campaigns.")
@click.option("--state", type=click.Choice([one.value for one in CampaignState]), help="Only those that are so.")
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
@connected
def export(
    campaign_id: str,
    *,
    form: str,
    status: str | None,
    recipient: str | None,
    address: str | None,
    url: str,
    user_id: str,
    token: str,
) -> None:
    """Write every recipient's outcome to stdout."""
    for piece in Client(url, user_id, token).export(campaign_id, form, status, user_id=recipient, address=address):
        sys.stdout.buffer.write(piece)
    sys.stdout.flush()


def print_campaign(campaign: Json, as_json: bool, *, skipping: Container[str] = ()) -> None:
    """A campaign's state and counts; `skipping` fields that were printed before, unless as JSON."""
    if as_json:
        print_json(campaign)
        return
    print_notes(campaign.get("warnings", ()))
    reason = ["reason"] if campaign.get("reason") else []
    bounds = [name for name in ("minRecipients", "maxRecipients") if campaign.get(name) is not None]
    shown = ["_id", "state", *reason, "callerId", "subject", "dryrun", "priority", *bounds, *COUNTS, "unsubscribed"]
    names = (*shown, "createdAt", "startedAt", "finishedAt")
    print_fields((name, campaign.get(name)) for name in names if name not in skipping)
    if campaign.get("uncertain"):
        click.echo(UNCERTAIN.format(uncertain=campaign["uncertain"], campaign_id=campaign["_id"]))
