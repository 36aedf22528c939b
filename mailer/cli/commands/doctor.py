"""`mailer doctor`: do the records agree with each other?"""

from __future__ import annotations

import click

from mailer.campaigns import invariants
from mailer.cli.database import open_database
from mailer.cli.failures import Failure
from mailer.cli.output import print_json


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as a JSON array.")
def doctor(as_json: bool) -> None:
    """Check that the records agree with each other; exit code 1 if they do not."""
    with open_database() as db:
        findings = invariants.examine(db)
    if as_json:
        print_json([{"campaignId": f.campaign_id, "batch": f.batch, "problem": f.problem} for f in findings])
    else:
        for finding in findings:
            click.echo(finding)
    if findings:
        raise Failure(f"{len(findings)} things are wrong")
    if not as_json:
        click.echo("all is well")
