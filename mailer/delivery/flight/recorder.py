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
from pathlib import Path
from typing import NamedTuple

from mailer.delivery.flight.folder import RecordFolder
from mailer.delivery.flight.half import HEAD, Half, half_size, is_blank, new_number, to_bytes
from mailer.delivery.worklist import Claim

log = logging.getLogger(__name__)

RETRY_SECONDS = 60.0  # after which a thread whose file could not be made tries again


class Intent(NamedTuple):
    """Who is attempted next, as a JSON array, and the flight record of it.

    That is the checkpoint's number, and a byte for each of them.
    """

    user_ids: str
    number: int
    places: memoryview


NO_IDS = "[]"
NOBODY = Intent(NO_IDS, 0, memoryview(bytearray()))


class Recorder:
    """The record of one thread, in a file of two halves that is locked for as long as the thread lives.

    Without a `folder`, and where no file can be made, it is lost with the process.
    """

    def __init__(self, folder: RecordFolder | None, size: int) -> None:
        self._made, self._pid = time.monotonic(), os.getpid()
        self._boot = folder.boot if folder else b""
        file = _file(folder, size)
        self._fd = file[0] if file else None
        self._memory = mmap.mmap(-1 if self._fd is None else self._fd, size)
        self._starts = (0, size // 2)  # of the half that is written next, and of the one in hand
        if file is not None:
            end = weakref.finalize(self, _end, *file, self._pid)
            end.atexit = False  # threads may go on until the process ends, and its end takes the lock away

    def is_usable(self) -> bool:
        """Whether it is this process's and its file can be found, or it is too early to try again to make one."""
        if self._pid != os.getpid():
            return False
        if self._fd is None:
            return time.monotonic() < self._made + RETRY_SECONDS
        return os.fstat(self._fd).st_nlink > 0

    def write(self, claim: Claim, user_ids: str = NO_IDS, count: int = 0, number: int | None = None) -> Intent:
        """Write that these are attempted next, none of whom was drawn yet: `count` ids, as a JSON array.

        The checkpoint gets `number`, or one of its own. To be called in the transaction that records the intent. What
        was written before stands until `keep`.
        """
        number = number or new_number()
        half = Half(claim.campaign_id, claim.number, claim.fence, number, bytes(count))
        content = to_bytes(half, self._boot)
        start = self._starts[0]
        if len(content) > len(self._memory) // 2:
            raise ValueError("the checkpoint is larger than there is room for in its flight record")
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
        recorder: Recorder | None = getattr(self._local, "recorder", None)
        return recorder or self.fresh()

    def fresh(self) -> Recorder:
        """The recorder of this thread, with a new file if the old one is of no use. For a thread without a batch."""
        recorder: Recorder | None = getattr(self._local, "recorder", None)
        if recorder is None or not recorder.is_usable():
            recorder = self._local.recorder = Recorder(self._folder, self._size)
        return recorder

    def places_left(self, campaign_id: str, batch: int, fence: int, checkpoint: int) -> bytes | None:
        """What whoever held the batch with `fence` left on record of its `checkpoint`; None: nothing of use."""
        return self._folder.places(campaign_id, batch, fence, checkpoint) if self._folder else None


def _file(folder: RecordFolder | None, size: int) -> tuple[int, Path] | None:
    if folder is None:
        return None
    try:
        return folder.create(size)
    except OSError as error:
        log.warning("no flight record, so a kill puts a whole checkpoint in doubt: %s", error)
        return None


def _end(fd: int, path: Path, pid: int) -> None:
    """Close a file, and remove it unless there is a batch in it. A process that was forked only closes it."""
    if pid == os.getpid():
        if is_blank(os.pread(fd, os.fstat(fd).st_size, 0)):
            path.unlink(missing_ok=True)
        fcntl.flock(fd, fcntl.LOCK_UN)  # the mapped memory has a descriptor of its own, which may live longer
    os.close(fd)
