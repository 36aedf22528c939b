"""`mailer tokens`: who may call the API. A token is shown once, when it is made; only its digest is kept."""

from __future__ import annotations

import re
from dataclasses import asdict

import click

from mailer.callers.tokens import PERMISSIONS, SHOWN_DIGEST, TokenInfo, Tokens, service_id
from mailer.cli.database import id_of, open_database
from mailer.cli.failures import Failure
from mailer.cli.options import duration
from mailer.cli.output import moment, print_json, print_rows, spelled

UNITS = ("m", "h", "d", "w")  # seconds are never meant
NO_SPAN = "{} is no time span such as 90m, 12h, 30d or 8w, of up to 100 years"
MAX_LIFETIME = 100 * 366 * 86_400  # seconds


def digest_prefix(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    """The beginning of a token's digest, long enough not to match many tokens."""
    if not re.fullmatch(r"[0-9a-f]{8,64}", value):
        raise click.BadParameter("8 or more of the hexadecimal digits that `mailer tokens list` shows are needed")
    return value


@click.group()
def tokens() -> None:
    """The callers' credentials."""


@tokens.command()
@click.option("--user", "user_id", metavar="ID", help="Whose token it is: an active user's id or username.")
@click.option("--service", metavar="NAME", help="Whose it is, if no user's: a program's. It calls as service:NAME.")
@click.option("--permission", "permissions", multiple=True, type=click.Choice(PERMISSIONS), help="May be repeated.")
@click.option(
    "--expires",
    "lifetime",
    metavar="SPAN",
    callback=duration(UNITS, NO_SPAN, least=60, most=MAX_LIFETIME),
    help="For how long it is good: 12h, 30d; else without end.",
)
def create(user_id: str | None, service: str | None, permissions: tuple[str, ...], lifetime: int | None) -> None:
    """Make a token and print, this once, the two headers that a caller sends.

    With MAILER_AUTH=workspace the workspace knows the users' tokens, and those of services are made here.
    """
    if (user_id is None) == (service is None):
        raise click.UsageError("one of --user and --service is needed")
    with open_database() as db:
        if service is not None:
            user_id = service_id(service)
            token = Tokens(db).create_for_service(service, permissions, lifetime)
        else:
            user_id = id_of(db, str(user_id))
            token = Tokens(db).create(user_id, permissions, lifetime)
    click.echo(f"X-User-Id: {user_id}\nX-Auth-Token: {token}")
    if not permissions:
        click.echo("This token may do nothing yet: to send mail it takes --permission send-mail.", err=True)


@tokens.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_(as_json: bool) -> None:
    """Show the tokens by the digests that are kept of them."""
    with open_database() as db:
        known = Tokens(db).list()
    if as_json:
        print_json([spelled(asdict(token)) for token in known])
    else:
        print_rows(("digest", "userId", "permissions", "createdAt", "expiresAt"), map(_cells, known))


def _cells(token: TokenInfo) -> tuple[str, ...]:
    permissions = ",".join(token.permissions) or "-"
    times = (moment(token.created_at), moment(token.expires_at))
    return (token.digest[:SHOWN_DIGEST], token.user_id, permissions, *times)


@tokens.command()
@click.argument("digest", callback=digest_prefix)
def revoke(digest: str) -> None:
    """Delete the tokens whose digest begins with DIGEST, at once and for good."""
    with open_database() as db:
        revoked = Tokens(db).revoke(digest)
    if not revoked:
        raise Failure("no token has such a digest")
    click.echo(f"revoked: {revoked}")
