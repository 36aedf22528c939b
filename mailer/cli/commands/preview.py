"""`mailer preview`: what one user would read, from the HTTP API of a running service."""

from __future__ import annotations

import sys

import click

from mailer.cli.answers import Json
from mailer.cli.client import Client, connected
from mailer.cli.commands.audience import ESTIMATE
from mailer.cli.message import MessageOptions, message_options
from mailer.cli.output import print_fields, print_json, print_notes
from mailer.cli.whom import whom_options

FORMATS = ("text", "html", "source", "json")


@click.command()
@message_options
@whom_options("Show it for the first whom it selects. Default: everyone.")
@click.option("--user", metavar="ID", help="Show it for this user instead; a username will do.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="Print this alone. Default: for whom, and the text.")
@connected
def preview(
    *,
    given: MessageOptions,
    whom: Json,
    user: str | None,
    form: str | None,
    url: str,
    user_id: str,
    token: str,
) -> None:
    """Show what one user would read. Sends nothing."""
    payload = {**given.read(), **whom, "user": user}
    client = Client(url, user_id, token)
    if form == "source":
        sys.stdout.buffer.write(client.preview_message(payload))
    else:
        _print_preview(client.preview(payload), form)


def _print_preview(seen: Json, form: str | None) -> None:
    if form == "json":
        names = ("userId", "replyTo", "subject", "html", "text", *ESTIMATE, "warnings")
        print_json({name: seen.get(name) for name in names})
        return
    print_notes(seen["warnings"])
    if form is None:
        answers = [("reply-to", seen["replyTo"])] if seen["replyTo"] else []
        takes = [("time", seen["estimate"])] if "estimate" in seen else []
        print_fields([("user", seen["userId"]), *answers, ("subject", seen["subject"]), *takes])
        click.echo()
    click.echo(seen[form or "text"])
