"""A child of the worker: what it begins with after the fork, and what it does when there is a message."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery

from mailer.engines.base import EngineParts
from mailer.engines.celery.doorbell import BrokerAway, Doorbell
from mailer.engines.worker import Worker

log = logging.getLogger(__name__)

END_SECONDS = 2.0  # how long the end of each thread is waited for


class Child:
    """Runs in a process that was forked from the worker. `told` says whether the worker was told to end."""

    def __init__(self, parts: EngineParts, application: Celery, told: Callable[[], bool]) -> None:
        self._parts = parts
        self._worker = Worker(parts)
        self._bell = Doorbell(application, parts.settings)
        self._told = told
        self._terminated = False  # this process alone was told to end
        self._ending = threading.Event()
        self._threads: list[threading.Thread] = []

    def begin(self, **_signal: Any) -> None:
        """Open, after the fork, what each process needs for itself: what `after_fork` does, and its threads."""
        self._parts.after_fork()
        own = {name: self._parts.tasks[name] for name in self._parts.of_each_process}
        for name, task in {"heartbeat": self._worker.keep_leases, **own}.items():
            self._threads.append(threading.Thread(target=task, args=(self._ending,), name=name, daemon=True))
            self._threads[-1].start()

    def end(self, **_signal: Any) -> None:
        """Close what is open, before the process ends."""
        self._ending.set()
        for thread in self._threads:
            thread.join(END_SECONDS)
        self._bell.close()
        self._parts.before_exit()
        self._parts.db.close()

    def answer(self) -> None:
        """Do what is due for a slice of time, and ring while more is.

        Others are called before that: what is due may be work for all. While the broker is away there is nobody to
        call, so this process goes on by itself.
        """
        with self._terminating_softly():
            if not self._anything_due():
                return
            self._ring()
            while self._worker.run_for(self._parts.settings.slice_seconds, self._stopping):
                if self._ring() or self._stopping():
                    return

    def _stopping(self) -> bool:
        return self._terminated or self._told()

    def _anything_due(self) -> bool:
        try:
            return self._parts.deliverer.work_is_due()
        except Exception:  # noqa: BLE001 - a slice meets the same, and knows what to log and how long to wait
            return True

    def _ring(self) -> bool:
        try:
            self._bell.ring()
        except BrokerAway as error:
            log.warning("the broker cannot be reached, nobody is called: %s", error)
            return False
        return True

    @contextmanager
    def _terminating_softly(self) -> Iterator[None]:
        """Have SIGTERM, which a service manager may send to all processes, end the slice at the next checkpoint."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, self._terminate)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def _terminate(self, *_signal: Any) -> None:
        self._terminated = True
