"""The engine that plans and delivers in threads of this process, so that nothing else need be installed or started."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from typing_extensions import override

from mailer.engines.base import Engine, EngineParts
from mailer.engines.worker import Worker


class LocalEngine(Engine):
    """`MAILER_WORKERS` threads that plan and deliver, one that keeps their leases alive, and one for each task.

    Mail is sent without the tasks too, so a task that has ended is not reported as trouble.
    """

    def __init__(self, parts: EngineParts) -> None:
        self._parts = parts
        self._worker = Worker(parts)
        self._threads: list[threading.Thread] = []
        self._task_threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._work = [threading.Event() for _ in range(parts.settings.workers)]  # one for each thread that waits

    @override
    def start(self) -> None:
        heartbeat = _thread("heartbeat", self._worker.keep_leases, self._stopping)
        delivery = [
            _thread(f"delivery-{number}", self._worker.run, self._stopping, work)
            for number, work in enumerate(self._work)
        ]
        self._threads = [heartbeat, *delivery]
        self._task_threads = [_thread(name, task, self._stopping) for name, task in self._parts.tasks.items()]
        for thread in [*self._threads, *self._task_threads]:
            thread.start()

    @override
    def wake(self) -> None:
        for work in self._work:
            work.set()

    @override
    def stop(self, timeout: float) -> bool:
        self._stopping.set()
        self.wake()
        ends = time.monotonic() + timeout
        for thread in [*self._threads, *self._task_threads]:
            thread.join(max(0.0, ends - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    @override
    def trouble(self) -> str | None:
        """Report threads that have ended by themselves: they met a defect, whose traceback is in the log."""
        if not self._threads:
            return "not started"
        ended = [thread.name for thread in self._threads if not thread.is_alive()]
        return f"ended: {', '.join(ended)}" if ended else None


def _thread(name: str, work: Callable[..., None], *events: threading.Event) -> threading.Thread:
    return threading.Thread(target=work, args=events, name=name, daemon=True)
