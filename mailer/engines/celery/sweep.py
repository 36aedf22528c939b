"""Ring for what is due and was announced by nobody: retries, resting campaigns, messages that a broker lost.

Every worker has a sweep, and one at a time sweeps: it holds a lease in the database, by which the web also sees that
there is a worker. A sweep that cannot reach the broker gives the lease back, so that another one may try.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy.exc import SQLAlchemyError

from mailer.delivery.trouble import describe
from mailer.engines.celery.doorbell import Ringer
from mailer.logs.masking import without_addresses
from mailer.storage.database import Database
from mailer.storage.database_errors import own_words
from mailer.storage.scheduled_tasks import SharedTask, Turn, TurnLost

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # how late something that is due is noticed
WAIT_SECONDS = 3.0  # how often the other sweeps look whether it is their turn
LEASE = 15_000  # ms, after which another sweep takes the place of one that was killed


class Sweep:
    """The sweep of one worker. `is_due` asks the database whether there is anything to do."""

    def __init__(self, db: Database, ringer: Ringer, is_due: Callable[[], bool]) -> None:
        self._task = _shared(db)
        self._ringer = ringer
        self._is_due = is_due

    @staticmethod
    def is_held(db: Database) -> bool:
        """Whether some worker sweeps now, or did until some seconds ago."""
        record = _shared(db).record()
        return record is not None and record.running_since is not None

    def run(self, stopping: threading.Event) -> None:
        """Sweep whenever it is this worker's turn, until `stopping` is set."""
        while not stopping.is_set():
            try:
                turn = None if self._ringer.trouble else self._task.take(early=True)
                if turn is not None:
                    self._sweep(turn, stopping)
            except TurnLost:
                log.warning("sweep: lease lost, left to another worker")
            except SQLAlchemyError as error:
                log.error("sweep: %s", own_words(error))
            stopping.wait(WAIT_SECONDS)

    def _sweep(self, turn: Turn, stopping: threading.Event) -> None:
        try:
            with self._task.kept(turn) as lost:
                while not (stopping.wait(LOOK_SECONDS) or lost.is_set() or self._ringer.trouble):
                    self._look()
        finally:
            with suppress(SQLAlchemyError):
                self._task.give_back(turn)

    def _look(self) -> None:
        try:
            if self._is_due():
                self._ringer.ask()
        except SQLAlchemyError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is due, a worker will meet the same and log all of it
            log.error("sweep: %s", without_addresses(describe(error)))
            self._ringer.ask()


def _shared(db: Database) -> SharedTask:
    return SharedTask(db, "doorbell", lease=LEASE, period=None)
