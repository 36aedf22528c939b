"""Notice when the database's clock is set back by a step, and move all times that something waits for back by as much.

Without that, what is due in an hour would be due only an hour and the step later. A step is noticed in two ways. The
latest time that the clock has shown is on record; after a step while no process ran, the clock shows an earlier time
than that. A process that runs compares the clock with the seconds since its machine booted, which nobody can set. The
first process that notices corrects the rows for all.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, select, update
from sqlalchemy.exc import SQLAlchemyError

from mailer.storage.database import Database
from mailer.storage.database_errors import own_words
from mailer.storage.dialects import Upsert
from mailer.storage.lease import boot_time
from mailer.storage.models import (
    Batch,
    BatchState,
    Campaign,
    CampaignState,
    CircuitBreaker,
    ClockMark,
    Delivery,
    RateLimit,
    ScheduledTask,
    SlotCount,
)
from mailer.storage.models.states import BEGUN

log = logging.getLogger(__name__)

LOOK_SECONDS = 15.0  # between two looks, so a step is noticed at most so late
TOLERANCE = 60_000  # ms; clocks are often corrected by less, which does no harm


class ClockWatch:
    """Watches the clock in one process. `lease` is how long the longest lease lasts, in ms."""

    def __init__(self, db: Database, lease: int) -> None:
        self._db = db
        self._lease = lease
        self._last: tuple[int, int, float] | None = None  # steps on record, time shown (ms), `boot_time` after it (s)

    def run_periodically(self, stopping: threading.Event) -> None:
        """Look every `LOOK_SECONDS` until `stopping` is set; a database that fails is asked again at the next look."""
        while True:
            try:
                self.look()
            except SQLAlchemyError as error:
                log.error("clock: %s", own_words(error))
            if stopping.wait(LOOK_SECONDS):
                return

    def look(self) -> int:
        """Correct a step if there was one since any process last looked; return by how many ms, otherwise 0."""
        with self._db.write(durable=False) as connection:
            before = boot_time()
            now = self._db.clock(connection)
            after = boot_time()
            mark = _mark(connection, now)
            behind = max(mark.seen_at, self._expected(mark.steps, before)) - now
            step = behind if behind > TOLERANCE else 0
            if step:
                _set_back(connection, now, step, self._lease)
            if step or now > mark.seen_at:
                values = {"seen_at": now, "steps": mark.steps + bool(step)}
                connection.execute(update(ClockMark).values(**values))
        self._last = (mark.steps + bool(step), now, after)
        if step:
            log.error("the database's clock was set back by %d s: what is due was set back with it", step // 1000)
        return step

    def _expected(self, steps: int, machine_time: float) -> int:
        """What the clock would show, in ms, if nobody had set it.

        0: it is not known, since this is the first look or another process has corrected a step meanwhile.
        """
        if self._last is None or self._last[0] != steps:
            return 0
        _, shown, at = self._last
        return shown + int((machine_time - at) * 1000)


_BEGIN = Upsert(ClockMark, lambda new: new.on_conflict_do_nothing())


def _mark(connection: Connection, now: int) -> Any:
    _BEGIN.run(connection, {"id": 1, "seen_at": now, "steps": 0})
    return connection.execute(select(ClockMark.seen_at, ClockMark.steps).with_for_update()).one()


def _set_back(connection: Connection, now: int, step: int, lease: int) -> None:
    """Have everything wait as long as it would have without the step.

    Leases may have been renewed since the step, so they are only shortened, to end `lease` ms from now at the latest.
    """
    planning, running = Campaign.state == CampaignState.PLANNING, Batch.state == BatchState.RUNNING
    goes_on = Campaign.state.in_([*BEGUN, CampaignState.FAILED])  # a failed one goes on by `retry_failed`
    ongoing = Delivery.campaign_id.in_(select(Campaign.id).where(goes_on))
    for column, of_these in (
        (Delivery.due_at, ongoing),
        (Batch.due_at, Batch.state == BatchState.WAITING),
        (Campaign.due_at, ~planning),
        (Campaign.turn_at, None),
        (CircuitBreaker.retry_at, None),
        (ScheduledTask.due_at, None),
        (RateLimit.expires_at, None),
    ):
        _write(connection, column, column - step, now, of_these)
    _write(connection, SlotCount.next_at_us, SlotCount.next_at_us - step * 1000, now * 1000, None)
    for column, of_these in ((Batch.due_at, running), (Campaign.due_at, planning), (ScheduledTask.lease_ends_at, None)):
        _write(connection, column, now + lease, now + lease, of_these)


def _write(
    connection: Connection, column: Any, value: Any, later_than: int, of_these: ColumnElement[bool] | None
) -> None:
    concerned = column > later_than if of_these is None else and_(column > later_than, of_these)
    connection.execute(update(column.class_).where(concerned).values({column.key: value}))
