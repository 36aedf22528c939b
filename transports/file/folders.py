"""Durable writing into a folder: a file appears under its name complete, flushed and private, or not at all."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

STALE = 3600.0  # seconds after which a temporary file must be from a process that was killed
PREFIX, SUFFIX = ".tmp-", ".part"


class Folder:
    """An open folder. Names are looked up in this folder, even if its path leads somewhere else by then."""

    def __init__(self, path: Path) -> None:
        """Raise `OSError` if `path` is missing, a symbolic link or no folder."""
        self.path = path
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self.fd)

    def open(self, name: str, flags: int) -> int:
        """A new descriptor for the file `name`, created with mode 0600; a symbolic link is never followed."""
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self.fd)

    def open_new(self) -> tuple[str, int]:
        """A new temporary file and its name."""
        name = f"{PREFIX}{secrets.token_hex(8)}{SUFFIX}"
        return name, self.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)

    def exists(self, name: str) -> bool:
        """Whether there is a file or anything else of that name."""
        return name in self.existing((name,))

    def existing(self, names: Iterable[str]) -> set[str]:
        """Those of `names` that exist."""
        found = set()
        for name in names:
            with suppress(FileNotFoundError):
                os.stat(name, dir_fd=self.fd, follow_symlinks=False)
                found.add(name)
        return found

    def unlink(self, name: str) -> None:
        """Remove `name`, if it is there."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)

    def subfolder(self, name: str) -> Folder:
        """The folder `name` in this one, created with mode 0700 when it is missing."""
        path = self.path / name
        with suppress(FileExistsError):
            make_folder(path)
        return Folder(path)


class Staging:
    """Temporary files in `folder`, which get their names by `publish`. Those without one are removed at exit."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._files: list[tuple[str, int]] = []
        self._names: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for _name, fd in self._files:
            os.close(fd)
        for name in self._names:
            self._folder.unlink(name)

    @property
    def descriptors(self) -> list[int]:
        """The descriptors of the files, to be flushed before `publish`."""
        return [fd for _name, fd in self._files]

    def add(self, content: bytes) -> None:
        """Write one more file."""
        name, fd = self._folder.open_new()
        self._files.append((name, fd))
        self._names.append(name)
        write_all(fd, content)

    def publish(self, target: Folder, finals: Sequence[str]) -> None:
        """Rename the files, in the order they were added, to `finals` in `target`; existing files are replaced.

        Raises `OSError`; the files that were new are then removed again.
        """
        with ExitStack() as undo:
            present = target.existing(finals)
            for (name, _fd), final in zip(self._files, finals, strict=True):
                os.rename(name, final, src_dir_fd=self._folder.fd, dst_dir_fd=target.fd)
                self._names.remove(name)
                if final not in present:
                    undo.callback(target.unlink, final)
            os.fsync(target.fd)
            undo.pop_all()


def write_all(fd: int, content: bytes) -> None:
    """Write all of `content`. Raises `OSError`."""
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]


def flush_all(descriptors: Iterable[int]) -> None:
    """Bring the files to the disk. Raises `OSError`."""
    for fd in descriptors:  # one after the other: several threads were measured and were no faster
        os.fsync(fd)


def make_folder(path: Path) -> None:
    """Create the folder `path` with mode 0700, durably. Raises `OSError`."""
    path.mkdir(mode=0o700)
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def probe_writable(folder: Folder) -> None:
    """Raise `OSError` unless a file can be created and filled in `folder`."""
    name, fd = folder.open_new()
    try:
        write_all(fd, b"\0" * 4096)
    finally:
        os.close(fd)
        folder.unlink(name)


def sweep(folder: Folder, now: float | None = None) -> None:
    """Remove temporary files that a killed process left more than `STALE` seconds before `now` (seconds since 1970)."""
    limit = (time.time() if now is None else now) - STALE
    for name in os.listdir(folder.fd):  # noqa: PTH208 - by descriptor, not by a path that may have changed
        if name.startswith(PREFIX) and name.endswith(SUFFIX):
            with suppress(FileNotFoundError):
                if os.stat(name, dir_fd=folder.fd, follow_symlinks=False).st_mtime < limit:
                    folder.unlink(name)
