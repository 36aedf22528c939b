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
from typing_extensions import override

from mailer.storage.database import Database
from mailer.storage.database_errors import own_words
from mailer.storage.periodic_task import PeriodicTask, Stopped
from mailer.storage.scheduled_tasks import SharedTask, Turn, TurnLost
from mailer.storage.steps.small_steps import Steps, run_steps

log = logging.getLogger(__name__)

POLL_SECONDS = 5.0  # how late a process notices that the task is due
LEAST_PAUSE = 0.002  # seconds after a step; time for who waits for SQLite's lock to find it free
LONGEST_PAUSE = 1.0


class StepwiseTask(PeriodicTask):
    """The work that `steps` begins anew at each call, once every `period` ms, under a `name` that no other task has.

    `lease` is in ms, as for every `SharedTask`. The record of the task has the sums of the steps as its result.
    """

    def __init__(self, db: Database, name: str, steps: Callable[[], Steps], *, lease: int, period: int) -> None:
        super().__init__(SharedTask(db, name, lease=lease, period=period), name, POLL_SECONDS)
        self._db = db
        self._steps = steps

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

    @override
    def _run_and_log(self, stopping: threading.Event) -> None:
        try:
            done = self.run_when_due(stopping)
        except SQLAlchemyError as error:
            log.warning("%s failed: %s", self._title, own_words(error))
        else:
            if done and any(done.values()):
                log.info("%s: %s", self._title, ", ".join(f"{count} {what}" for what, count in done.items() if count))
