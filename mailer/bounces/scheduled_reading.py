"""The mailbox of MAILER_BOUNCE_MAILBOX as a task that all processes share: one of them reads it once a minute."""

from __future__ import annotations

import logging
import threading

from sqlalchemy.exc import SQLAlchemyError
from typing_extensions import override

from mailer.bounces.collecting import Collected, collect
from mailer.bounces.mailboxes.base import MailboxUnavailable
from mailer.bounces.mailboxes.opening import open_mailbox
from mailer.bounces.report import Record
from mailer.errors import MailerError
from mailer.settings.bounces.mailbox import BounceMailbox
from mailer.storage.database import Database
from mailer.storage.database_errors import own_words
from mailer.storage.periodic_task import PeriodicTask, Stopped
from mailer.storage.scheduled_tasks import SharedTask, Turn, TurnLost

log = logging.getLogger(__name__)

FAILURES = (MailboxUnavailable, MailerError, SQLAlchemyError)  # MailerError: the journal takes no wishes

PERIOD = 60_000  # ms from one reading to the next
POLL_SECONDS = 2.0  # how late a process notices that it is due
PAUSE_AFTER_ERROR = 10.0  # seconds, when the database fails


class BounceReading(PeriodicTask):
    """Reads the mailbox at `place`, and hands what it reports to `record`. `lease` is in ms."""

    def __init__(self, db: Database, place: BounceMailbox, password: str, record: Record, lease: int) -> None:
        task = SharedTask(db, f"bounces {place}", lease=lease, period=PERIOD)
        super().__init__(task, "bounces", POLL_SECONDS)
        self._db = db
        self._place = place
        self._password = password
        self._record = record

    def run_when_due(self, stopping: threading.Event) -> Collected | None:
        """Read the mails that wait, if it is time and no other process does; else return None.

        Raises `Stopped` at the next mail once `stopping` is set, `TurnLost`, `MailboxUnavailable`, and what the
        database raises.
        """
        turn = self._task.take()
        return self._run(turn, stopping) if turn else None

    def _run(self, turn: Turn, stopping: threading.Event) -> Collected:
        try:
            with self._task.kept(turn) as lost:
                collected = self._collect(stopping, lost)
                with self._db.write() as connection:
                    self._task.done(connection, turn, collected._asdict())
        except Stopped:
            self._task.give_back(turn)
            raise
        except TurnLost:  # which is one of the errors below as well
            raise
        except FAILURES as error:
            self._task.failed(turn, _reason(error))
            raise
        return collected

    def _collect(self, stopping: threading.Event, lost: threading.Event) -> Collected:
        def pause() -> None:
            if stopping.is_set():
                raise Stopped
            if lost.is_set():
                raise TurnLost

        with open_mailbox(self._place, self._password) as mailbox:
            return collect(mailbox, self._record, pause)

    @override
    def _run_and_log(self, stopping: threading.Event) -> None:
        try:
            collected = self.run_when_due(stopping)
        except TurnLost:
            raise
        except FAILURES as error:
            log.warning("bounces: %s", _reason(error))
            if isinstance(error, SQLAlchemyError):
                stopping.wait(PAUSE_AFTER_ERROR)
        else:
            if collected and collected.mails:
                log.info("bounces: %s", collected.words())


def _reason(error: Exception) -> str:
    return own_words(error) if isinstance(error, SQLAlchemyError) else str(error)
