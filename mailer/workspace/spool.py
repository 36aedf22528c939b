"""The spool: a file of our own into which a workspace's list of users is read, page by page, before it is merged.

A run that was cut off goes on from its spool. The first line says which workspace it is of, when it was begun (ms) and
in which format; each further line is a user: the key in the list, the document or null, and what was wrong with it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mailer.errors import InvalidState, WorkspaceUnavailable
from mailer.workspace.client import Workspace
from mailer.workspace.repair import Repaired, repair
from mailer.workspace.user_list import PlaceLost, UserListReader, key

FORMAT = 2
READINGS = 3  # of a list that changes too much to be read to its end

Progress = Callable[[int, int], None]  # how many users are read, and how many there are


@contextmanager
def locked(path: Path) -> Iterator[IO[bytes]]:
    """The spool, opened and held by this process alone. Raises `InvalidState` while another one holds it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InvalidState("Another sync is running on this machine.") from error
        yield file


def empty(path: Path) -> None:
    """Delete what a run that was cut off has left in the spool at `path`. A run at work empties it at its own end."""
    try:
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.truncate(0)
    except (FileNotFoundError, BlockingIOError):
        return


def download(workspace: Workspace, file: IO[bytes], progress: Progress, *, after: int, now: int) -> None:
    """Fill the spool with the whole list, going on from what it holds if it was begun after `after` (ms).

    Raises `WorkspaceUnavailable`.
    """
    for _ in range(READINGS):
        try:
            _read_on(workspace, file, progress, after, now)
        except PlaceLost:
            file.truncate(0)
        else:
            return
    raise WorkspaceUnavailable(f"{workspace.url}: the list of users changed each time it was read; try again later")


def users(file: IO[bytes]) -> Iterator[Repaired]:
    """The users of a complete spool, in the order of the list."""
    file.seek(0)
    file.readline()
    for line in file:
        entry = json.loads(line)
        yield Repaired(entry["user"], [(field, reason) for field, reason in entry["problems"]])


def _read_on(workspace: Workspace, file: IO[bytes], progress: Progress, after: int, now: int) -> None:
    reader = UserListReader(workspace, _resume(file, workspace.url, after, now))
    for page in reader.pages():
        for row, user in enumerate(page.users, reader.place - len(page.users) + 1):
            document, problems = repair(user, row)
            entry = {"key": key(user), "user": document, "problems": problems}
            file.write(json.dumps(entry).encode() + b"\n")
        file.flush()
        progress(reader.place, page.total)


def _resume(file: IO[bytes], url: str, after: int, now: int) -> Iterator[str]:
    """The keys of the users that the spool holds.

    A line that a crash left unfinished is cut off, and a spool that is too old or another workspace's is begun anew.
    """
    file.seek(0)
    head = _parsed(file.readline())
    if (head.get("workspace"), head.get("format")) != (url, FORMAT) or not after < head.get("begun", 0) <= now:
        _begin(file, {"workspace": url, "begun": now, "format": FORMAT})
        return
    end = file.tell()
    for line in file:
        known = _parsed(line).get("key")
        if known is None:
            break
        yield known
        end += len(line)
    file.seek(end)
    file.truncate(end)


def _begin(file: IO[bytes], head: dict[str, Any]) -> None:
    file.seek(0)
    file.truncate(0)
    file.write(json.dumps(head).encode() + b"\n")
    file.flush()


def _parsed(line: bytes) -> dict[str, Any]:
    """A whole line of the spool; one that was cut short or is no JSON, as after a power cut, has nothing in it."""
    try:
        found = json.loads(line) if line.endswith(b"\n") else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
