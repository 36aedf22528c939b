"""The directory brought in step with a workspace: all of its users, or no change.

The list is read page by page into a file of our own, the spool; only when it is complete one transaction merges it. A
run that was cut off goes on from its spool.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from sqlalchemy import Connection, text

from mailer.directory.changes import Mode
from mailer.directory.imports import ImportResult, Wanted, upsert_documents
from mailer.directory.staged_users import Problem
from mailer.errors import InvalidRow, InvalidState, WorkspaceUnavailable
from mailer.storage.database import Database
from mailer.workspace.client import Workspace
from mailer.workspace.repair import repair
from mailer.workspace.user_list import PlaceLost, UserListReader, key

FORMAT = 2  # of the spool
FEW, FEW_OF = 10, 100  # malformed users: ten, or one in a hundred
TOLD = 20  # of what is wrong
RESUMABLE = 6 * 60 * 60 * 1000  # ms
ROUNDS = 3

_ADOPT = """
UPDATE users SET workspace = :workspace
WHERE id IN (SELECT id FROM staged_users) AND coalesce(workspace, '') <> :workspace
"""
_DEACTIVATE = """
UPDATE users SET active = false, document = {document}
WHERE workspace = :workspace AND active AND NOT EXISTS (SELECT 1 FROM staged_users WHERE staged_users.id = users.id)
"""
_INACTIVE = {
    "sqlite": "json_set(document, '$.active', json('false'))",
    "postgresql": "jsonb_set(document, '{active}', 'false')",
}


@dataclass(frozen=True, slots=True)
class SyncResult:
    """How many users the workspace has, by what became of them here, and how many it has no more.

    `malformed` of them had something wrong in their list entry (see `workspace.repair`); `problems` has the first ones.
    """

    created: int
    updated: int
    unchanged: int
    deactivated: int
    malformed: int = 0
    problems: tuple[Problem, ...] = ()


Progress = Callable[[int, int], None]
Seal = Callable[[Connection, SyncResult], None]


def sync_users(
    db: Database,
    workspace: Workspace,
    spool: Path,
    *,
    since: int = 0,
    progress: Progress = lambda _read, _total: None,
    seal: Seal = lambda _connection, _result: None,
) -> SyncResult:
    """Upsert the workspace's users and deactivate those it no longer has, all at once or not at all.

    Users who did not come from this workspace, and every unsubscription, stay. A spool begun before `since` (ms) is not
    gone on with: what it holds may be older than the directory. `progress` is told after each page how many of how many
    users are read; `seal` is called at the end of the transaction. What either raises ends the run without a change.
    Raises `WorkspaceUnavailable`, `InvalidRow`, and `InvalidState` while another run uses the spool.
    """
    with db.read() as connection:
        now = db.clock(connection)
    with _locked(spool) as file:
        _download(workspace, file, _Span(max(since, now - RESUMABLE), now), progress)
        file.seek(0)
        merge = _Merge(workspace.url, seal)
        try:
            upsert_documents(db, merge.documents(file), Wanted(Mode.REPLACE), then=merge)
        except (WorkspaceUnavailable, InvalidRow):
            file.truncate(0)  # it is the list that will not do: the next run shall read another
            raise
        file.truncate(0)
    return merge.result


class _Merge:
    """What a sync does beyond an import, in the same transaction, and what it was."""

    result: SyncResult

    def __init__(self, workspace: str, seal: Seal) -> None:
        self._workspace = workspace
        self._seal = seal
        self._malformed = 0
        self._problems: list[Problem] = []

    def documents(self, file: IO[bytes]) -> Iterator[tuple[int, object]]:
        """The spooled documents. Nobody at all, or nobody with an address, is what too weak a token sees."""
        file.readline()
        row, users, addresses = 0, 0, False
        for row, line in enumerate(file, 1):
            entry = json.loads(line)
            self._note(row, entry)
            if entry["user"] is not None:
                users += 1
                addresses = addresses or bool(entry["user"].get("emails"))
                yield row, entry["user"]
        if self._malformed > max(FEW, row // FEW_OF):
            raise WorkspaceUnavailable(_too_many(self._workspace, self._malformed, row, self._problems[0]))
        if not addresses:
            problem = "shows no user" if not users else "shows nobody's address"
            raise WorkspaceUnavailable(f"{self._workspace} {problem}: does the token have view-full-other-user-info?")

    def __call__(self, connection: Connection, done: ImportResult) -> None:
        mine = {"workspace": self._workspace}
        connection.execute(text(_ADOPT), mine)
        statement = _DEACTIVATE.format(document=_INACTIVE[connection.dialect.name])
        deactivated = connection.execute(text(statement), mine).rowcount
        counts = (done.created, done.updated, done.unchanged, deactivated)
        self.result = SyncResult(*counts, self._malformed, tuple(self._problems))
        self._seal(connection, self.result)

    def _note(self, row: int, entry: dict[str, Any]) -> None:
        self._malformed += bool(entry["problems"])
        name = entry["user"]["_id"] if entry["user"] else f"user {row} of the list"
        room = TOLD - len(self._problems)
        self._problems += [Problem(name, field, reason) for field, reason in entry["problems"][:room]]


def _too_many(workspace: str, malformed: int, users: int, first: Problem) -> str:
    told = f"the first is {first.user_id}, field {first.field}: {first.reason}"
    return f"{workspace}: {malformed} of {users} users in its list are malformed, which is too many; {told}"


@contextmanager
def _locked(spool: Path) -> Iterator[IO[bytes]]:
    spool.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(spool, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InvalidState("Another sync is running on this machine.") from error
        yield file


class _Span(NamedTuple):
    """When a spool must have been begun to be gone on with: after `after`, and not later than `now`; ms."""

    after: int
    now: int


def _download(workspace: Workspace, file: IO[bytes], span: _Span, progress: Progress) -> None:
    """Fill the spool with the whole list, going on from what it holds."""
    for _ in range(ROUNDS):
        try:
            _read_on(workspace, file, span, progress)
        except PlaceLost:
            file.truncate(0)
        else:
            return
    raise WorkspaceUnavailable(f"{workspace.url}: the list of users changed each time it was read; try again later")


def _read_on(workspace: Workspace, file: IO[bytes], span: _Span, progress: Progress) -> None:
    reader = UserListReader(workspace, _resume(file, workspace.url, span))
    for page in reader.pages():
        for row, user in enumerate(page.users, reader.place - len(page.users) + 1):
            document, problems = repair(user, row)
            entry = {"key": key(user), "user": document, "problems": problems}
            file.write(json.dumps(entry).encode() + b"\n")
        file.flush()
        progress(reader.place, page.total)


def _resume(file: IO[bytes], url: str, span: _Span) -> Iterator[str]:
    """The keys of the users that the spool holds; what a crash left unfinished is cut off, an old spool begun anew."""
    file.seek(0)
    head = _parsed(file.readline())
    if (head.get("workspace"), head.get("format")) != (url, FORMAT) or not span.after < head.get(
        "begun", 0
    ) <= span.now:
        file.seek(0)
        file.truncate(0)
        file.write(json.dumps({"workspace": url, "begun": span.now, "format": FORMAT}).encode() + b"\n")
        file.flush()
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


def _parsed(line: bytes) -> dict[str, Any]:
    """A whole line of the spool; one that was cut short or is none, as after a power cut, has nothing in it."""
    try:
        found = json.loads(line) if line.endswith(b"\n") else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
