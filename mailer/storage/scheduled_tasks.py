"""A task that only one process at a time runs, of all that share the database, and what came of it last.

The process whose turn it is holds a lease (`mailer.storage.lease`), which a thread keeps alive. If it stood still for
longer than the lease, it can record nothing any more. Success is recorded in the transaction of the work itself, so the
work is then rolled back as well.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from mailer.errors import InvalidState
from mailer.storage.database import AnyRow, Database
from mailer.storage.database_errors import own_words
from mailer.storage.dialects import Upsert
from mailer.storage.lease import Leases
from mailer.storage.models import ScheduledTask as Task

log = logging.getLogger(__name__)

DELAYS = tuple(minutes * 60_000 for minutes in (1, 5, 15, 60))  # ms after one failure, after two in a row, and so on


class TurnLost(InvalidState):
    """This run stood still for longer than its lease, and another has begun or may begin."""

    text = "This run stood still for too long, and another has taken its place."


@dataclass(frozen=True, slots=True)
class Turn:
    """One process's right to run the task. Times are ms since 1970.

    `last_done_at` is when the task last succeeded; 0: never.
    """

    fence: int
    began_at: int
    last_done_at: int


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """What is known of a task. Times are milliseconds since 1970.

    `running_since` None: nobody runs it now. `error` None: the last run that ended was a success.
    """

    due_at: int
    running_since: int | None
    done_at: int | None
    result: Mapping[str, Any] | None
    failures: int
    failed_at: int | None
    error: str | None


_LEASES = Leases(Task, Task.name, ends=Task.lease_ends_at, held=Task.lease_ends_at.is_not(None))
_ADD = Upsert(Task, lambda new: new.on_conflict_do_nothing())


class SharedTask:
    """The task `name`. A turn that is not extended for `lease` ms may be taken by another process.

    `period` is the time from one run to the next in ms; None: it runs only when somebody asks for it.
    """

    def __init__(self, db: Database, name: str, *, lease: int, period: int | None) -> None:
        self._db = db
        self._name = name
        self._lease = lease
        self._period = period

    def take(self, *, early: bool = False) -> Turn | None:
        """Take the turn if the task is due, or with `early` in any case; return None if it is not due or taken."""
        with self._db.read() as connection:
            if not self._is_free(self._row(connection), self._db.clock(connection), early):
                return None
        with self._db.write(durable=False) as connection:
            now = self._db.clock(connection)
            row = self._lock(connection, now)
            if not self._is_free(row, now, early):
                return None
            fence = _LEASES.take(connection, (self._name,), row.fence, now + self._lease, began_at=now)
        return Turn(fence, now, row.done_at or 0)

    def extend(self, turn: Turn) -> None:
        """Extend the lease of the turn, to begin anew now. Raises `TurnLost`."""
        with self._db.write(durable=False) as connection:
            if not _LEASES.renew(connection, (self._name,), turn.fence, self._db.clock(connection) + self._lease):
                raise TurnLost

    @contextmanager
    def kept(self, turn: Turn) -> Iterator[threading.Event]:
        """Extend the turn by a thread of its own for as long as the block takes; the event is set if it is lost."""
        over, lost = threading.Event(), threading.Event()
        thread = threading.Thread(target=self._keep, args=(turn, over, lost), name=f"keep {self._name}", daemon=True)
        thread.start()
        try:
            yield lost
        finally:
            over.set()
            thread.join()

    def done(self, connection: Connection, turn: Turn, result: Mapping[str, Any]) -> None:
        """Record success inside the transaction of the work. Raises `TurnLost`, which rolls the work back."""
        now = self._db.clock(connection)
        values = {"done_at": now, "result": dict(result), "failures": 0, "error": None}
        self._end(connection, turn, {**values, **self._due(turn, now, failures=0)})

    def failed(self, turn: Turn, error: str) -> None:
        """Record why the run failed, in one line. Raises `TurnLost`."""
        with self._db.write() as connection:
            now = self._db.clock(connection)
            failures = self._lock(connection, now).failures + 1
            values = {"failures": failures, "failed_at": now, "error": error}
            self._end(connection, turn, {**values, **self._due(turn, now, failures=failures)})

    def give_back(self, turn: Turn) -> None:
        """Give up the turn of a run that was stopped half-way, so that anybody may run the task. Raises `TurnLost`."""
        with self._db.write(durable=False) as connection:
            self._end(connection, turn, {})

    def record(self) -> TaskRecord | None:
        """Return what is known of the task; None if it was never run."""
        with self._db.read() as connection:
            row = self._row(connection)
            now = self._db.clock(connection)
        if row is None:
            return None
        running = row.lease_ends_at is not None and row.lease_ends_at > now
        last = (row.done_at, row.result, row.failures, row.failed_at, row.error)
        return TaskRecord(row.due_at, row.began_at if running else None, *last)

    def _is_free(self, row: AnyRow | None, now: int, early: bool) -> bool:
        if row is None:
            return True
        if row.lease_ends_at is not None and row.lease_ends_at > now:
            return False
        # a task due later than a period from now is free as well: the period was longer, or the clock was wrong
        return early or row.due_at <= now or (self._period is not None and row.due_at > now + self._period)

    def _row(self, connection: Connection) -> AnyRow | None:
        return connection.execute(select(Task.__table__).where(Task.name == self._name)).one_or_none()

    def _lock(self, connection: Connection, now: int) -> AnyRow:
        _ADD.run(connection, {"name": self._name, "due_at": now, "fence": 0, "failures": 0})
        return connection.execute(select(Task.__table__).where(Task.name == self._name).with_for_update()).one()

    def _end(self, connection: Connection, turn: Turn, values: Mapping[str, Any]) -> None:
        if not _LEASES.write(connection, (self._name,), turn.fence, {**values, "lease_ends_at": None}):
            raise TurnLost

    def _due(self, turn: Turn, now: int, *, failures: int) -> dict[str, int]:
        if self._period is None:
            return {}
        return {"due_at": next_run(turn.began_at, now, self._period, failures=failures)}

    def _keep(self, turn: Turn, over: threading.Event, lost: threading.Event) -> None:
        while not over.wait(self._lease / 3000):
            try:
                self.extend(turn)
            except TurnLost:
                lost.set()
                return
            except SQLAlchemyError as error:
                log.error("heartbeat: %s", own_words(error))


def next_run(began_at: int, now: int, period: int, *, failures: int = 0) -> int:
    """Return when a task that began at `began_at` runs again: the next time that is a whole number of periods later.

    After `failures` in a row, the last of them at `now`, it runs after the delay of `DELAYS` if that is sooner. Times
    are ms since 1970, `period` is in ms.
    """
    regular = began_at + ((now - began_at) // period + 1) * period
    return min(regular, now + DELAYS[min(failures, len(DELAYS)) - 1]) if failures else regular
