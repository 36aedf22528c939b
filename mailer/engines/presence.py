"""What an engine runs in a process that only accepts: it lets others see that the process is there."""

from __future__ import annotations

import threading
import time

from mailer.engines.base import EngineParts

TASK = "workers"  # of all tasks, the one that writes that the process is alive


class Presence:
    """Writes that this process runs, from `start` to `stop`. Nothing depends on it, so it has no trouble to report."""

    def __init__(self, parts: EngineParts) -> None:
        self._task = parts.tasks.get(TASK)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, after the fork."""
        if self._task is not None:
            self._thread = threading.Thread(target=self._task, args=(self._stopping,), name=TASK, daemon=True)
            self._thread.start()

    def stop(self, timeout: float) -> float:
        """Take the process off the list; return how many of the `timeout` seconds are left."""
        ends = time.monotonic() + timeout
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout)
        return max(0.0, ends - time.monotonic())
