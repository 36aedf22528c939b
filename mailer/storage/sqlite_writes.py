"""How this process writes to one SQLite file: in turn, and with one `fdatasync` for all who wait for the disk.

SQLite has one writer at a time; whoever finds the file locked sleeps and looks again, up to 100 ms later. Here the
threads of a process take turns, so that only processes meet at the lock, and those look again after a millisecond.

A transaction commits with `synchronous=NORMAL`: it is in the write-ahead log, but the log may not be on the disk. The
wait for the disk comes afterwards, while the next one writes already. That is as safe as `synchronous=FULL`, which
waits inside the lock: the log is only appended to, so one `fdatasync` covers every commit before it, and SQLite starts
the log anew only when all of it has been synced, copied into the database and synced there.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import OperationalError

LOOK_AGAIN_SECONDS = 0.0005


class SQLiteWrites:
    """The turns of this process at one database file, and the state of its write-ahead log.

    `patience` is how long a writer waits, in seconds, for the threads before it and for other processes together.
    """

    def __init__(self, database: Path, patience: float) -> None:
        self.patience = patience
        self._turn = threading.Lock()
        self._ends = 0.0  # when the patience of whoever has the turn does
        self._log = WriteAheadLog(database)

    @contextmanager
    def turn(self, *, durable: bool) -> Iterator[None]:
        """The block may begin a transaction and must end it; when `durable`, it is on the disk afterwards.

        Raises `OperationalError` when the turn does not come, or the disk fails.
        """
        ends = time.monotonic() + self.patience
        if not self._turn.acquire(timeout=self.patience):
            raise OperationalError("BEGIN IMMEDIATE", None, sqlite3.OperationalError("database is locked"))
        try:
            self._ends = ends
            yield
        finally:
            self._turn.release()
        if durable:
            try:
                self._log.sync()
            except OSError as error:
                raise OperationalError("fdatasync", None, error) from error

    def begin(self, connection: sqlite3.Connection) -> None:
        """Take the write lock, looking often while another process has it. Raises `OperationalError`."""
        connection.execute("PRAGMA busy_timeout=0").close()
        try:
            while not self._begun(connection):
                time.sleep(LOOK_AGAIN_SECONDS * (1 + random.random()))  # noqa: S311 - so that two do not stay in step
        finally:
            connection.execute(f"PRAGMA busy_timeout={self.patience * 1000:.0f}").close()

    def _begun(self, connection: sqlite3.Connection) -> bool:
        try:
            connection.execute("BEGIN IMMEDIATE").close()
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() >= self._ends:
                raise OperationalError("BEGIN IMMEDIATE", None, error) from error
            return False
        return True


class WriteAheadLog:
    """Brings the log onto the disk in rounds: a round that begins after a commit covers it, whoever began it."""

    def __init__(self, database: Path) -> None:
        self._path = Path(f"{database.resolve()}-wal")  # where SQLite puts it, also for a symbolic link
        self._changed = threading.Condition()
        self._begun = 0  # rounds
        self._ended = 0
        self._busy = False
        self._failure: OSError | None = None
        self._known = 0  # the inode of the log whose name is on the disk, too

    def sync(self) -> None:
        """Return when everything that was committed before is on the disk. Raises OSError.

        After a failure nothing more is believed, until the process is started anew: the system forgets what it could
        not write, and would report the next try as a success.
        """
        with self._changed:
            needed = self._begun + 1
            while self._ended < needed and self._failure is None and self._busy:
                self._changed.wait()
            if self._failure is not None:
                raise self._failure
            if self._ended >= needed:
                return
            self._busy = True
            self._begun += 1
        self._lead()

    def _lead(self) -> None:
        try:
            self._reach_disk()
            self._ended = self._begun
        except OSError as error:
            self._failure = error
            raise
        finally:
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _reach_disk(self) -> None:
        try:
            log = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:  # the last to close the database has synced it and removed the log
            return
        try:
            os.fdatasync(log)
            inode = os.fstat(log).st_ino
        finally:
            os.close(log)
        if inode != self._known:
            _sync_folder(self._path.parent)
            self._known = inode


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
