"""End the leases of those who died on this machine, so that their batches go on at once and not when the lease is over.

A record without a lock is that of a thread that has ended. If the batch's row still has its number and its fence, that
thread was the last to have the batch, and nobody waits for it to come back. The next claim then finds the lease over.
"""

from __future__ import annotations

import logging
import threading

from sqlalchemy import Connection, and_, bindparam, select, update
from sqlalchemy.exc import SQLAlchemyError

from mailer.delivery import ledger
from mailer.delivery.flight.folder import RecordFolder
from mailer.delivery.flight.half import Half
from mailer.storage.database import Database
from mailer.storage.database_errors import own_words
from mailer.storage.models import Batch, BatchState
from mailer.storage.notifications import announce_work

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
PATIENCE = 3  # processes in a row that died over a batch; after so many the lease has to be waited for

_MINE = and_(
    ledger.LEASES.mine((bindparam("campaign"), bindparam("batch")), bindparam("held_fence")),
    Batch.checkpoint == bindparam("number_of_record"),
    Batch.state == BatchState.RUNNING,
)
_HELD = select(Batch.due_at, Batch.takeovers).where(_MINE)
_END = update(Batch).where(_MINE).values(due_at=bindparam("now"))


class Takeover:
    """Looks for such records in one process."""

    def __init__(self, db: Database, folder: RecordFolder) -> None:
        self._db = db
        self._folder = folder

    def run_periodically(self, stopping: threading.Event) -> None:
        """Look at once, and every `LOOK_SECONDS` until `stopping` is set, whatever fails."""
        while True:
            try:
                self.look()
            except SQLAlchemyError as error:
                log.error("flight records: %s", own_words(error))
            except OSError as error:
                log.error("flight records: %s", error)
            if stopping.wait(LOOK_SECONDS):
                return

    def look(self) -> int:
        """End the leases of the dead; return how many. Records that no batch's row speaks of are removed."""
        found = list(self._folder.in_hand())
        if not found:
            return 0
        with self._db.read() as connection:
            now = self._db.clock(connection)
            held = {path: [(half, _lease(connection, half)) for half in halves] for path, halves in found}
        for path, halves in held.items():
            if all(lease is None for _, lease in halves):
                path.unlink(missing_ok=True)
        over = [half for halves in held.values() for half, lease in halves if lease is not None and lease > now]
        return self._end(over) if over else 0

    def _end(self, halves: list[Half]) -> int:
        with self._db.write(durable=False) as connection:
            now = self._db.clock(connection)
            ended = sum(connection.execute(_END, {**_key(half), "now": now}).rowcount for half in halves)
            announce_work(connection)
        log.warning("taken over from processes of this machine that have ended: %d batches", ended)
        return ended


def _lease(connection: Connection, half: Half) -> int | None:
    """When the lease of the record's batch ends, in ms since 1970; None: the record is not about its last holder.

    A batch over which processes die again and again is said to be free at once, so that its lease has to run out.
    """
    row = connection.execute(_HELD, _key(half)).one_or_none()
    return None if row is None else row.due_at if row.takeovers < PATIENCE else 0


def _key(half: Half) -> dict[str, str | int]:
    key: dict[str, str | int] = {"campaign": half.campaign_id, "batch": half.batch, "held_fence": half.fence}
    return key | {"number_of_record": half.number}
