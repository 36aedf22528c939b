"""`mailer users`: the group of its commands."""

from __future__ import annotations

import click

from mailer.cli.imported_commands import ImportedCommands

COMMANDS = {
    "import": "mailer.cli.commands.users.file_import:import_",
    "list": "mailer.cli.commands.users.listing:list_",
    "show": "mailer.cli.commands.users.listing:show",
    "sync": "mailer.cli.commands.users.sync:sync",
}


@click.group(commands=ImportedCommands(COMMANDS))
def users() -> None:
    """The directory: who can be written to."""
