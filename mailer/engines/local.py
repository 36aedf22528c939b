"""Delivery threads inside this process: nothing to install or start."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from sqlalchemy.exc import SQLAlchemyError

from mailer.campaigns.planning import Planner
from mailer.delivery.deliverer import Deliverer
from mailer.delivery.trouble import describe, full_traceback, without_addresses
from mailer.engines.base import Engine
from mailer.storage.database_errors import own_words

log = logging.getLogger(__name__)

Chore = Callable[[threading.Event], None]

POLL_SECONDS = 0.5  # how late work of another process is noticed
PAUSE_AFTER_TROUBLE = 2.0


class LocalEngine(Engine):
    """`workers` threads that plan and deliver, one that keeps their leases alive, and one for each of `chores`.

    A chore, by its name, runs until the event is
    set; mail is sent without it, so the trouble of one is not that of the engine.
    """

    def __init__(
        self,
        deliverer: Deliverer,
        planner: Planner,
        *,
        workers: int,
        lease: float,
        chores: Mapping[str, Chore] = MappingProxyType({}),
    ) -> None:
        self._deliverer = deliverer
        self._planner = planner
        self._workers = workers
        self._beat_seconds = lease / 3
        self._chores = chores
        self._threads: list[threading.Thread] = []
        self._beside: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._work = threading.Event()
        self._told: set[str] = set()

    def start(self) -> None:
        """Start the threads; call it after a fork, never before."""
        roles = [("heartbeat", self._beat)] + [(f"delivery-{n}", self._run) for n in range(self._workers)]
        self._threads = [threading.Thread(target=role, name=name, daemon=True) for name, role in roles]
        self._beside = [
            threading.Thread(target=chore, args=(self._stopping,), name=name, daemon=True)
            for name, chore in self._chores.items()
        ]
        for thread in [*self._threads, *self._beside]:
            thread.start()

    def wake(self) -> None:
        """Look for work now."""
        self._work.set()

    def stop(self, timeout: float) -> bool:
        """End after the checkpoints in hand."""
        self._stopping.set()
        self._work.set()
        ends = time.monotonic() + timeout
        for thread in [*self._threads, *self._beside]:
            thread.join(max(0.0, ends - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def trouble(self) -> str | None:
        """A thread that ended on its own met a defect; the log has its traceback."""
        if not self._threads:
            return "not started"
        ended = [thread.name for thread in self._threads if not thread.is_alive()]
        return f"ended: {', '.join(ended)}" if ended else None

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._work.clear()
            try:
                busy = self._planner.plan_next() or self._deliverer.run_next(self._stopping.is_set)
            except SQLAlchemyError as error:
                log.error("database trouble, trying again: %s", own_words(error))
                self._stopping.wait(PAUSE_AFTER_TROUBLE)
                continue
            except Exception as error:  # noqa: BLE001 - nobody's in particular: the thread lives on, and says it once
                self._tell(error)
                self._stopping.wait(PAUSE_AFTER_TROUBLE)
                continue
            if not busy and not self._stopping.is_set():
                self._work.wait(POLL_SECONDS)

    def _tell(self, error: Exception) -> None:
        words = describe(error)
        log.error("delivery thread, trying again: %s", without_addresses(words))
        if words not in self._told:
            self._told.add(words)
            log.error("%s", full_traceback(error))

    def _beat(self) -> None:
        while not self._stopping.wait(self._beat_seconds):
            try:
                self._deliverer.heartbeat()
                self._planner.heartbeat()
            except SQLAlchemyError as error:
                log.error("heartbeat: %s", own_words(error))
            except Exception as error:  # noqa: BLE001 - the leases of others hang on this thread
                self._tell(error)
