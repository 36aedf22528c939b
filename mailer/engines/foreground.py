"""Run an engine in the foreground of a process that does nothing else: what `mailer worker` is for most engines."""

from __future__ import annotations

import signal
import threading
from typing import Protocol

STOP_SECONDS = 25.0  # what a service manager leaves between SIGTERM and SIGKILL, less a little
LOOK_SECONDS = 1.0


class Runs(Protocol):
    """What an engine is here: something that is started, watched and stopped."""

    def start(self) -> None:
        """Begin."""

    def stop(self, timeout: float) -> bool:
        """End after the checkpoints in hand; return False if some still go on after `timeout` seconds."""

    def trouble(self) -> str | None:
        """Return why nothing would run now, if so."""


def work_until_told(engine: Runs) -> str | None:
    """Start the engine, and stop it at SIGTERM, at SIGINT or when it has trouble; return in words what was wrong."""
    stopping = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stopping.set())
    engine.start()
    trouble = None
    try:
        while trouble is None and not stopping.wait(LOOK_SECONDS):
            trouble = engine.trouble()
    finally:
        ended = engine.stop(STOP_SECONDS)
    unfinished = f"a checkpoint did not end within {STOP_SECONDS:.0f} s; its lease will run out"
    return trouble or (None if ended else unfinished)
