"""`mailer worker`: delivery alone, without the web."""

from __future__ import annotations

import logging

import click

from app import build, settings_with_warnings
from mailer.cli.failures import Failure


@click.command()
def worker() -> None:
    """Deliver in this process, without the web; SIGTERM or Ctrl-C finishes the checkpoint in hand.

    What runs is the engine that MAILER_ENGINE names.
    """
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel("WARNING")
    services = build(settings_with_warnings())
    try:
        trouble = services.engine.work()
    finally:
        services.transport.close()
        services.db.close()
    if trouble:
        raise Failure(trouble)
