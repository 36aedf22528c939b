"""`mailer worker`: delivery alone, without the web."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import click

from app import build
from mailer.cli.failures import Failure, told_in_the_log
from mailer.engines import engine_class
from mailer.logs.configuration import configure
from mailer.metrics.optional import serve_metrics
from mailer.settings import Settings, log_settings
from mailer.settings.advice import settings_with_warnings

log = logging.getLogger(__name__)


@click.command()
@told_in_the_log()
def worker() -> None:
    """Deliver in this process, without the web; SIGTERM or Ctrl-C finishes the checkpoint in hand.

    What runs is the engine that MAILER_ENGINE names.
    """
    configure(*log_settings())
    settings = settings_with_warnings()
    if settings.metrics == "true":
        log.warning("metrics are counted and not served: MAILER_METRICS=true means the web server, and there is none")
    with _counting(settings):
        services = build(settings)
        if not services.engine.forks:
            serve_metrics(settings, services.instruments)
        try:
            trouble = services.engine.work()
        finally:
            services.transport.close()
            services.db.close()
    if trouble:
        raise Failure(trouble)


@contextmanager
def _counting(settings: Settings) -> Iterator[None]:
    """Have processes that are forked count together, if metrics are wanted."""
    if not (settings.metrics and engine_class(settings.engine).forks):
        yield
        return
    from mailer.metrics.processes import ProcessGroup  # noqa: PLC0415 - only where it is wanted

    group = ProcessGroup()
    try:
        yield
    finally:
        group.close()
