"""SQLite's write-ahead log, brought to the disk by one `fdatasync` for all who wait for it.

That is as safe as `synchronous=FULL`, which waits inside the lock: the log is only appended to, so one `fdatasync`
covers every commit before it, and SQLite starts the log anew only when all of it has been synced, copied into the
database and synced there.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path


class WriteAheadLog:
    """Syncs the log to the disk in rounds. A round that begins after a commit covers that commit, whoever began it."""

    def __init__(self, database: Path) -> None:
        self._path = Path(f"{database.resolve()}-wal")  # where SQLite puts it, also for a symbolic link
        self._changed = threading.Condition()
        self._begun = 0  # rounds
        self._ended = 0
        self._busy = False
        self._failure: OSError | None = None
        self._known = 0  # the inode of the log whose name in its folder is on the disk already

    def sync(self) -> None:
        """Return when everything that was committed before the call is on the disk. Raises OSError.

        After one failure every call fails until the process starts anew. The operating system forgets what it could
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
