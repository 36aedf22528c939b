"""The mbox format of the file transport: one file in mboxrd form, and an index that knows which messages it has.

Both change together. Before an append the index records how long the mailbox was, and after it the new ids. A length
without ids means that the append did not end, as the process was killed; the mailbox is then cut back to that length.
"""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from transports.base import Message
from transports.file.folders import Folder, write_all
from transports.file.formats import FileFormat, latest_by_id

MAILBOX = "mbox"
INDEX = "mbox.index"
READER_LOCK_TIMEOUT = 10.0  # seconds to wait for a mail reader that holds the mailbox
FROM_LINE = re.compile(rb"^(>*From )", re.MULTILINE)


class MboxFormat(FileFormat):
    """Appends to `mbox`; LF line ends, `From ` quoted so that it can be undone."""

    def __init__(self, folder: Folder) -> None:
        self._lock = threading.Lock()
        self._index: MboxIndex | None = None
        with locked_mailbox(folder), _as_os_errors():
            self._index = MboxIndex(folder.path)

    def store(self, folder: Folder, messages: Sequence[Message]) -> None:
        """Append those that the index does not have."""
        with self._lock, locked_mailbox(folder) as fd, _as_os_errors():
            if self._index is None or not self._index.is_current():
                self._close_index()
                self._index = MboxIndex(folder.path)
            try:
                append_missing(self._index, fd, messages)
            except BaseException:
                self._close_index()
                raise

    def close(self) -> None:
        """Close the index; the next `store` opens it again."""
        with self._lock:
            self._close_index()

    def _close_index(self) -> None:
        if self._index:
            self._index.close()
        self._index = None


class MboxIndex:
    """Which ids the mailbox has, and how long it was when the append in hand began. Raises `sqlite3.Error`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / INDEX
        with suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        self._identity = (os.getpid(), self._path.stat().st_ino)
        self._connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        for statement in (
            "PRAGMA journal_mode=WAL",
            "CREATE TABLE IF NOT EXISTS messages (id TEXT PRIMARY KEY) WITHOUT ROWID",
            "CREATE TABLE IF NOT EXISTS unfinished (one INTEGER PRIMARY KEY, length INTEGER NOT NULL)",
        ):
            self._connection.execute(statement).close()

    def is_current(self) -> bool:
        """Whether it was opened by this process on the file that is there now."""
        with suppress(FileNotFoundError):
            return self._identity == (os.getpid(), self._path.stat().st_ino)
        return False

    def has(self, message_id: str) -> bool:
        """Whether the mailbox has that message."""
        found = self._connection.execute("SELECT 1 FROM messages WHERE id = ?", (message_id,))
        return found.fetchone() is not None

    def unfinished(self) -> int | None:
        """The mailbox's length in bytes before an append that did not end."""
        row = self._connection.execute("SELECT length FROM unfinished").fetchone()
        return int(row[0]) if row else None

    def begin(self, length: int) -> None:
        """Record that an append begins. A power cut may lose this record, and the append may then stay."""
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute("INSERT OR REPLACE INTO unfinished VALUES (1, ?)", (length,))

    def finish(self, ids: Sequence[str]) -> None:
        """Record durably that the append ended, and the ids it brought."""
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("BEGIN")
        self._connection.executemany("INSERT INTO messages VALUES (?)", [(each,) for each in ids])
        self._connection.execute("DELETE FROM unfinished")
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file; what was not committed is undone."""
        self._connection.close()


def append_missing(index: MboxIndex, fd: int, messages: Sequence[Message]) -> None:
    """Append to the mailbox `fd` what `index` does not have of `messages`, all or nothing."""
    length = recover(index, fd)
    wanted = [message for message in latest_by_id(messages).values() if not index.has(message.id)]
    if not wanted:
        return
    index.begin(length)
    try:
        write_all(fd, b"".join(mbox_entry(message, time.time()) for message in wanted))
        os.fsync(fd)
        index.finish([message.id for message in wanted])
    except BaseException:
        os.ftruncate(fd, length)
        raise


def recover(index: MboxIndex, fd: int) -> int:
    """Cut off an append that did not end. Returns the length of the mailbox in bytes."""
    length = os.fstat(fd).st_size
    before = index.unfinished()
    if before is not None and before < length:
        os.ftruncate(fd, before)
        return before
    return length


def mbox_entry(message: Message, now: float) -> bytes:
    """`message` as an mboxrd entry received at `now` (seconds since 1970)."""
    sender = re.sub(r"\s", "_", message.sender) or "MAILER-DAEMON"
    content = FROM_LINE.sub(rb">\1", message.content.replace(b"\r\n", b"\n"))
    end = b"\n" if content.endswith(b"\n") else b"\n\n"
    return f"From {sender} {time.asctime(time.gmtime(now))}\n".encode() + content + end


@contextmanager
def locked_mailbox(folder: Folder) -> Iterator[int]:
    """The mailbox, open for appending, and locked against our own processes (flock) and mail readers (fcntl)."""
    fd = folder.open(MAILBOX, os.O_RDWR | os.O_APPEND | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        _lock_against_readers(fd)
        yield fd
    finally:
        os.close(fd)


def _lock_against_readers(fd: int) -> None:
    deadline = time.monotonic() + READER_LOCK_TIMEOUT
    while True:
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


@contextmanager
def _as_os_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise OSError(f"{INDEX}: {error}") from error
