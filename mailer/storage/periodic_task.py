"""A task that every process looks after in a thread, and that one of them runs whenever it is due."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod

from mailer.storage.scheduled_tasks import SharedTask, TaskRecord, TurnLost

log = logging.getLogger(__name__)


class Stopped(Exception):
    """The process must end. The run stops where it is, and the next one goes on from there."""


class PeriodicTask(ABC):
    """Runs `task` when it is due. `title` is what the log calls it; it looks every `poll` seconds."""

    def __init__(self, task: SharedTask, title: str, poll: float) -> None:
        self._task = task
        self._title = title
        self._poll = poll
        self._ended = False

    def run_periodically(self, stopping: threading.Event) -> None:
        """Run the task whenever it is due, until `stopping` is set. Failures are logged and recorded, not raised."""
        try:
            while not stopping.wait(self._poll):
                self._look(stopping)
        finally:
            self._ended = True

    def record(self) -> TaskRecord | None:
        """What the last run came to, in whichever process; None: there was none yet."""
        return self._task.record()

    def trouble(self) -> str | None:
        """Why the task may not be done, for people to read; None: all is well."""
        if self._ended:
            return "its thread ended"
        record = self.record()
        if record is None or record.error is None:
            return None
        return f"failed, {record.failures} in a row{self._why(record)}"

    def _why(self, _record: TaskRecord) -> str:
        """What may be told of the error itself, behind the words of `trouble`: by default nothing."""
        return ""

    @abstractmethod
    def _run_and_log(self, stopping: threading.Event) -> None:
        """Run the task if it is due, and log what came of it, failures too. Raises `Stopped` and `TurnLost`."""

    def _look(self, stopping: threading.Event) -> None:
        try:
            self._run_and_log(stopping)
        except Stopped:
            log.info("%s stopped; the next run goes on from there", self._title)
        except TurnLost:
            log.warning("%s: lease lost, left to another worker", self._title)
