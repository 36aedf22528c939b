"""`mailer keys`: which of the keys that sign unsubscribe links are needed, from the database."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict

import click

from mailer.campaigns.signing.needed import KnownKey, forget_key, known_keys
from mailer.cli.database import open_database
from mailer.cli.output import moment, print_json, print_rows, spelled
from mailer.messages.links import fingerprint
from mailer.settings import Settings

COLUMNS = ("fingerprint", "use", "known since", "last signed", "messages", "last used", "may go")


def _fingerprints() -> list[str]:
    return [fingerprint(key) for key in Settings.from_env().secret_key]


@click.group()
def keys() -> None:
    """The keys that sign the unsubscribe links, by fingerprint."""


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_(as_json: bool) -> None:
    """Show the keys of MAILER_SECRET_KEY and those that were there, what each has signed, and which may go.

    A key may go once the last message that it signed, and the last use of such a link, are a year ago.
    """
    with open_database() as db:
        known = known_keys(db, _fingerprints())
    if as_json:
        print_json([spelled(asdict(one)) for one in known])
    else:
        print_rows(COLUMNS, map(_cells, known))


def _cells(one: KnownKey) -> Sequence[object]:
    times = moment(one.known_at), moment(one.last_signed_at)
    may_go = "no, it signs" if one.may_go_at is None else "yes" if one.may_go else f"not before {moment(one.may_go_at)}"
    return (one.fingerprint, one.role.value, *times, one.messages, moment(one.last_used_at), may_go)


def _checked(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{16}", value):
        raise click.BadParameter("the 16 hexadecimal digits that `mailer keys list` shows are needed")
    return value


@keys.command()
@click.argument("name", metavar="FINGERPRINT", callback=_checked)
def forget(name: str) -> None:
    """Forget a key that was taken out of MAILER_SECRET_KEY on purpose, so that nobody is warned of it any more."""
    with open_database() as db:
        forget_key(db, name, _fingerprints())
    click.echo(f"forgotten: {name}")
