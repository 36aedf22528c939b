"""`mailer campaigns pause|resume|cancel|retry-failed|export`, `mailer doctor` and `mailer purge`."""

from __future__ import annotations

import re
import sys

import click

from mailer.campaigns import invariants as examination
from mailer.campaigns import retention
from mailer.cli.client import Client, connected
from mailer.cli.commands.campaigns import campaigns, print_campaign
from mailer.cli.failures import Failure
from mailer.cli.output import print_json
from mailer.cli.storage import open_database
from mailer.storage.models import DeliveryStatus

DAY = 24 * 60 * 60 * 1000


def _milliseconds(_context: click.Context, _option: click.Parameter, days: str) -> int:
    match = re.fullmatch(r"(\d{1,5})d", days)
    if match is None:
        raise click.BadParameter("not a number of days like 90d")
    return int(match[1]) * DAY


def _lever(action: str, summary: str) -> None:
    @campaigns.command(action, help=summary)
    @click.argument("campaign_id", metavar="ID")
    @click.option("--json", "as_json", is_flag=True, help="Print the campaign as JSON.")
    @connected
    def pull(campaign_id: str, as_json: bool, url: str, user_id: str, token: str) -> None:
        print_campaign(Client(url, user_id, token).control(campaign_id, action)["campaign"], as_json)


_lever("pause", "Hold a campaign from the next checkpoint on.")
_lever("resume", "Go on where a campaign was paused.")
_lever("cancel", "Send nothing more of a campaign, for good.")


@campaigns.command("retry-failed")
@click.argument("campaign_id", metavar="ID")
@click.option("--uncertain", is_flag=True, help="Also those who may have it already: they may get a second copy.")
@connected
def retry_failed(campaign_id: str, uncertain: bool, url: str, user_id: str, token: str) -> None:
    """Try everyone of a campaign again who failed."""
    answer = Client(url, user_id, token).control(campaign_id, "retry-failed", uncertain=uncertain)
    click.echo(f"{answer['retried']} to be tried again")


@campaigns.command()
@click.argument("campaign_id", metavar="ID")
@click.option("--format", "form", type=click.Choice(["csv", "ndjson"]), default="csv", show_default=True)
@click.option("--status", type=click.Choice([status.value for status in DeliveryStatus]), help="Default: all.")
@connected
def export(campaign_id: str, form: str, status: str | None, url: str, user_id: str, token: str) -> None:
    """Write every recipient's outcome to stdout."""
    for piece in Client(url, user_id, token).export(campaign_id, form, status):
        sys.stdout.buffer.write(piece)
    sys.stdout.flush()


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as a JSON array.")
def doctor(as_json: bool) -> None:
    """Check that the records agree with each other; exit code 1 if they do not."""
    with open_database() as db:
        findings = examination.examine(db)
    if as_json:
        print_json([{"campaignId": f.campaign_id, "batch": f.batch, "problem": f.problem} for f in findings])
    else:
        for finding in findings:
            click.echo(finding)
    if findings:
        raise Failure(f"{len(findings)} things are wrong")
    if not as_json:
        click.echo("all is well")


@click.command()
@click.option(
    "--older-than",
    callback=_milliseconds,
    metavar="DAYS",
    required=True,
    help="How long ago campaigns ended, such as 90d.",
)
def purge(older_than: int) -> None:
    """Forget what ended campaigns said and to which addresses; ids, states and counts stay."""
    with open_database() as db:
        purged = retention.purge(db, older_than)
    click.echo(f"purged {purged.campaigns} campaigns with {purged.deliveries} deliveries")
