"""`mailer serve`: the service behind gunicorn."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import click

from mailer.cli.failures import Misuse, told_in_the_log
from mailer.settings import Settings


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
@told_in_the_log()
def serve(bind: str | None, workers: int | None) -> None:
    """Run the service behind gunicorn: the API, the pages and the delivery engine."""
    Settings.from_env()  # one line here rather than one from every process
    found = find_spec("app")  # gunicorn imports it; this command needs only the folder
    folder = Path(found.origin if found and found.origin else ".").absolute().parent
    configuration = folder / "gunicorn.conf.py"
    if not configuration.is_file():
        raise Misuse(f"{configuration.name} is not beside app.py")
    command = [sys.executable, "-m", "gunicorn", "--config", str(configuration), "--pythonpath", str(folder)]
    command += ["--bind", bind] if bind else []
    command += ["--workers", str(workers)] if workers else []
    os.execv(sys.executable, [*command, "wsgi:app"])  # noqa: S606 - gunicorn takes this process over, signals and all
