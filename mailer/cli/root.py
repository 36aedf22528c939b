"""`mailer`: the group of all commands."""

from __future__ import annotations

import os
import pwd
import sys
from io import TextIOWrapper
from pathlib import Path

import click

from mailer.audit.actor import Actor, Via, acting, this_machine
from mailer.cli.failures import FailingGroup
from mailer.cli.imported_commands import ImportedCommands
from mailer.settings import unknown_settings

EPILOG = """Exit codes: 0, it is done; 1, it could not be done; 2, the command or a setting is wrong;
3, of `mailer status` and `mailer dns check`: something needs a person; 4 to 7, of `mailer send`: see its reference.
Errors are one line on stderr. Settings are read from MAILER_* and from .env."""
COMMANDS = {
    "audience": "mailer.cli.commands.audience:audience",
    "audit": "mailer.cli.commands.audit:audit",
    "backup": "mailer.cli.commands.recovery.backups:backup",
    "bounces": "mailer.cli.commands.bounces.group:bounces",
    "campaigns": "mailer.cli.commands.campaigns:campaigns",
    "config": "mailer.cli.commands.config:config",
    "database": "mailer.cli.commands.database:database",
    "dkim": "mailer.cli.commands.dkim:dkim",
    "dns": "mailer.cli.commands.operation.dns:dns",
    "doctor": "mailer.cli.commands.doctor:doctor",
    "explain": "mailer.cli.commands.users.explain:explain",
    "hold": "mailer.cli.commands.hold:hold",
    "keys": "mailer.cli.commands.credentials.keys:keys",
    "login-link": "mailer.cli.commands.login_link:login_link",
    "not-written-to": "mailer.cli.commands.suppression.not_written_to:not_written_to",
    "preview": "mailer.cli.commands.preview:preview",
    "purge": "mailer.cli.commands.purge:purge",
    "reconcile": "mailer.cli.commands.recovery.reconcile:reconcile",
    "release": "mailer.cli.commands.hold:release",
    "report": "mailer.cli.commands.operation.report:report",
    "restore": "mailer.cli.commands.recovery.backups:restore",
    "send": "mailer.cli.commands.send:send",
    "serve": "mailer.cli.commands.processes.serve:serve",
    "status": "mailer.cli.commands.status:status",
    "suppressed": "mailer.cli.commands.suppression.suppressed:suppressed",
    "tokens": "mailer.cli.commands.credentials.tokens:tokens",
    "unsubscribes": "mailer.cli.commands.suppression.unsubscribes:unsubscribes",
    "users": "mailer.cli.commands.users.group:users",
    "worker": "mailer.cli.commands.processes.worker:worker",
}
LOGIN = Path("/proc/self/loginuid")  # the kernel keeps it from the login on; su, sudo and setpriv leave it
NOBODY = 2**32 - 1  # what stands there where nobody has logged in
WARN_THEMSELVES = ("config", "serve", "worker")  # of unknown settings


@click.group(
    cls=FailingGroup,
    commands=ImportedCommands(COMMANDS),
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.pass_context
@click.version_option(package_name="campaign-mailer", prog_name="mailer")
def main(context: click.Context) -> None:
    """Personalised mail to the users of a workspace: the service, its users and tokens, and a client of its API."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no reason to fail
    context.with_resource(acting(Actor(system_user(), Via.CLI, this_machine())))
    if context.invoked_subcommand not in WARN_THEMSELVES:
        for unknown in unknown_settings():
            click.echo(f"Warning: {unknown}", err=True)


def system_user(login: Path = LOGIN) -> str:
    """The system's name for who runs the command, whatever the environment says.

    That is whoever has logged in, also if they have become somebody else since, such as the service's user. Where
    nobody has, as in a container, it is the user of the process.
    """
    uid = _logged_in(login)
    uid = os.getuid() if uid is None else uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # the system has no name for the number
        return str(uid)


def _logged_in(login: Path) -> int | None:
    try:
        uid = int(login.read_text())
    except (OSError, ValueError):  # a system that does not keep it
        return None
    return None if uid == NOBODY else uid
