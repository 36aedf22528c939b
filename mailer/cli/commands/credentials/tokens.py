"""`mailer tokens`: who may call the API. A token is shown once, when it is made; only its digest is kept."""

from __future__ import annotations

import re
from dataclasses import asdict

import click

from mailer.callers import held_tokens, revocation
from mailer.callers.tokens import MAX_LABEL, PERMISSIONS, TokenInfo, Tokens, service_id
from mailer.cli.database import id_of, open_database
from mailer.cli.options import duration
from mailer.cli.output import moment, print_json, print_notes, print_rows, spelled
from mailer.directory.documents import SERVICE_PREFIX
from mailer.ownership.leaving import SHOWN_DIGEST
from mailer.text import is_one_line

COLUMNS = ("digest", "userId", "permissions", "createdAt", "expiresAt", "lastUsedAt", "label")
UNITS = ("m", "h", "d", "w")  # seconds are never meant
NO_SPAN = "{} is no time span such as 90m, 12h, 30d or 8w, of up to 100 years"
MAX_LIFETIME = 100 * 366 * 86_400  # seconds


def digest_prefix(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """The beginning of a token's digest, long enough not to match many tokens."""
    if value is not None and not re.fullmatch(r"[0-9a-f]{8,64}", value):
        raise click.BadParameter("8 or more of the hexadecimal digits that `mailer tokens list` shows are needed")
    return value


def short_line(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """A label: one line of a few words."""
    if value is not None and not (0 < len(value.strip()) <= MAX_LABEL and is_one_line(value)):
        raise click.BadParameter(f"one line of 1 to {MAX_LABEL} characters is needed")
    return value and value.strip()


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
@click.option("--label", callback=short_line, help="What it is for, to know it again in the list.")
def create(
    user_id: str | None, service: str | None, permissions: tuple[str, ...], lifetime: int | None, label: str | None
) -> None:
    """Make a token and print, this once, the two headers that a caller sends.

    With MAILER_AUTH=workspace the workspace knows the users' tokens, and those of services are made here.
    """
    if (user_id is None) == (service is None):
        raise click.UsageError("one of --user and --service is needed")
    with open_database() as db:
        if service is not None:
            user_id = service_id(service)
            token = Tokens(db).create_for_service(service, permissions, lifetime, label)
        else:
            user_id = id_of(db, str(user_id))
            token = Tokens(db).create(user_id, permissions, lifetime, label)
    click.echo(f"X-User-Id: {user_id}\nX-Auth-Token: {token}")
    if not permissions:
        click.echo("This token may do nothing yet: to send mail it takes --permission send-mail.", err=True)


@tokens.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_(as_json: bool) -> None:
    """Show the tokens by the digests that are kept of them, when each was last used, and which end soon.

    The last use is right to the hour.
    """
    with open_database() as db:
        known, ending = Tokens(db).list(), Tokens(db).ending_soon()
    if as_json:
        print_json([spelled(asdict(token)) for token in known])
    else:
        print_rows(COLUMNS, map(_cells, known))
    print_notes(ending)


def _cells(token: TokenInfo) -> tuple[str, ...]:
    permissions = ",".join(token.permissions) or "-"
    times = map(moment, (token.created_at, token.expires_at, token.last_used_at))
    label = ", ".join((*([token.label] if token.label else []), *(["does not work: restored"] if token.held else [])))
    return (token.digest[:SHOWN_DIGEST], token.user_id, permissions, *times, label or "-")


@tokens.command()
@click.argument("digest", required=False, callback=digest_prefix)
@click.option("--user", metavar="ID", help="All tokens of this user, by id or username, or of service:NAME.")
def revoke(digest: str | None, user: str | None) -> None:
    """Delete the tokens whose digest begins with DIGEST, or all of one caller, at once and for good."""
    if (digest is None) == (user is None):
        raise click.UsageError("one of DIGEST and --user is needed")
    with open_database() as db:
        revoked = revocation.revoke(db, digest=digest, user=user)
    click.echo(f"revoked: {revoked}")


@tokens.command()
@click.option("--user", metavar="ID", help="Those of this user, by id or username, or of service:NAME.")
@click.option("--all", "everybody", is_flag=True, help="Those of everybody.")
def release(user: str | None, everybody: bool) -> None:
    """Have tokens work again that came back with a restored backup, once it is known that none was revoked since.

    Those that are not to work any more: `mailer tokens revoke`, before.
    """
    if everybody == (user is not None):
        raise click.UsageError("one of --user and --all is needed")
    with open_database() as db:
        whose = user if user is None or user.startswith(SERVICE_PREFIX) else id_of(db, user)
        released = held_tokens.release(db, whose)
    click.echo(f"tokens that work again: {released}")
