"""Work in small steps (`mailer.storage.steps.small_steps`) that the service does by itself, again and again.

One process of all does it at a time (`mailer.storage.scheduled_tasks`). After each step it waits for as long as the
step took, so that it never has more than half of the database's time. When its process ends or is killed, another goes
on: at once in the one case, after the lease in the other.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from sqlalchemy.exc import SQLAlchemyError

from mailer.storage.database import Database
from mailer.storage.database_errors import own_words
from mailer.storage.scheduled_tasks import SharedTask, TaskRecord, Turn, TurnLost
from mailer.storage.steps.small_steps import Steps, run_steps

log = logging.getLogger(__name__)

POLL_SECONDS = 5.0  # how late a process notices that the task is due
LEAST_PAUSE = 0.002  # seconds after a step; time for who waits for SQLite's lock to find it free
LONGEST_PAUSE = 1.0


class Stopped(Exception):
    """The process must end. The work stops after the step in hand, and the next run goes on from there."""


class StepwiseTask:
    """The work that `steps` begins anew at each call, once every `period` ms, under a `name` that no other task has.

    `lease` is in ms, as for every `SharedTask`. The record of the task has the sums of the steps as its result.
    """

    def __init__(self, db: Database, name: str, steps: Callable[[], Steps], *, lease: int, period: int) -> None:
        self._db = db
        self._name = name
        self._steps = steps
        self._ended = False
        self._task = SharedTask(db, name, lease=lease, period=period)

    def run_periodically(self, stopping: threading.Event) -> None:
        """Do the work whenever it is due, until `stopping` is set. Failures are logged and recorded, not raised."""
        try:
            while not stopping.wait(POLL_SECONDS):
                self._run_and_log(stopping)
        finally:
            self._ended = True

    def run_when_due(self, stopping: threading.Event) -> Mapping[str, int] | None:
        """Do the work if it is due and no other process does it, and return the sums; else return None.

        Raises `Stopped` after the step in which `stopping` was set, `TurnLost`, and what the steps raise.
        """
        turn = self._task.take()
        if turn is None:
            return None
        try:
            return self._run(turn, stopping)
        except Stopped:
            self._task.give_back(turn)
            raise
        except SQLAlchemyError as error:
            self._task.failed(turn, own_words(error))
            raise

    def record(self) -> TaskRecord | None:
        """What the last run came to, in whichever process; None: there was none yet."""
        return self._task.record()

    def trouble(self) -> str | None:
        """Why the work may not be done, for people to read; None: all is well."""
        if self._ended:
            return "its thread ended"
        record = self.record()
        if record is None or record.error is None:
            return None
        return f"failed, {record.failures} in a row"

    def _run(self, turn: Turn, stopping: threading.Event) -> Mapping[str, int]:
        with self._task.kept(turn) as lost:

            def pause(seconds: float) -> None:
                if stopping.wait(min(max(seconds, LEAST_PAUSE), LONGEST_PAUSE)):
                    raise Stopped
                if lost.is_set():
                    raise TurnLost

            done = dict(run_steps(self._steps(), pause))
            with self._db.write() as connection:
                self._task.done(connection, turn, done)
        return done

    def _run_and_log(self, stopping: threading.Event) -> None:
        try:
            done = self.run_when_due(stopping)
        except Stopped:
            log.info("%s stopped; the next run goes on from there", self._name)
        except TurnLost:
            log.warning("%s: lease lost, left to another worker", self._name)
        except SQLAlchemyError as error:
            log.warning("%s failed: %s", self._name, own_words(error))
        else:
            if done and any(done.values()):
                log.info("%s: %s", self._name, ", ".join(f"{count} {what}" for what, count in done.items() if count))
