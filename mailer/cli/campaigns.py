"""`mailer send` and `mailer campaigns`: the HTTP API from the command line."""

from __future__ import annotations

import sys
import time

import click

from mailer.cli.client import Client, Json, connected
from mailer.cli.failures import Failure
from mailer.cli.output import print_fields, print_json, print_rows

UNCERTAIN = """
{uncertain} uncertain: they may have arrived. Each was handed over and never answered for, or was in hand when a process
died. Ask the receiving side by Message-ID and leave them, or send them again, and some get a second copy:
mailer campaigns retry-failed {_id} --uncertain"""
POLL_SECONDS = 0.5
COUNTS = ("planned", "pending", "sent", "failed", "deferred", "uncertain", "skipped")
ENDED = {"completed", "completed_with_issues", "cancelled", "paused", "failed"}  # nothing moves without a person
PAGE = 100
BODY = click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True)


@click.command()
@click.option("--from", "sender", required=True, help="An address, bare or as NAME <ADDRESS>.")
@click.option("--subject", required=True, help="Placeholders work here too.")
@click.option("--body-file", required=True, type=BODY, help="HTML with [unsubscribe]; - is stdin.")
@click.option("--query", help='Who receives it, a MongoDB selector: \'{"roles": "newsletter"}\'. Default: everyone.')
@click.option("--dry-run", is_flag=True, help="Send one message only, to the address in --from.")
@click.option("--idempotency-key", help="Sent twice with the same key, a campaign is accepted once.")
@click.option("--watch", is_flag=True, help="Wait for its end; exit code 1 if not everyone was served.")
@click.option("--json", "as_json", is_flag=True, help="Print the campaign as JSON.")
@connected
def send(
    *,
    sender: str,
    subject: str,
    body_file: str,
    query: str | None,
    dry_run: bool,
    idempotency_key: str | None,
    watch: bool,
    as_json: bool,
    url: str,
    user_id: str,
    token: str,
) -> None:
    """Send a campaign through the HTTP API of a running service."""
    payload = {"from": sender, "subject": subject, "body": read_body(body_file), "dryrun": dry_run}
    client = Client(url, user_id, token)
    campaign_id = client.send({**payload, "query": query} if query else payload, idempotency_key)
    campaign = _watch(client, campaign_id) if watch else client.campaign(campaign_id)
    print_campaign(campaign, as_json)
    if watch and campaign["state"] != "completed":
        raise Failure(f"the campaign is {campaign['state']}")


def read_body(body_file: str) -> str:
    """The text of the file, or of stdin for `-`."""
    try:
        with click.open_file(body_file, encoding="utf-8") as file:
            return str(file.read())
    except UnicodeDecodeError as error:
        raise Failure("--body-file: is not UTF-8") from error


def _watch(client: Client, campaign_id: str) -> Json:
    with click.progressbar(length=1, label="delivering", file=sys.stderr) as bar:
        while True:
            campaign = client.campaign(campaign_id)
            bar.length = max(1, campaign["planned"])
            bar.update(campaign["planned"] - campaign["pending"] - bar.pos)
            if campaign["state"] in ENDED:
                return campaign
            time.sleep(POLL_SECONDS)


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


def print_campaign(campaign: Json, as_json: bool) -> None:
    """A campaign's state and counts."""
    if as_json:
        print_json(campaign)
        return
    shown = ["_id", "state", *(["reason"] if campaign.get("reason") else []), "subject", "dryrun", *COUNTS]
    print_fields((name, campaign.get(name)) for name in (*shown, "createdAt", "startedAt", "finishedAt"))
    if campaign.get("uncertain"):
        click.echo(UNCERTAIN.format(**campaign))
