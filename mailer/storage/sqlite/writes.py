"""How this process writes to one SQLite file: in turn, and with one `fdatasync` for all who wait for the disk.

SQLite lets one transaction write at a time. A writer that finds the file locked sleeps, for up to 100 ms, and tries
again. Here the threads of a process take turns, so that only processes compete for the lock. These try again after
about a millisecond.

A transaction commits with `synchronous=NORMAL`: it is in the write-ahead log, but the log may not be on the disk. The
wait for the disk comes afterwards, while the next one writes already. That is as safe as `synchronous=FULL`, which
waits inside the lock: the log is only appended to, so one `fdatasync` covers every commit before it, and SQLite starts
the log anew only when all of it has been synced, copied into the database and synced there.
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from mailer.storage.sqlite.write_ahead_log import WriteAheadLog

LOOK_AGAIN_SECONDS = 0.0005


class SQLiteWrites:
    """Lets the threads of this process write to one database file in turn, and syncs its write-ahead log.

    A writer waits up to `lock_timeout` seconds, for the threads before it and for other processes together.
    """

    def __init__(self, database: Path, lock_timeout: float) -> None:
        self.lock_timeout = lock_timeout
        self._turn = threading.Lock()
        self._ends = 0.0  # when the writer whose turn it is gives up, by `time.monotonic`
        self._log = WriteAheadLog(database)

    @contextmanager
    def turn(self, *, durable: bool) -> Iterator[None]:
        """Wait for this thread's turn. The block may begin a transaction and must end it; `durable`: then sync the log.

        Raises `OperationalError` when the turn does not come, or the disk fails.
        """
        ends = time.monotonic() + self.lock_timeout
        if not self._turn.acquire(timeout=self.lock_timeout):
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

    def begin(self, connection: Connection) -> None:
        """Take the write lock, looking often while another process has it. Raises `OperationalError`."""
        driver: Any = connection.connection.driver_connection
        driver.execute("PRAGMA busy_timeout=0").close()
        try:
            while not self._begun(driver):
                time.sleep(LOOK_AGAIN_SECONDS * (1 + random.random()))  # noqa: S311 - so that two do not stay in step
        finally:
            driver.execute(f"PRAGMA busy_timeout={self.lock_timeout * 1000:.0f}").close()

    def _begun(self, connection: sqlite3.Connection) -> bool:
        try:
            connection.execute("BEGIN IMMEDIATE").close()
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() >= self._ends:
                raise OperationalError("BEGIN IMMEDIATE", None, error) from error
            return False
        return True
