"""`mailer config check`: the settings in force, checked without sending anything."""

from __future__ import annotations

import click

from app import build
from mailer.cli.failures import Failure, Misuse
from mailer.cli.output import print_fields, print_json, print_notes
from mailer.errors import ConfigError
from mailer.pacing.shared_slots import in_words
from mailer.settings import ENV_FILE, Settings, secret_file_warnings, unknown_settings
from mailer.settings.advice import setting_warnings
from transports import TransportUnavailable
from transports.registry import shown_url


@click.group()
def config() -> None:
    """The settings."""


@config.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object; of a part that works, the problem is null.")
def check(as_json: bool) -> None:
    """Show the settings in force and check them, the database and the transport, sending nothing.

    Exit code 2 if a setting is wrong or is none that there is, 1 if something does not answer.
    """
    env_file = ENV_FILE.absolute()
    if not as_json:
        there = "read" if env_file.exists() else "none there"
        print_fields([("folder", env_file.parent), (".env", there)])
    unknown = [str(one) for one in unknown_settings()]
    try:
        settings = Settings.from_env()
        in_force, problem = _examine(settings)
    except ConfigError as error:
        raise Misuse("; ".join([str(error), *unknown])) from error
    problems = {"settings": "; ".join(unknown) or None, "database": None, "transport": problem}
    warnings = (*secret_file_warnings(), *setting_warnings(settings))
    if as_json:
        print_json({**problems, "folder": str(env_file.parent), "inForce": in_force, "warnings": warnings})
    else:
        print_fields(in_force.items())
        print_notes(warnings)
        print_fields((part, "ok") for part, trouble in problems.items() if trouble is None)
    if unknown:
        raise Misuse(str(problems["settings"]))
    if problem:
        raise Failure(f"transport: {problem}")


def _examine(settings: Settings) -> tuple[dict[str, str], str | None]:
    """What is in force, with no secret in it, and the transport's trouble."""
    services = build(settings)
    shown = {"database": services.db.place, "transport": shown_url(settings.transport)}
    shown |= {"site": settings.site_url, "engine": settings.engine}
    try:
        if rates := in_words(services.db, services.transport):
            shown["rates"] = "; ".join(rates)
        services.transport.check()
    except TransportUnavailable as error:
        return shown, str(error) or "does not answer"
    finally:
        services.transport.close()
        services.db.close()
    return shown, None
