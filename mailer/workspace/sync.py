"""The sync: the directory gets all changes of a workspace's users, or none.

The list is read page by page into the spool. Only when it is complete, one transaction merges it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from mailer.audit.actor import Via, current_actor
from mailer.audit.log import Act, record
from mailer.directory.changes import Mode
from mailer.directory.imports import ImportOptions, ImportResult, upsert_documents
from mailer.directory.staged_users import Problem, keep_in_step
from mailer.errors import InvalidRow, WorkspaceUnavailable
from mailer.ownership.leaving import Leaving, Owners
from mailer.storage.database import Database
from mailer.storage.erased.people import last_erased
from mailer.workspace import spool
from mailer.workspace.client import Workspace
from mailer.workspace.repair import Repaired
from mailer.workspace.spool import Progress

MALFORMED_ALWAYS, MALFORMED_SHARE = 10, 100  # how many malformed users are put up with: ten, or one in a hundred
MAX_PROBLEMS = 20  # of malformed users that a result names
RESUMABLE = 6 * 60 * 60 * 1000  # ms: how old a spool may be to be gone on with


@dataclass(frozen=True, slots=True)
class SyncResult:
    """How many of the workspace's users a sync created, updated and left unchanged, and how many it deactivated.

    Users whom the workspace no longer has are deactivated. `malformed` users had something wrong in them (see
    `workspace.repair`); `problems` names the first of these. `erased` users were left out, since they were
    erased here. The ids of open campaigns whose owners were deactivated: `paused_campaigns`, or `ongoing_campaigns`;
    and how many tokens of theirs ended.
    """

    created: int
    updated: int
    unchanged: int
    deactivated: int
    malformed: int = 0
    problems: tuple[Problem, ...] = ()
    erased: int = 0
    ended_tokens: int = 0
    paused_campaigns: tuple[str, ...] = ()
    ongoing_campaigns: tuple[str, ...] = ()
    waiting_campaigns: tuple[str, ...] = ()

    @property
    def left(self) -> Leaving:
        """The last four together."""
        return Leaving(self.paused_campaigns, self.ongoing_campaigns, self.ended_tokens, self.waiting_campaigns)


Seal = Callable[[Connection, SyncResult], None]  # the last step of the transaction


def sync_users(
    db: Database,
    workspace: Workspace,
    spool_path: Path,
    *,
    since: int = 0,
    pause: bool = True,
    progress: Progress = lambda _read, _total: None,
    seal: Seal = lambda _connection, _result: None,
) -> SyncResult:
    """Upsert the workspace's users and deactivate those it no longer has, all in one transaction.

    Users who did not come from this workspace stay, and so does every unsubscription. A spool begun before `since` (ms)
    is begun anew: it may be older than the directory. With `pause` the open campaigns of those who are deactivated are
    paused; else they go on. `progress` is called after each page; `seal` is called at the end
    of the transaction. If either raises, the run ends and nothing is changed.
    Raises `WorkspaceUnavailable`, `InvalidRow`, and `InvalidState` while another run uses the spool.
    """
    merge = WorkspaceMerge(workspace.url, seal, pause=pause)

    def finish(connection: Connection, done: ImportResult) -> None:
        now = db.clock(connection)
        merge.finish(connection, done, now)
        _record(connection, now, merge.result)

    with db.read() as connection:
        now = db.clock(connection)
        since = max(since, last_erased(connection))  # who was erased since is not left in the spool
    with spool.locked(spool_path) as file:
        spool.download(workspace, file, progress, after=max(since, now - RESUMABLE), now=now)
        try:
            upsert_documents(
                db, merge.documents(spool.users(file)), ImportOptions(Mode.REPLACE, pause=pause), then=finish
            )
        except (WorkspaceUnavailable, InvalidRow):
            file.truncate(0)  # the list itself is at fault: the next run must read it again
            raise
        file.truncate(0)
    return merge.result


def _record(connection: Connection, now: int, result: SyncResult) -> None:
    """Note the sync in the audit log; one that the service does by itself only if it has changed somebody."""
    changed = {"created": result.created, "updated": result.updated, "deactivated": result.deactivated}
    if any(changed.values()) or current_actor().via is not Via.SYSTEM:
        record(connection, now, Act.SYNC_USERS, **changed, unchanged=result.unchanged)


class WorkspaceMerge:
    """What a sync does beyond an import, in the same transaction; `result` is what it came to."""

    result: SyncResult

    def __init__(self, workspace: str, seal: Seal, *, pause: bool = True) -> None:
        self._workspace = workspace
        self._pause = pause
        self._seal = seal
        self._malformed = 0
        self._problems: list[Problem] = []

    def documents(self, users: Iterable[Repaired]) -> Iterator[tuple[int, object]]:
        """Each user's row and document.

        Raises `WorkspaceUnavailable` if too many are malformed, and if there is nobody, or nobody with an address: that
        is what a token without the permission sees.
        """
        row, found, addresses = 0, 0, False
        for row, user in enumerate(users, 1):
            self._note(row, user)
            if user.document is not None:
                found += 1
                addresses = addresses or bool(user.document.get("emails"))
                yield row, user.document
        if self._malformed > max(MALFORMED_ALWAYS, row // MALFORMED_SHARE):
            raise WorkspaceUnavailable(_too_many(self._workspace, self._malformed, row, self._problems[0]))
        if not addresses:
            problem = "shows no user" if not found else "shows nobody's address"
            raise WorkspaceUnavailable(f"{self._workspace} {problem}: does the token have view-full-other-user-info?")

    def finish(self, connection: Connection, done: ImportResult, now: int) -> None:
        """Call the users the workspace's own, deactivate those it no longer has, and set `result`: the last step."""
        owners = Owners(connection)
        deactivated = keep_in_step(connection, self._workspace)
        left = done.left + owners.settle(connection, now, pause=self._pause)
        counts = (done.created, done.updated, done.unchanged, deactivated)
        about = (self._malformed, tuple(self._problems), done.erased)
        self.result = SyncResult(*counts, *about, left.tokens, left.paused, left.ongoing, left.waiting)
        self._seal(connection, self.result)

    def _note(self, row: int, user: Repaired) -> None:
        self._malformed += bool(user.problems)
        name = user.document["_id"] if user.document else f"user {row} of the list"
        room = MAX_PROBLEMS - len(self._problems)
        self._problems += [Problem(name, field, reason) for field, reason in user.problems[:room]]


def _too_many(workspace: str, malformed: int, users: int, first: Problem) -> str:
    told = f"the first is {first.user_id}, field {first.field}: {first.reason}"
    return f"{workspace}: {malformed} of {users} users in its list are malformed, which is too many; {told}"
