"""`mailer`: the group of all commands."""

from __future__ import annotations

import sys
from io import TextIOWrapper

import click

from mailer.cli.commands.audience import audience
from mailer.cli.commands.campaigns import campaigns
from mailer.cli.commands.config import config
from mailer.cli.commands.doctor import doctor
from mailer.cli.commands.preview import preview
from mailer.cli.commands.purge import purge
from mailer.cli.commands.send import send
from mailer.cli.commands.serve import serve
from mailer.cli.commands.suppressed import suppressed
from mailer.cli.commands.tokens import tokens
from mailer.cli.commands.unsubscribes import unsubscribes
from mailer.cli.commands.users.file_import import import_
from mailer.cli.commands.users.listing import users
from mailer.cli.commands.users.sync import sync
from mailer.cli.commands.worker import worker
from mailer.cli.failures import FailingGroup
from mailer.settings import unknown_settings

EPILOG = """Exit codes: 0, it is done; 1, it could not be done; 2, the command or a setting is wrong.
Errors are one line on stderr. Settings are read from MAILER_* and from .env."""
WARN_THEMSELVES = ("config", "serve", "worker")  # of unknown settings


@click.group(cls=FailingGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
@click.version_option(package_name="campaign-mailer", prog_name="mailer")
def main(context: click.Context) -> None:
    """Personalised mail to the users of a workspace: the service, its users and tokens, and a client of its API."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no reason to fail
    if context.invoked_subcommand not in WARN_THEMSELVES:
        for unknown in unknown_settings():
            click.echo(f"Warning: {unknown}", err=True)


users.add_command(import_)
users.add_command(sync)
for command in (serve, worker, users, unsubscribes, suppressed, tokens, send, audience, preview, campaigns):
    main.add_command(command)
for command in (doctor, purge, config):
    main.add_command(command)
