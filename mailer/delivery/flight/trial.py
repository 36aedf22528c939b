"""Try out the folder of the flight records before anything is sent: can files be made there, locked and mapped?"""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from pathlib import Path

from mailer.delivery.flight.folder import RecordFolder

PASSING = {"tmpfs": "memory", "ramfs": "memory", "overlay": "the container's own layer"}
_MOUNTS = Path("/proc/self/mountinfo")


def trouble_with(records: RecordFolder) -> str | None:
    """Write a record as delivery does, and remove it. Returns what fails, or None. Folders that it makes stay."""
    try:
        fd, path = records.create(mmap.PAGESIZE)
    except OSError as error:
        return f"{records.path}: {error.strerror or error}"
    try:
        with mmap.mmap(fd, mmap.PAGESIZE) as memory:
            memory[:1] = b"\1"
        if any(found == path for found, _ in records.left_behind()):
            return f"{records.path}: its files cannot be locked"
        return (
            None if path.read_bytes()[:1] == b"\1" else f"{records.path}: what is written to memory is not in the file"
        )
    except (OSError, ValueError) as error:
        return f"{records.path}: {error}"
    finally:
        path.unlink(missing_ok=True)
        os.close(fd)


def passing_place(records: RecordFolder) -> str | None:
    """Where the folder is, if that goes away with a container: "memory", or the container's own layer."""
    return PASSING.get(_kind_of_filesystem(records.path.absolute()))


def _kind_of_filesystem(path: Path) -> str:
    """The kind of the filesystem that holds `path`, or will hold it; nothing where the kernel does not tell."""
    kinds: dict[str, str] = {}
    with suppress(OSError):
        for line in _MOUNTS.read_text("utf-8", "replace").splitlines():
            before, _, after = line.partition(" - ")
            kinds[before.split(" ")[4]] = after.split(" ")[0]  # of two mounts at one place the later one counts
    while not path.exists():
        path = path.parent
    real = path.resolve()
    return next((kinds[str(one)] for one in (real, *real.parents) if str(one) in kinds), "")
