"""Importing users from a file: streamed, checked, all of them or none.

First the file is read, checked and combined with what is stored about its users into a temporary table, which blocks
nobody. Then one statement merges that table into `users`. So other writers to SQLite, which takes one at a
time, wait only for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from io import BufferedReader
from itertools import islice
from pathlib import Path

from sqlalchemy import Connection

from mailer.audit.log import Act, record
from mailer.directory.changes import Mode
from mailer.directory.staged_users import (
    TABLE,
    MergeCounts,
    Problem,
    merge,
    stage,
    unreachable,
)
from mailer.directory.user_files import DEFAULT_TABLE, UserFile
from mailer.directory.user_matching import NumberedDocument, UserMatcher
from mailer.directory.user_tables import TableOptions
from mailer.files.text_files import TextFile
from mailer.ownership.leaving import NOBODY_LEFT, Leaving, Owners, end_left_tokens
from mailer.storage import staging
from mailer.storage.database import Database
from mailer.storage.erased.people import leave_out_erased
from mailer.storage.staging import CHUNK, stage_and_merge
from mailer.suppression import history, wishes


@dataclass(frozen=True, slots=True)
class ImportResult:
    """How many users an import created, updated and left unchanged.

    `unreachable` of them have no address that can be written to; `problems` names the first of these, as many as the
    options ask for. `erased` people were left out besides, because they were erased. `notes` are sentences about what
    was assumed in reading the file. `left`: what became of what those own who became inactive.
    """

    created: int
    updated: int
    unchanged: int
    unreachable: int = 0
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    erased: int = 0
    left: Leaving = NOBODY_LEFT

    @property
    def total(self) -> int:
        """How many users the file holds, without those who were erased."""
        return self.created + self.updated + self.unchanged


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How to import: what happens to fields that are not named, how a table is read, how many problems to name.

    `pause`: the open campaigns of those who become inactive are paused; else they go on.
    """

    mode: Mode = Mode.MERGE
    table: TableOptions = DEFAULT_TABLE
    encoding: str | None = None  # None: told by the file's bytes
    problems: int = 0
    pause: bool = True


AfterMerge = Callable[[Connection, ImportResult], None]
DEFAULT_OPTIONS = ImportOptions()


def import_users(
    db: Database, path: Path, options: ImportOptions = DEFAULT_OPTIONS, *, progress: Callable[[int], None] | None = None
) -> ImportResult:
    """Add the users of the file `path`, and change those who are known: all of them or, on an `InvalidRow`, none.

    The file is a JSON array, NDJSON, pages of `users.list` or a table (`user_files`). Users who are not in it stay as
    they are. The unsubscribed stay unsubscribed; users whom Rocket.Chat marks so (`mailer.unsubscribed`), or who come
    to an address with a wish, become so. Who was erased is left out. The deactivated stay so unless the file says
    otherwise. `progress` is called
    now and then with the number of bytes read.
    """
    with path.open("rb") as file, closing(TextFile(file, options.encoding)) as text:
        users = UserFile(text, path.name, options.table)
        result = upsert_documents(db, _watched(iter(users), file, progress), options)
        return replace(result, notes=(*users.notes, *result.notes))


def upsert_documents(
    db: Database,
    documents: Iterable[NumberedDocument],
    options: ImportOptions = DEFAULT_OPTIONS,
    *,
    then: AfterMerge | None = None,
) -> ImportResult:
    """The same for documents from anywhere, each with the number of its row, which errors name.

    `then` is called at the end of the transaction that merges, while the table `staged_users` still has the users. If
    it raises, nothing is imported. It writes to the audit log what was done; without it an import is written there.
    """

    def fill(connection: Connection) -> int:
        return stage(connection, UserMatcher(db, options.mode).join(documents))

    def merge_all(connection: Connection, superseded: int) -> ImportResult:
        result = _merged(db, connection, options, superseded, then)
        staging.drop(connection, TABLE.name)
        return result

    return stage_and_merge(db, fill, merge_all)


def _merged(
    db: Database, connection: Connection, options: ImportOptions, superseded: int, then: AfterMerge | None
) -> ImportResult:
    now = db.clock(connection)
    wishes.before_merge(connection)
    history.before_merge(connection)
    erased = leave_out_erased(connection, TABLE.name)
    end_left_tokens(connection, now)
    owners = Owners(connection)
    result = replace(_result(merge(connection, now, options.mode), superseded), erased=erased)
    result = replace(result, left=owners.settle(connection, now, pause=options.pause))
    if options.problems:
        result = replace(result, problems=unreachable(connection, options.problems))
    if then:
        then(connection, result)
    else:
        counts = {"created": result.created, "updated": result.updated, "unchanged": result.unchanged}
        left_out = {"erased": erased} if erased else {}
        record(connection, now, Act.IMPORT_USERS, **counts, **left_out, mode=options.mode.value)
    wishes.after_merge(connection, now)
    history.after_merge(connection)
    return result


def _result(done: MergeCounts, superseded: int) -> ImportResult:
    created = done.total - done.known
    notes = (f"{superseded} rows repeat a user without an id: the last row of each counts",) if superseded else ()
    return ImportResult(
        created=created,
        updated=done.written - created,
        unchanged=done.total - done.written,
        unreachable=done.unreachable,
        notes=notes,
    )


def _watched(
    documents: Iterator[NumberedDocument], file: BufferedReader, progress: Callable[[int], None] | None
) -> Iterator[NumberedDocument]:
    if progress is None or not file.seekable():
        yield from documents
        return
    while chunk := list(islice(documents, CHUNK)):
        progress(file.raw.tell())
        yield from chunk
