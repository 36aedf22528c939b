"""One transaction for several writers: those who come while a transaction is being committed share the next.

A commit costs more than what one request writes, and SQLite lets only one transaction write at a time. PostgreSQL
groups commits by itself.

Some failures undo the whole transaction and not only the work that met them; on SQLite a full disk does. So after each
failure the driver is asked whether the transaction still exists. If it does not, it has failed for all who share it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from sqlalchemy import Connection

from mailer.storage.dialects import on_driver
from mailer.storage.transactions import verify_standing

T = TypeVar("T")
Work = Callable[[Connection], T]


class SharedWrites:
    """Runs work in transactions that `begin` opens, one after the other, each with all the work that is waiting."""

    def __init__(self, begin: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._begin = begin
        self._waiting: list[Job] = []
        self._adding = threading.Lock()
        self._leading = threading.Lock()

    @property
    def waiting(self) -> int:
        """How many wait for the transaction after the one that is being committed."""
        return len(self._waiting)

    def run(self, work: Work[T]) -> T:
        """Run `work` and return its result, once it is committed.

        When `work` raises, only its own writes are undone. When the transaction fails, every writer that shares it gets
        that error.
        """
        job = Job(work)
        with self._adding:
            self._waiting.append(job)
        with self._leading:  # whoever led before may have done this job
            if not job.done:
                self._lead()
        result: T = job.result()
        return result

    def _lead(self) -> None:
        with self._adding:
            jobs, self._waiting = self._waiting, []
        try:
            with self._begin() as connection:
                for job in jobs:
                    job.run(connection, alone=len(jobs) == 1)
        except BaseException as error:
            _fail(jobs, error)
            raise
        for job in jobs:
            job.done = True


class Job:
    """One writer's work, and what came of it."""

    def __init__(self, work: Work[Any]) -> None:
        self._work = work
        self._value: Any = None
        self.error: BaseException | None = None
        self.done = False

    def run(self, connection: Connection, *, alone: bool) -> None:
        """Do the work. Unless it is `alone` in the transaction, its error is kept for `result`, and only it is undone.

        Raises `OperationalError` if the database has undone the whole transaction.
        """
        if alone:
            self._value = self._work(connection)
            return
        verify_standing(connection)
        on_driver(connection, "SAVEPOINT work", ())
        try:
            self._value = self._work(connection)
        except Exception as error:  # noqa: BLE001 - raised in the writer's own thread
            on_driver(connection, "ROLLBACK TO work", ())
            verify_standing(connection)
            self.error = error
        on_driver(connection, "RELEASE work", ())

    def result(self) -> Any:
        """Return what the work returned, or raise what it raised."""
        if self.error is not None:
            raise self.error
        return self._value


def _fail(jobs: Sequence[Job], error: BaseException) -> None:
    for job in jobs:
        job.error = job.error or error
        job.done = True
