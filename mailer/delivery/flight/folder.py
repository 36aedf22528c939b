"""The folder of a database's flight records on this machine: a file for each thread that delivers.

Whoever writes a record holds a lock on its file for as long as the process lives. So a file without a lock was left
behind, by a process that has ended. A new file is locked before it gets its name.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mailer.delivery.flight.half import Half, boot_id, halves_of, is_blank
from mailer.storage.database import Database

SUFFIX, UNNAMED = ".flight", ".new-"
STALE = 86_400.0  # seconds after which a file is removed that cannot be read; it may be another machine's
LARGEST = 1024 * 1024  # bytes that are read of a file


class RecordFolder:
    """The folder at `path`, which is made when it is needed. `boot` names the run of this machine."""

    def __init__(self, path: Path, boot: bytes | None = None) -> None:
        self.path = path
        self.boot = boot or boot_id()

    def create(self, size: int) -> tuple[int, Path]:
        """A new locked file of `size` bytes, all zero: its descriptor and where it is. Raises `OSError`."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{os.getpid()}-{secrets.token_hex(8)}{SUFFIX}"
        unnamed, path = self.path / f"{UNNAMED}{name}", self.path / name
        fd = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.write(fd, bytes(size)) != size:  # a full disk would show only when the memory is written to
                raise OSError("no room for a flight record")
            unnamed.rename(path)
        except BaseException:
            os.close(fd)
            unnamed.unlink(missing_ok=True)
            raise
        return fd, path

    def left_behind(self) -> Iterator[tuple[Path, bytes]]:
        """Each record whose process has ended, with its content."""
        for path in self._files():
            content = _if_unlocked(path)
            if content is not None:
                yield path, content

    def carry(self, to: RecordFolder) -> int:
        """Copy what was left behind with batches in it into another folder; return how many records. Raises `OSError`.

        For a database that was moved: whoever goes on there then knows what this machine's processes had in hand.
        """
        found = [(path.name, content) for path, content in self.left_behind() if halves_of(content, self.boot)]
        if found:
            to.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in found:
            unnamed = to.path / f"{UNNAMED}{name}"
            unnamed.touch(mode=0o600)
            unnamed.write_bytes(content)
            unnamed.rename(to.path / name)
        return len(found)

    def places(self, campaign_id: str, batch: int, fence: int, number: int) -> bytes | None:
        """What a process that has ended left on record of this checkpoint; None: nothing that can be relied on."""
        for _, content in self.left_behind():
            for half in halves_of(content, self.boot):
                if (half.campaign_id, half.batch, half.fence, half.number) == (campaign_id, batch, fence, number):
                    return half.places
        return None

    def in_hand(self) -> Iterator[tuple[Path, list[Half]]]:
        """Each record of this boot that was left behind with batches in it. Files that have none are removed."""
        for path, content in self.left_behind():
            halves = halves_of(content, self.boot)
            if halves:
                yield path, halves
            elif is_blank(content) or _is_stale(path):
                path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        """All records. A file without its name is removed in the end: its process was killed at that moment."""
        try:
            names = os.listdir(self.path)  # noqa: PTH208 - names are all that is wanted
        except FileNotFoundError:
            return []
        for name in names:
            if name.startswith(UNNAMED) and _is_stale(self.path / name):
                (self.path / name).unlink(missing_ok=True)
        return [self.path / name for name in names if name.endswith(SUFFIX) and not name.startswith(UNNAMED)]


def folder_for(db: Database, state_dir: str) -> RecordFolder:
    """The folder of the records for `db`, below `state_dir` or its default.

    Services with other databases have folders of their own. Without `state_dir` it is beside a SQLite file.
    """
    base = Path(state_dir or (Path(db.place).parent if db.writes is not None else "instance"))
    url = db.engine.url
    where = db.place if db.writes is not None else (url.host, url.port, url.database, url.query.get("host"))
    name = hashlib.sha256(repr(where).encode()).hexdigest()[:16]
    return RecordFolder(base / "flight" / name)


def _if_unlocked(path: Path) -> bytes | None:
    """The content of a file that nobody has locked; None for others. Readers do not hinder each other."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return os.read(fd, LARGEST)
    except OSError:
        return None
    finally:
        os.close(fd)


def _is_stale(path: Path) -> bool:
    with suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime > STALE
    return False
