"""`mailer audience` and `mailer preview`: a look before sending, through the HTTP API of a running service."""

from __future__ import annotations

import sys

import click

from mailer.cli.campaigns import BODY, read_body
from mailer.cli.client import Client, Json, connected
from mailer.cli.output import print_fields, print_json, print_rows

FORMATS = ("text", "html", "message", "json")


@click.command()
@click.option("--query", help="A MongoDB selector, as for `mailer send`. Default: everyone.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@connected
def audience(query: str | None, as_json: bool, url: str, user_id: str, token: str) -> None:
    """Show how many would receive a campaign now, and ten of them. Sends nothing."""
    found = Client(url, user_id, token).audience(query)
    if as_json:
        print_json({name: found[name] for name in ("count", "suppressed", "sample")})
        return
    print_fields((name, found[name]) for name in ("count", "suppressed"))
    print_rows(("name", "address"), [(one["name"], one["address"]) for one in found["sample"]])


@click.command()
@click.option("--from", "sender", required=True, help="An address, bare or as NAME <ADDRESS>.")
@click.option("--subject", required=True, help="Placeholders work here too.")
@click.option("--body-file", required=True, type=BODY, help="HTML with [unsubscribe]; - is stdin.")
@click.option("--query", help="Show it for the first whom it selects. Default: everyone.")
@click.option("--user", metavar="ID", help="Show it for this user instead.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True, help="What to print.")
@connected
def preview(
    *,
    sender: str,
    subject: str,
    body_file: str,
    query: str | None,
    user: str | None,
    form: str,
    url: str,
    user_id: str,
    token: str,
) -> None:
    """Show what one user would read. Sends nothing."""
    payload = {"from": sender, "subject": subject, "body": read_body(body_file), "query": query, "user": user}
    client = Client(url, user_id, token)
    if form == "message":
        sys.stdout.buffer.write(client.preview_message(payload))
    else:
        _print_preview(client.preview(payload), form)


def _print_preview(seen: Json, form: str) -> None:
    if form == "json":
        print_json({name: seen[name] for name in ("userId", "subject", "html", "text")})
        return
    print_fields([("user", seen["userId"]), ("subject", seen["subject"])])
    click.echo(f"\n{seen[form]}")
