"""`mailer audience`: who would receive a campaign, from the HTTP API of a running service."""

from __future__ import annotations

import click

from mailer.cli.answers import Json
from mailer.cli.client import Client, connected
from mailer.cli.output import print_fields, print_json, print_notes, print_rows
from mailer.cli.whom import whom_options

LEFT_OUT = ("suppressed", "deactivated", "unsubscribed", "noAddress", "sharedAddress")
ESTIMATE = ("estimatedSeconds", "startsIn", "estimate")


@click.command()
@whom_options("A MongoDB selector, as for `mailer send`. Default: everyone.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@connected
def audience(*, whom: Json, as_json: bool, url: str, user_id: str, token: str) -> None:
    """Show how many would receive a campaign now, and ten of them. Sends nothing."""
    found = Client(url, user_id, token).audience(whom)
    if as_json:
        print_json({name: found.get(name) for name in ("count", *LEFT_OUT, *ESTIMATE, "sample", "warnings")})
        return
    print_notes(found["warnings"])
    print_fields((name, found[name]) for name in ("count", *LEFT_OUT))
    print_fields([("time", found["estimate"])] if "estimate" in found else [])
    print_rows(("name", "address"), [(one["name"], one["address"]) for one in found["sample"]])
