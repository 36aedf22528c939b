"""`mailer users`: the group of its commands."""

from __future__ import annotations

import click

from mailer.cli.imported_commands import ImportedCommands

COMMANDS = {
    "block": "mailer.cli.commands.users.actions:block",
    "campaigns": "mailer.cli.commands.users.people:campaigns",
    "deactivate": "mailer.cli.commands.users.actions:deactivate",
    "erase": "mailer.cli.commands.users.people:erase_",
    "export": "mailer.cli.commands.users.people:export",
    "find": "mailer.cli.commands.users.people:find",
    "import": "mailer.cli.commands.users.file_import:import_",
    "lift": "mailer.cli.commands.users.actions:lift",
    "list": "mailer.cli.commands.users.listing:list_",
    "readmit": "mailer.cli.commands.users.people:readmit_",
    "show": "mailer.cli.commands.users.listing:show",
    "subscribe": "mailer.cli.commands.users.actions:subscribe",
    "sync": "mailer.cli.commands.users.sync:sync",
    "unsubscribe": "mailer.cli.commands.users.actions:unsubscribe",
}


@click.group(commands=ImportedCommands(COMMANDS))
def users() -> None:
    """The directory: who can be written to."""
