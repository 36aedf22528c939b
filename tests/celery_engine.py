"""The Celery engine for tests: both halves in one process over a pool of threads, real workers, and brokers to cut off.

With threads a test can look into what the engine does. That the children of a real worker behave alike is for drills.
"""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from celery.concurrency.thread import TaskPool
from celery.exceptions import WorkerShutdown
from kombu import Connection, Queue, asynchronous

from app import build
from bench.processes import free_port
from mailer.engines import EngineParts
from mailer.engines.celery.application import make_application
from mailer.engines.celery.child import Child
from mailer.engines.celery.engine import CeleryEngine
from mailer.engines.celery.task_process import TaskThreads
from mailer.engines.celery.worker import make_controller
from mailer.settings import Settings
from tests.killable import PROCESSES, attempts

RABBITMQ = os.environ.get("TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1")
REDIS = os.environ.get("TEST_REDIS", "redis://127.0.0.1:6379/0")
PORTS = {"amqp": 5672, "redis": 6379}
VARIABLES = {"amqp": "TEST_RABBITMQ", "redis": "TEST_REDIS"}
REDIS_SERVER = shutil.which("redis-server")
_MAKING = threading.Lock()


@cache
def own_queue(broker_url: str) -> dict[str, str]:
    """The settings of a queue that only this process of the suite uses, and that is deleted at its end.

    Skips the test where no broker answers.
    """
    place = urlsplit(broker_url)
    try:
        socket.create_connection((place.hostname or "", place.port or PORTS[place.scheme]), timeout=5).close()
    except OSError:
        pytest.skip(f"no broker answers at {VARIABLES[place.scheme]}")
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
        self._tasks = TaskThreads(self._parts, application)
        self._tasks.start()
        super().start()

    def stop(self, timeout: float) -> bool:
        """As the signals of a real worker do, but for the process."""
        if not hasattr(self, "_controller"):
            return True
        ends = time.monotonic() + timeout
        if not self._told.is_set():
            self._told.set()
            self._controller.hub.call_soon(_shut_down)
        well = self._tasks.stop(max(0.0, ends - time.monotonic()))
        well = super().stop(max(0.0, ends - time.monotonic())) and well
        self._worker.join(max(0.0, ends - time.monotonic()))
        if not self._worker.is_alive():
            self._child._ending.set()
            self._child._bell.close()
        return well and not self._worker.is_alive()


def _shut_down() -> None:
    raise WorkerShutdown(0)


class CeleryWorker:
    """`mailer worker` in a process group of its own. Its machine's clock is `fast` seconds ahead."""

    def __init__(self, settings: Settings, log: Path, *, fast: float = 0.0) -> None:
        self.process = PROCESSES.Process(target=_work, args=(settings, log, fast))
        self.process.start()
        self.pid = self.process.pid or 0

    def pool(self) -> list[int]:
        """The processes that deliver; the one for scheduled tasks has more threads."""
        found = [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        return [pid for pid in found if len(list(Path(f"/proc/{pid}/task").iterdir())) < 6]

    def signal_all(self, signum: int) -> None:
        """Signal every process, as a service manager does."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signum)

    def kill(self) -> None:
        """SIGKILL to every process at once, as when the machine is lost."""
        self.signal_all(signal.SIGKILL)
        self.process.join()

    def wait(self, seconds: float = 60.0) -> int | None:
        """Its exit code; None when it still lives."""
        self.process.join(seconds)
        return self.process.exitcode

    def __enter__(self) -> CeleryWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def _work(settings: Settings, log: Path, fast: float) -> None:
    os.setpgid(0, 0)
    right = time.time
    time.time = lambda: right() + fast
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    logging.basicConfig(level="INFO", format="%(process)d %(asctime)s %(levelname)s %(name)s: %(message)s")
    services = build(settings)
    trouble = services.engine.work()
    services.transport.close()
    print(trouble or "ended in peace", flush=True)
    sys.exit(1 if trouble else 0)


class OwnRedis:
    """A Redis of this test's own, which is killed, and forgets everything."""

    def __init__(self, folder: Path) -> None:
        if REDIS_SERVER is None:
            pytest.skip("no redis-server")
        self._folder = folder
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        command = [str(REDIS_SERVER), "--port", str(self._port), "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        for _ in attempts(20):
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", self._port), timeout=5):
                return

    def close(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()

    @contextmanager
    def away(self) -> Iterator[None]:
        """It is gone, and comes back empty."""
        self.close()
        yield
        self.start()


class CutRabbitMQ:
    """The RabbitMQ that tests share, behind a wire of this test's own, which is cut; the queue is deleted meanwhile."""

    def __init__(self) -> None:
        self._target = urlsplit(RABBITMQ)
        self._line: socket.socket | None = None
        self._open: list[socket.socket] = []
        self._port = free_port()
        self.url = RABBITMQ.replace(self._target.netloc.rpartition("@")[2], f"127.0.0.1:{self._port}")
        self.queue = own_queue(RABBITMQ)["broker_queue"]
        self._listen()

    def _listen(self) -> None:
        self._line = socket.create_server(("127.0.0.1", self._port))
        threading.Thread(target=self._accept, args=(self._line,), daemon=True).start()

    def _accept(self, line: socket.socket) -> None:
        forward(line, (self._target.hostname or "", self._target.port or 5672), self._open)

    def close(self) -> None:
        """Cut all connections, and take no more."""
        if self._line is not None:
            self._line.shutdown(socket.SHUT_RDWR)
            self._line.close()
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._line, self._open = None, []

    @contextmanager
    def away(self) -> Iterator[None]:
        """It is gone, and comes back empty."""
        self.close()
        _delete(RABBITMQ, self.queue)
        yield
        self._listen()


def forward(line: socket.socket, target: tuple[str, int], opened: list[socket.socket]) -> None:
    """Carry every connection that `line` takes to `target`, until `line` is closed."""
    with suppress(OSError):
        while True:
            near, _ = line.accept()
            far = socket.create_connection(target)
            opened += [near, far]
            for pair in ((near, far), (far, near)):
                threading.Thread(target=_carry, args=pair, daemon=True).start()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
