"""`mailer worker`: delivery alone, without the web."""

from __future__ import annotations

import logging
import signal
import threading

import click

from app import Services, build
from mailer.cli.failures import Failure
from mailer.logs.configuration import configure
from mailer.settings import log_settings
from mailer.settings.advice import settings_with_warnings

log = logging.getLogger(__name__)

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
    _serve_metrics(services)
    try:
        trouble = _until(stopping, services)
    finally:
        ended = services.engine.stop(STOP_SECONDS)
        services.transport.close()
        services.db.close()
    if trouble or not ended:
        raise Failure(trouble or f"a checkpoint did not end within {STOP_SECONDS:.0f} s; its lease will run out")


def _serve_metrics(services: Services) -> None:
    place = services.settings.metrics
    if services.instruments is None:
        return
    if place == "true":
        log.warning("metrics are counted and not served: MAILER_METRICS=true means the web server, and there is none")
        return
    from mailer.metrics.processes import listen  # noqa: PLC0415 - only where it is wanted

    listen(services.instruments.registry, place)


def _until(stopping: threading.Event, services: Services) -> str | None:
    while not stopping.wait(LOOK_SECONDS):
        trouble = services.engine.trouble()
        if trouble:
            return trouble
    return None
