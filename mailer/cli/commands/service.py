"""`mailer serve`, `mailer worker` and `mailer config check`: the service itself."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path

import click

import app
from app import Services, build, doubts, settings_with_warnings
from mailer.cli.failures import Failure, Misuse
from mailer.cli.output import print_fields, print_json, print_notes
from mailer.errors import ConfigError
from mailer.settings import ENV_FILE, Settings, unknown_settings
from transports import TransportUnavailable
from transports.registry import shown_url

STOP_SECONDS = 25.0  # what a service manager leaves between SIGTERM and SIGKILL, less a little
LOOK_SECONDS = 1.0


def _listening_address(_context: click.Context, _option: click.Parameter, bind: str | None) -> str | None:
    """What gunicorn takes; of a wrong port it would not say where it stands."""
    host, colon, port = (bind or "").rpartition(":")
    if (
        colon
        and host not in ("unix", "fd")
        and not port.endswith("]")
        and not (port.isdecimal() and int(port) < 1 << 16)
    ):
        raise click.BadParameter(f"{bind!r} is not HOST:PORT with a port up to 65535")
    return bind


@click.command()
@click.option(
    "--bind", metavar="HOST:PORT", callback=_listening_address, help="Where to listen; default: as in gunicorn.conf.py."
)
@click.option("--workers", type=click.IntRange(min=1), help="How many processes; default: as in gunicorn.conf.py.")
def serve(bind: str | None, workers: int | None) -> None:
    """Run the service behind gunicorn: the API, the pages and the delivery engine."""
    Settings.from_env()  # one line here rather than one from every process
    folder = Path(app.__file__).parent
    configuration = folder / "gunicorn.conf.py"
    if not configuration.is_file():
        raise Misuse(f"{configuration.name} is not beside app.py")
    command = [sys.executable, "-m", "gunicorn", "--config", str(configuration), "--pythonpath", str(folder)]
    command += ["--bind", bind] if bind else []
    command += ["--workers", str(workers)] if workers else []
    os.execv(sys.executable, [*command, "wsgi:app"])  # noqa: S606 - gunicorn takes this process over, signals and all


@click.command()
def worker() -> None:
    """Deliver in this process, without the web; SIGTERM or Ctrl-C finishes the checkpoint in hand."""
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel("WARNING")
    stopping = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stopping.set())
    services = build(settings_with_warnings())
    services.engine.start()
    try:
        trouble = _until(stopping, services)
    finally:
        ended = services.engine.stop(STOP_SECONDS)
        services.transport.close()
        services.db.close()
    if trouble or not ended:
        raise Failure(trouble or f"a checkpoint did not end within {STOP_SECONDS:.0f} s; its lease will run out")


def _until(stopping: threading.Event, services: Services) -> str | None:
    while not stopping.wait(LOOK_SECONDS):
        trouble = services.engine.trouble()
        if trouble:
            return trouble
    return None


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
    warnings = doubts(settings)
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
        services.transport.check()
    except TransportUnavailable as error:
        return shown, str(error) or "does not answer"
    finally:
        services.transport.close()
        services.db.close()
    return shown, None
