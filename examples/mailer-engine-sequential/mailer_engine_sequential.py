"""`MAILER_ENGINE=sequential`: one thread plans and delivers, one batch after the other."""

from __future__ import annotations

import threading
import time

from mailer.engines import Engine, EngineParts, Worker


class SequentialEngine(Engine):
    """One thread for the mail, one for the leases, and one for each task."""

    def __init__(self, parts: EngineParts) -> None:
        self._parts = parts
        self._stopping, self._work = threading.Event(), threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        worker = Worker(self._parts)
        self._threads = [
            threading.Thread(target=worker.run, args=(self._stopping, self._work), daemon=True),
            threading.Thread(target=worker.keep_leases, args=(self._stopping,), daemon=True),
        ]
        for task in self._parts.tasks.values():
            self._threads.append(threading.Thread(target=task, args=(self._stopping,), daemon=True))
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        self._work.set()

    def stop(self, timeout: float) -> bool:
        self._stopping.set()
        self._work.set()
        ends = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, ends - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads[:2])

    def trouble(self) -> str | None:
        alive = [thread.is_alive() for thread in self._threads[:2]]
        return None if alive == [True, True] else "the threads for the mail and the leases are not running"
