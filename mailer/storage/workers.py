"""Which processes run: each writes a few times a minute that it is alive, and others read who was."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, Insert, delete, or_, select
from sqlalchemy.exc import SQLAlchemyError

from mailer.storage.database import Database
from mailer.storage.database_errors import own_words
from mailer.storage.dialects import NewRow, Upsert
from mailer.storage.models import SeenWorker

log = logging.getLogger(__name__)

BEAT_SECONDS = 15.0
ALIVE = 60_000  # ms since it was last seen for which a process counts as alive: four beats
ACCEPT_ONLY = ("celery", "external")  # engines whose web does not deliver
FORGOTTEN = 60 * 60_000  # ms after which a process that ended without a word is forgotten


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that was seen. Times are ms since 1970; `doing` names the batches that it had in hand then."""

    host: str
    pid: int
    engine: str
    role: str
    version: str
    started_at: int
    seen_at: int
    doing: str
    alive: bool

    @property
    def delivers(self) -> bool:
        """Whether it is alive and sends mail; the web of some engines only accepts."""
        return self.alive and (self.role == "worker" or self.engine not in ACCEPT_ONLY)


def this_process() -> str:
    """The name of this machine and the number of this process, as the lists of workers show them: `HOST:PID`."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Heartbeat:
    """Writes that this process runs. `doing` tells what it has in hand; it is asked at each beat."""

    def __init__(self, db: Database, *, engine: str, role: str, version: str, doing: Callable[[], str]) -> None:
        self._db = db
        self._about = {"engine": engine, "role": role, "version": version}
        self._doing = doing

    def run_periodically(self, stopping: threading.Event) -> None:
        """Write every `BEAT_SECONDS` until `stopping` is set, and then delete the row.

        A database that fails is tried again at the next beat.
        """
        worker_id = secrets.token_hex(8)  # made here: the process may have forked since this object was made
        while True:
            self._try(lambda: self.beat(worker_id))
            if stopping.wait(BEAT_SECONDS):
                break
        self._try(lambda: self._leave(worker_id))

    def beat(self, worker_id: str) -> None:
        """Write that the process is alive, and forget those that have not been for long."""
        with self._db.write(durable=False) as connection:
            now = self._db.clock(connection)
            where = {"id": worker_id, "host": socket.gethostname(), "pid": os.getpid()}
            seen = {"started_at": now, "seen_at": now, "doing": self._doing()}
            _BEAT.run(connection, {**where, **self._about, **seen})
            # a time that is yet to come was written before the database's clock was set back
            long_ago = or_(SeenWorker.seen_at < now - FORGOTTEN, SeenWorker.seen_at > now + ALIVE)
            connection.execute(delete(SeenWorker).where(long_ago))

    def _leave(self, worker_id: str) -> None:
        with self._db.write(durable=False) as connection:
            connection.execute(delete(SeenWorker).where(SeenWorker.id == worker_id))

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except SQLAlchemyError as error:
            log.error("heartbeat of the process: %s", own_words(error))


def _again(new: NewRow) -> Insert:
    changed = {"seen_at": new.excluded.seen_at, "doing": new.excluded.doing}
    return new.on_conflict_do_update(index_elements=["id"], set_=changed)


_BEAT = Upsert(SeenWorker, _again)
_COLUMNS = ("host", "pid", "engine", "role", "version", "started_at", "seen_at", "doing")


def workers(db: Database) -> list[Worker]:
    """Return the processes that were seen within an hour, by role and host."""
    with db.read() as connection:
        return seen(connection, db.clock(connection))


def seen(connection: Connection, now: int) -> list[Worker]:
    """Return what `workers` does; `now` is in ms since 1970."""
    columns = [getattr(SeenWorker, name) for name in _COLUMNS]
    order = (SeenWorker.role, SeenWorker.host, SeenWorker.started_at, SeenWorker.id)
    rows = connection.execute(select(*columns).where(SeenWorker.seen_at > now - FORGOTTEN).order_by(*order))
    return [Worker(**row, alive=row["seen_at"] > now - ALIVE) for row in rows.mappings()]
