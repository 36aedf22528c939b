"""`mailer worker`: delivery alone, without the web."""

from __future__ import annotations

import signal
import threading

import click

from app import Services, build, settings_with_warnings
from mailer.cli.failures import Failure
from mailer.logs.configuration import configure
from mailer.settings import log_settings

STOP_SECONDS = 25.0  # what a service manager leaves between SIGTERM and SIGKILL, less a little
LOOK_SECONDS = 1.0


@click.command()
def worker() -> None:
    """Deliver in this process, without the web; SIGTERM or Ctrl-C finishes the checkpoint in hand."""
    configure(*log_settings())
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
