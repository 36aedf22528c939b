"""Writes the flight record of one thread: a byte in shared memory when a message is drawn, and one when it has ended.

The memory is mapped from a file, so it outlives the process, however that ends; it does not outlive the machine. A byte
costs a fraction of a microsecond, where a system call or a commit for each message would cost far more.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mailer.delivery.flight.folder import RecordFolder
from mailer.delivery.flight.half import HEAD, Half, half_size, is_blank, new_number, to_bytes
from mailer.delivery.worklist import Claim
from mailer.storage.database import AnyRow

log = logging.getLogger(__name__)

RETRY_SECONDS = 60.0  # after which a thread whose file could not be made tries again


class Intent(NamedTuple):
    """Who is attempted next, and the flight record of it: the checkpoint's number, and a byte for each of them."""

    user_ids: Sequence[str]
    number: int
    places: memoryview


NOBODY = Intent((), 0, memoryview(bytearray()))


class Recorder:
    """The record of one thread, in `memory` that has two halves. `boot` names the run of the machine."""

    def __init__(self, memory: mmap.mmap, boot: bytes) -> None:
        self._memory = memory
        self._boot = boot
        self._starts = (0, len(memory) // 2)  # of the half that is written next, and of the one in hand

    def write(self, claim: Claim, user_ids: Sequence[str] = ()) -> Intent:
        """Write that these are attempted next, none of whom was drawn yet.

        To be called in the transaction that records the intent. What was written before stands until `keep`.
        """
        number, count = new_number(), len(user_ids)
        half = Half(claim.campaign_id, claim.number, claim.fence, number, bytes(count))
        content = to_bytes(half, self._boot)
        start = self._starts[0]
        self._memory[start : start + len(content)] = content
        places = start + HEAD
        return Intent(user_ids, number, memoryview(self._memory)[places : places + count])

    def keep(self) -> None:
        """Note that the transaction has committed: what was written last is in hand now."""
        self._starts = self._starts[::-1]

    def wipe(self) -> None:
        """Note that the thread has no batch any more."""
        for start in self._starts:
            self._memory[start : start + HEAD] = bytes(HEAD)


class _File:
    """A recorder's file, locked for as long as its thread lives. `path` is None where there is none."""

    def __init__(self, folder: RecordFolder | None, size: int) -> None:
        self.pid, self._opened = os.getpid(), time.monotonic()
        self._fd: int | None = None
        try:
            self._fd, path = folder.create(size) if folder else (None, None)
        except OSError as error:
            log.warning("no flight record, so a kill puts a whole checkpoint in doubt: %s", error)
        memory = mmap.mmap(-1 if self._fd is None else self._fd, size)
        self.recorder = Recorder(memory, folder.boot if folder else b"")
        if self._fd is not None and path is not None:
            end = weakref.finalize(self, _end, self._fd, path, self.pid)
            end.atexit = False  # threads may go on until the process ends, and its end takes the lock away

    def is_good(self) -> bool:
        """Whether it is this process's and still has its name, or it is too early to try again."""
        if self.pid != os.getpid():
            return False
        if self._fd is None:
            return time.monotonic() < self._opened + RETRY_SECONDS
        return os.fstat(self._fd).st_nlink > 0


class Recorders:
    """The recorders of a process, one for each thread that asks. Without a `folder` they are lost with the process.

    `most` is how many recipients a checkpoint has at most. Files are made by the threads, after any fork.
    """

    def __init__(self, folder: RecordFolder | None = None, most: int = 1000) -> None:
        self._folder = folder
        self._size = 2 * half_size(most)
        self._local = threading.local()

    def mine(self) -> Recorder:
        """The recorder of this thread."""
        file: _File | None = getattr(self._local, "file", None)
        return file.recorder if file is not None else self.fresh()

    def fresh(self) -> Recorder:
        """The recorder of this thread, with a new file if the old one is of no use. For a thread without a batch."""
        file: _File | None = getattr(self._local, "file", None)
        if file is None or not file.is_good():
            file = self._local.file = _File(self._folder, self._size)
        return file.recorder

    def places_left(self, row: AnyRow) -> bytes | None:
        """What whoever held the batch before left on record of the checkpoint in its row; None: nothing of use."""
        if self._folder is None or not row.attempting:
            return None
        return self._folder.places(row.campaign_id, row.number, row.fence, row.checkpoint)


def _end(fd: int, path: Path, pid: int) -> None:
    """Close a file, and remove it unless there is a batch in it. A process that was forked only closes it."""
    if pid == os.getpid():
        if is_blank(os.pread(fd, os.fstat(fd).st_size, 0)):
            path.unlink(missing_ok=True)
        fcntl.flock(fd, fcntl.LOCK_UN)  # the mapped memory has a descriptor of its own, which may live longer
    os.close(fd)
