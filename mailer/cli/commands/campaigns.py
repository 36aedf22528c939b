"""`mailer campaigns`: how campaigns go, by the HTTP API."""

from __future__ import annotations

from collections.abc import Container

import click

from mailer.cli.client import Client, Json, connected
from mailer.cli.output import print_fields, print_json, print_rows

UNCERTAIN = """
{uncertain} uncertain: they may have arrived. Each was handed over and never answered for, or was in hand when a process
died. Ask the receiving side by Message-ID and leave them, or send them again, and some get a second copy:
mailer campaigns retry-failed {_id} --uncertain"""
COUNTS = ("planned", "pending", "sent", "failed", "deferred", "uncertain", "skipped")
PAGE = 100


@click.group()
def campaigns() -> None:
    """How campaigns go, from the HTTP API of a running service."""


@campaigns.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@connected
def list_(limit: int, as_json: bool, url: str, user_id: str, token: str) -> None:
    """Show your campaigns, newest first."""
    found = _newest(Client(url, user_id, token), limit)
    if as_json:
        print_json(found)
        return
    columns = ("_id", "state", "planned", "sent", "failed", "createdAt", "subject")
    print_rows(columns, [[campaign.get(column) for column in columns] for campaign in found])


def _newest(client: Client, limit: int) -> list[Json]:
    found: list[Json] = []
    while len(found) < limit:
        page = client.campaigns(min(PAGE, limit - len(found)), len(found))
        found += page["campaigns"]
        if not page["campaigns"] or len(found) >= page["total"]:
            break
    return found


@campaigns.command("show")
@click.argument("campaign_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print the campaign as JSON.")
@connected
def show(campaign_id: str, as_json: bool, url: str, user_id: str, token: str) -> None:
    """Show one campaign's state and counts."""
    print_campaign(Client(url, user_id, token).campaign(campaign_id), as_json)


def print_campaign(campaign: Json, as_json: bool, *, skipping: Container[str] = ()) -> None:
    """A campaign's state and counts; `skipping` fields that were printed before, unless as JSON."""
    if as_json:
        print_json(campaign)
        return
    shown = ["_id", "state", *(["reason"] if campaign.get("reason") else []), "subject", "dryrun", *COUNTS]
    names = (*shown, "createdAt", "startedAt", "finishedAt")
    print_fields((name, campaign.get(name)) for name in names if name not in skipping)
    if campaign.get("uncertain"):
        click.echo(UNCERTAIN.format(**campaign))
