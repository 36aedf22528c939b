"""The sync as a task that all processes share: whichever finds it due runs it, or a person starts it.

There is one run at a time, over all processes and machines.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import asdict
from pathlib import Path

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from typing_extensions import override

from mailer.errors import InvalidState, MailerError
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.database_errors import in_public
from mailer.storage.periodic_task import PeriodicTask, Stopped
from mailer.storage.scheduled_tasks import SharedTask, TaskRecord, Turn, TurnLost
from mailer.workspace.client import Workspace
from mailer.workspace.spool import Progress
from mailer.workspace.sync import SyncResult, sync_users

log = logging.getLogger(__name__)

SPOOL = Path("instance/sync.ndjson")  # one on each machine
POLL_SECONDS = 1.0  # how late a process notices that the sync is due
PAUSE_AFTER_ERROR = 10.0  # seconds, when the database fails
STOP_POLL_SECONDS = 1.0  # how late a waiting run notices that it must end

FAILURES = (MailerError, OSError, SQLAlchemyError, psycopg.Error)  # psycopg's own: COPY goes past SQLAlchemy


RARE = ("malformed", "erased", "ended_tokens")


def _quietly(_read: int, _total: int) -> None:
    """Report no progress."""


def counts(result: SyncResult) -> dict[str, int]:
    """The counts of a result by their names; those that are seldom above zero only if they are."""
    found = {name: count for name, count in asdict(result).items() if isinstance(count, int)}
    return {name: count for name, count in found.items() if count or name not in RARE}


class SyncTask(PeriodicTask):
    """The sync with the workspace that the settings name."""

    def __init__(self, db: Database, settings: Settings, *, spool: Path = SPOOL) -> None:
        period = settings.sync_every
        name = f"sync {settings.workspace_url.rstrip('/')}"
        lease = settings.lease_seconds * 1000
        task = SharedTask(db, name, lease=lease, period=None if period is None else period * 1000)
        super().__init__(task, "sync", POLL_SECONDS)
        self._db = db
        self._settings = settings
        self._spool = spool

    def run_when_due(self, stopping: threading.Event) -> SyncResult | None:
        """Run the sync if it is due and no other process runs it; else return None. Raises as `run` does."""
        turn = self._task.take()
        return self._run(turn, stopping, _quietly) if turn else None

    def run(self, stopping: threading.Event, progress: Progress = _quietly) -> SyncResult:
        """Run the sync now, whether it is due or not.

        Raises `InvalidState` while another process runs it, `Stopped` at the next page once `stopping` is set, and what
        `sync_users` raises.
        """
        turn = self._task.take(early=True)
        if turn is None:
            raise InvalidState(
                "Another sync is running; if it was killed, its turn ends after MAILER_LEASE_SECONDS at most."
            )
        return self._run(turn, stopping, progress)

    @override
    def _why(self, record: TaskRecord) -> str:
        return f": {record.error}"

    @override
    def _run_and_log(self, stopping: threading.Event) -> None:
        try:
            result = self.run_when_due(stopping)
        except TurnLost:  # which is one of the errors below as well
            raise
        except FAILURES as error:
            log.warning("sync failed: %s", _reason(error))
            if isinstance(error, SQLAlchemyError):  # else the record says when it is due again
                stopping.wait(PAUSE_AFTER_ERROR)
        else:
            if result:
                log.info("synced: %s", ", ".join(f"{count} {name}" for name, count in counts(result).items()))
                for note in result.left.notes():
                    log.warning("sync: %s", note)
                for problem in result.problems:
                    log.warning("sync: %s, field %s: %s", *problem)

    def _run(self, turn: Turn, stopping: threading.Event, progress: Progress) -> SyncResult:
        try:
            with self._task.kept(turn) as lost:
                return self._sync(turn, _Run(stopping, lost, progress))
        except TurnLost:
            raise
        except (Stopped, KeyboardInterrupt):
            self._task.give_back(turn)
            raise
        except FAILURES as error:
            self._task.failed(turn, _reason(error))
            raise

    def _sync(self, turn: Turn, run: _Run) -> SyncResult:
        def seal(connection: Connection, result: SyncResult) -> None:
            self._task.done(connection, turn, asdict(result))

        settings = self._settings
        pause = settings.owner_deactivated == "pause"
        credentials = (settings.workspace_user_id, settings.workspace_token)
        workspace = Workspace(settings.workspace_url, *credentials, sleep=run.pause)
        try:
            return sync_users(
                self._db, workspace, self._spool, since=turn.last_done_at, pause=pause, progress=run.tell, seal=seal
            )
        finally:
            workspace.close()


class _Run:
    """A run in progress: ends it when the process stops or the lease is lost, also while it waits."""

    def __init__(self, stopping: threading.Event, lost: threading.Event, progress: Progress) -> None:
        self._stopping = stopping
        self._lost = lost
        self._progress = progress

    def verify(self) -> None:
        """Raise `Stopped` or `TurnLost` if the run must end."""
        if self._stopping.is_set():
            raise Stopped
        if self._lost.is_set():
            raise TurnLost

    def tell(self, read: int, total: int) -> None:
        """Report that `read` of `total` users are in the spool. Raises as `verify` does."""
        self.verify()
        self._progress(read, total)

    def pause(self, seconds: float) -> None:
        """Wait, but not longer than the run may last. Raises as `verify` does."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            self.verify()
            self._stopping.wait(min(left, STOP_POLL_SECONDS))
        self.verify()


def _reason(error: Exception) -> str:
    """The error in one line, without a database's own text: its values may be addresses."""
    if isinstance(error, (SQLAlchemyError, psycopg.Error)):
        return f"database: {in_public(error)}"
    return " ".join(str(error).split())
