"""`mailer login-link`: a link with which a user signs in to the pages once, such as for the first visit."""

from __future__ import annotations

import click

from mailer.callers import login_links
from mailer.callers.tokens import PERMISSIONS, SEND_MAIL
from mailer.cli.database import id_of, open_database
from mailer.cli.failures import Misuse
from mailer.cli.options import duration
from mailer.settings import Settings

UNITS = ("m", "h")  # seconds are never meant, and a link lies about in chats and histories
NO_SPAN = "{} is no time span such as 10m or 2h, from 1m to 24h"
MAX_LIFETIME = 86_400  # seconds


@click.command("login-link")
@click.option("--user", required=True, metavar="ID", help="Whom it lets in: an active user's id or username.")
@click.option(
    "--permission",
    "permissions",
    multiple=True,
    default=[SEND_MAIL],
    show_default=True,
    type=click.Choice(PERMISSIONS),
    help="What they may do then. May be repeated.",
)
@click.option(
    "--expires",
    "lifetime",
    metavar="SPAN",
    default="10m",
    show_default=True,
    callback=duration(UNITS, NO_SPAN, least=60, most=MAX_LIFETIME),
    help="For how long it is good: 10m, 2h.",
)
def login_link(user: str, permissions: tuple[str, ...], lifetime: int) -> None:
    """Print a link with which a user signs in to the pages once.

    To look at the link does not use it up; the button on its page does. The session ends like any other, and when the
    token is revoked that is made for it. It works with MAILER_AUTH=workspace as well.
    """
    settings = Settings.from_env()
    if not settings.pages:
        raise Misuse("MAILER_PAGES is false: there are no pages to sign in to")
    with open_database() as db:
        link = login_links.make(db, id_of(db, user), permissions, lifetime)
    click.echo(f"{settings.site_url.rstrip('/')}/mailer/sign-in/{link}")
