"""The audit log forgets what is older than its retention: in small steps, by one process at a time."""

from __future__ import annotations

import logging
import threading

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError

from mailer.storage.database import Database
from mailer.storage.database_errors import own_words
from mailer.storage.models import AuditEntry
from mailer.storage.scheduled_tasks import SharedTask, TurnLost

log = logging.getLogger(__name__)

STEP = 1000  # rows deleted in one transaction
PERIOD = 60 * 60 * 1000  # ms from one run to the next
POLL_SECONDS = 60.0  # how late a process notices that a run is due


def forget_some(db: Database, older_than: int, rows: int = STEP) -> int:
    """Delete at most `rows` of the acts that are more than `older_than` ms old; return how many were deleted."""
    with db.write() as connection:
        old = AuditEntry.at < db.clock(connection) - older_than
        some = select(AuditEntry.id).where(old).order_by(AuditEntry.at).limit(rows)
        return connection.execute(delete(AuditEntry).where(AuditEntry.id.in_(some))).rowcount


class AuditRetention:
    """Forgets what is more than `older_than` ms old, every hour. `lease` is in ms."""

    def __init__(self, db: Database, older_than: int, *, lease: int) -> None:
        self._db = db
        self._older_than = older_than
        self._task = SharedTask(db, "audit retention", lease=lease, period=PERIOD)

    def run_periodically(self, stopping: threading.Event) -> None:
        """Run whenever it is due, until `stopping` is set. What fails is logged, and tried again at the next look."""
        while not stopping.wait(POLL_SECONDS):
            try:
                self.run_when_due(stopping)
            except TurnLost:
                log.warning("audit retention: lease lost, left to another worker")
            except SQLAlchemyError as error:
                log.error("audit retention: %s", own_words(error))

    def run_when_due(self, stopping: threading.Event) -> int:
        """Delete what is too old, if it is due and no other process does; return how many rows were deleted."""
        turn = self._task.take()
        if turn is None:
            return 0
        deleted = 0
        while not stopping.is_set() and (some := forget_some(self._db, self._older_than)):
            deleted += some
            self._task.extend(turn)
        with self._db.write() as connection:
            self._task.done(connection, turn, {"deleted": deleted})
        return deleted
