"""What a worker does beside the mail: the scheduled tasks and the sweep, in a process of its own.

The worker's parent forks its children at any time, so it has no threads and no connection to the database. These have.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.context import ForkProcess

from celery import Celery
from celery.platforms import set_pdeathsig

from mailer.engines.base import EngineParts
from mailer.engines.celery.doorbell import Doorbell, Ringer
from mailer.engines.celery.sweep import Sweep

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.2  # how late the process notices that the worker was told to end
STOP_SECONDS = 20.0


class TaskThreads:
    """The threads: one for each task, one that sweeps, and one that rings."""

    def __init__(self, parts: EngineParts, application: Celery) -> None:
        self._stopping = threading.Event()
        self.ringer = Ringer(Doorbell(application, parts.settings))
        self._sweep = self._thread("sweep", Sweep(parts.db, self.ringer, parts.deliverer.work_is_due).run)
        shared = {name: task for name, task in parts.tasks.items() if name not in parts.of_each_process}
        self._tasks = [self._thread(name, task) for name, task in shared.items()]

    def start(self) -> None:
        """Start all."""
        self.ringer.start()
        for thread in [self._sweep, *self._tasks]:
            thread.start()

    def are_well(self) -> bool:
        """Whether the two without which work would not be noticed go on."""
        return self._sweep.is_alive() and self.ringer.is_alive()

    def stop(self, timeout: float) -> bool:
        """End all; return False if the sweep or the ringer still runs after `timeout` seconds for each."""
        self._stopping.set()
        for thread in [self._sweep, *self._tasks]:
            thread.join(timeout)
        return self.ringer.stop(timeout) and not self._sweep.is_alive()

    def _thread(self, name: str, work: Callable[[threading.Event], None]) -> threading.Thread:
        return threading.Thread(target=work, args=(self._stopping,), name=name, daemon=True)


class TaskProcess:
    """The process. It ends when the worker was `told` to, and when the worker dies.

    In it, `ring_by` is called with its ringer.
    """

    def __init__(
        self, parts: EngineParts, application: Celery, told: Callable[[], bool], ring_by: Callable[[Ringer], None]
    ) -> None:
        self._parts = parts
        self._application = application
        self._told = told
        self._ring_by = ring_by
        self._process: ForkProcess | None = None

    def keep_running(self) -> None:
        """Start the process if it does not run, after a kill for example."""
        if self._told() or (self._process is not None and self._process.is_alive()):
            return
        if self._process is not None:
            log.error("the process for the scheduled tasks ended with %s; it is started again", self._process.exitcode)
        self._process = multiprocessing.get_context("fork").Process(target=self._run, name="tasks")
        self._process.start()

    def join(self) -> None:
        """Wait for its end, after the worker was told to end."""
        if self._process is not None:
            self._process.join(STOP_SECONDS)
            self._process.kill()

    def _run(self) -> None:
        ended = threading.Event()
        parent = os.getppid()
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent tells this one
        set_pdeathsig("SIGTERM")
        self._parts.after_fork()
        threads = TaskThreads(self._parts, self._application)
        self._ring_by(threads.ringer)
        threads.start()
        while not (ended.wait(LOOK_SECONDS) or self._told() or os.getppid() != parent) and threads.are_well():
            pass
        threads.stop(STOP_SECONDS / 4)
        self._parts.before_exit()
        self._parts.db.close()
