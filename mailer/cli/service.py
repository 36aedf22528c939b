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
from app import Services, build
from mailer.cli.failures import Failure, Misuse
from mailer.cli.output import print_json
from mailer.settings import Settings
from transports import TransportUnavailable

STOP_SECONDS = 25.0  # what a service manager leaves between SIGTERM and SIGKILL, less a little
LOOK_SECONDS = 1.0


@click.command()
@click.option("--bind", metavar="HOST:PORT", help="Where to listen; default: as in gunicorn.conf.py.")
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
    services = build(Settings.from_env())
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
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object of part and problem, null for none.")
def check(as_json: bool) -> None:
    """Check the settings, the database and the transport, sending nothing.

    Exit code 2 if a setting is wrong, 1 if something does not answer.
    """
    services = build(Settings.from_env())
    try:
        services.transport.check()
        problem = None
    except TransportUnavailable as error:
        problem = str(error) or "does not answer"
    finally:
        services.transport.close()
        services.db.close()
    if as_json:
        print_json({"settings": None, "database": None, "transport": problem})
    else:
        click.echo("settings: ok\ndatabase: ok" + ("" if problem else "\ntransport: ok"))
    if problem:
        raise Failure(f"transport: {problem}")
