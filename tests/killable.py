"""Workers and servers in processes of their own, made to be killed; a trap makes one kill itself at a named step.

The processes are forked from a clean one that has the code imported already, so that many can live and die quickly.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication

import mailer
from app import build, create_app
from bench.processes import free_port
from mailer.settings import Settings
from mailer.storage.database import Database
from tests.databases import any_database
from transports.base import Message, Outcome, Transport

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["pytest", "gunicorn.app.wsgiapp", "tests.killable", "tests.recording_smtp"])
PRODUCT = Path(mailer.__file__).parent
SITES = ("accept", "_claim_campaign", "plan_next", "claim", "checkpoint", "release")


@dataclass(frozen=True, slots=True)
class Trap:
    """Kill -9 yourself `moment` ("before" or "after") the `nth` time at `site`.

    A site is a function of the product whose commit is meant, `hand over` (a message to the transport) or `outcome`
    (of a message, back from the transport).
    """

    site: str
    moment: str = "after"
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.moment} {self.site} {self.nth}"


def settings_for(folder: Path, transport: str, **changes: Any) -> Settings:
    """A service in `folder` with short leases and small checkpoints, over a migrated database."""
    url = changes.pop("database_url", None) or any_database(folder / "mailer.db")
    usual = {"batch_size": 100, "checkpoint": 10, "lease_seconds": 1, "secret_key": ("k" * 40,), "repeat_window": 0}
    usual["state_dir"] = str(folder)
    return Settings(**{"database_url": url, "transport": transport, **usual, **changes})


class Worker:
    """`mailer worker` in a process: an engine and nothing else."""

    def __init__(self, settings: Settings, trap: Trap | None = None, *, busy: float = 30.0, fast: float = 0.0) -> None:
        """Its machine's clock is `fast` seconds ahead."""
        self.process = PROCESSES.Process(target=_work, args=(settings, trap, busy, fast), daemon=True)
        self.process.start()

    def signal(self, signum: int) -> None:
        """Send a signal, if it still lives."""
        signal_process(self.process, signum)

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self.process.kill()
        self.process.join()

    def wait(self, seconds: float = 30.0) -> int | None:
        """Its exit code, -9 when it was killed; None when it still lives."""
        self.process.join(seconds)
        return self.process.exitcode

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class WebServer:
    """gunicorn with its workers, configured by gunicorn.conf.py, in `folder`; killed whole, or worker by worker."""

    def __init__(
        self,
        settings: Settings,
        *,
        workers: int = 1,
        trap: Trap | None = None,
        busy: float = 30.0,
        folder: Path | None = None,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = PROCESSES.Process(target=_serve, args=(settings, self.port, workers, trap, busy, folder))
        self.process.start()

    def wait_until_up(self) -> WebServer:
        """Wait until the port takes connections."""
        for _ in attempts(20):
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", self.port), timeout=5):
                return self
        raise AssertionError("the server did not listen within 20 s")

    def workers(self) -> list[int]:
        """The process ids of its workers."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def kill(self) -> None:
        """SIGKILL to all of it at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid or 0, signal.SIGKILL)
        self.process.join()

    def __enter__(self) -> WebServer:
        return self.wait_until_up()

    def __exit__(self, *_: object) -> None:
        self.kill()


def signal_process(process: BaseProcess, signum: int) -> None:
    """Send a signal, if it still lives."""
    if process.pid and process.is_alive():
        os.kill(process.pid, signum)


def attempts(seconds: float, pause: float = 0.02) -> Iterator[float]:
    """Yield until `seconds` have passed, `pause` apart."""
    ends = time.monotonic() + seconds
    while (now := time.monotonic()) < ends:
        yield now
        time.sleep(pause)


def _work(settings: Settings, trap: Trap | None, busy: float, fast: float) -> None:
    _quietly()
    right = time.time
    time.time = lambda: right() + fast
    services = build(settings)
    arm(services.db, services.transport, trap, busy)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    services.engine.start()
    while not stopping.wait(0.1):
        pass
    ended = services.engine.stop(20)
    services.transport.close()
    sys.exit(0 if ended else 1)


def _serve(settings: Settings, port: int, workers: int, trap: Trap | None, busy: float, folder: Path | None) -> None:
    os.setpgid(0, 0)
    os.chdir(folder or Path.cwd())
    os.environ["MAILER_DATABASE_URL"] = settings.database_url  # what gunicorn.conf.py looks at before the workers start
    _quietly()

    class Server(BaseApplication):
        def load_config(self) -> None:
            configuration: dict[str, Any] = {}
            path = Path(__file__).parent.parent / "gunicorn.conf.py"
            exec(compile(path.read_text(), path.name, "exec"), configuration)
            for name in self.cfg.settings.keys() & configuration.keys():
                self.cfg.set(name, configuration[name])
            for name, value in {"bind": f"127.0.0.1:{port}", "workers": workers, "loglevel": "critical"}.items():
                self.cfg.set(name, value)

        def load(self) -> Any:
            app = create_app(settings)
            services = app.extensions["mailer"]
            arm(services.db, services.transport, trap, busy)
            return app

    Server().run()


def _quietly() -> None:
    logging.disable(logging.CRITICAL)
    quiet = os.open(os.devnull, os.O_RDWR)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)


def arm(db: Database, transport: Transport, trap: Trap | None, busy: float = 30.0) -> None:
    """Set the trap in this process; give up on a locked SQLite after `busy` seconds."""
    if db.writes is not None:
        db.writes.lock_timeout = busy
    if trap is None:
        return
    if trap.site in SITES:
        db.engine.dialect.do_commit = _trapped_commit(trap, db.engine.dialect.do_commit)  # type: ignore[method-assign]
    else:
        type(transport).send = _trapped_send(trap, type(transport).send)  # type: ignore[method-assign]


def _trapped_commit(trap: Trap, commit: Callable[[Any], None]) -> Callable[[Any], None]:
    count = Countdown(trap.nth)

    def trapped(connection: Any) -> None:
        here = _site() == trap.site and count.passed()
        if here and trap.moment == "before":
            _die()
        commit(connection)
        if here:
            _die()

    return trapped


def _trapped_send(trap: Trap, send: Callable[..., Iterator[Outcome]]) -> Callable[..., Iterator[Outcome]]:
    count = Countdown(trap.nth)

    def drawn(messages: Iterator[Message]) -> Iterator[Message]:
        for message in messages:
            if trap.site == "hand over" and count.passed():
                _die()
            yield message

    def trapped(self: Transport, messages: Iterator[Message]) -> Iterator[Outcome]:
        for outcome in send(self, drawn(messages)):
            if trap.site == "outcome" and count.passed():
                _die()
            yield outcome

    return trapped


class Countdown:
    """True the nth time it is asked, and ever after."""

    def __init__(self, nth: int) -> None:
        self._left = nth

    def passed(self) -> bool:
        self._left -= 1
        return self._left <= 0


def _site() -> str | None:
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_name in SITES and PRODUCT in Path(frame.f_code.co_filename).parents:
            return frame.f_code.co_name
        frame = frame.f_back  # type: ignore[assignment]
    return None


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
