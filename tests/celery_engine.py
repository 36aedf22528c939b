"""Both halves of the Celery engine in one process: the web's, and a worker whose pool are threads and no processes.

So a test can look into what the engine does. That the children of a real worker behave alike is for the drills.
"""

from __future__ import annotations

import atexit
import os
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache

from celery.concurrency.thread import TaskPool
from celery.exceptions import WorkerShutdown
from kombu import Connection, Queue, asynchronous

from mailer.engines import EngineParts
from mailer.engines.celery.application import make_application
from mailer.engines.celery.child import Child
from mailer.engines.celery.chores import ChoreThreads
from mailer.engines.celery.engine import CeleryEngine
from mailer.engines.celery.worker import make_controller

RABBITMQ = os.environ.get("TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1")
REDIS = os.environ.get("TEST_REDIS", "redis://127.0.0.1:6379/0")
_MAKING = threading.Lock()


@cache
def own_queue(broker_url: str) -> dict[str, str]:
    """The settings of a queue that only this process of the suite uses, and that is deleted at its end."""
    settings = {"broker_url": broker_url, "broker_queue": f"mailer-test-{secrets.token_hex(6)}"}
    atexit.register(_delete, **settings)
    return settings


def _delete(broker_url: str, broker_queue: str) -> None:
    with Connection(broker_url, connect_timeout=3) as connection, suppress(*connection.channel_errors):
        Queue(f"{broker_queue}", channel=connection.channel()).delete()


def celery_over(broker_url: str) -> type[CeleryInThreads]:
    """The engine over that broker."""
    return type("CeleryInThreads", (CeleryInThreads,), {"settings": own_queue(broker_url)})


class OwnThreads(TaskPool):
    """Threads that know which application is theirs, since a test has several in one process."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)
        self.executor = ThreadPoolExecutor(self.limit, initializer=self.app.set_current)


class CeleryInThreads(CeleryEngine):
    """Starts the web's half, and with it a worker in this process."""

    def __init__(self, parts: EngineParts) -> None:
        super().__init__(parts)
        self._told = threading.Event()

    def start(self) -> None:
        settings = self._parts.settings
        application = make_application(settings)
        self._child = Child(self._parts, application, self._told.is_set)
        self._child.begin()
        with _MAKING:
            asynchronous.set_event_loop(None)  # workers in one process would share it
            self._controller = make_controller(application, self._child.answer, pool=OwnThreads)
        self._worker = threading.Thread(target=self._controller.start, name="celery", daemon=True)
        self._worker.start()
        self._chores = ChoreThreads(self._parts, application)
        self._chores.start()
        super().start()

    def stop(self, timeout: float) -> bool:
        """As the signals of a real worker do, but for the process."""
        if not hasattr(self, "_controller"):
            return True
        ends = time.monotonic() + timeout
        if not self._told.is_set():
            self._told.set()
            self._controller.hub.call_soon(_shut_down)
        well = self._chores.stop(max(0.0, ends - time.monotonic()))
        well = super().stop(max(0.0, ends - time.monotonic())) and well
        self._worker.join(max(0.0, ends - time.monotonic()))
        if not self._worker.is_alive():
            self._child._ending.set()
            self._child._bell.close()
        return well and not self._worker.is_alive()


def _shut_down() -> None:
    raise WorkerShutdown(0)
