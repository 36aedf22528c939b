"""Users into the directory from a file: streamed, validated, all or nothing.

The file is read, checked and joined with what is known of its users into a temporary table first, which blocks nobody;
only then one statement merges it into `users`, so the time in which SQLite lets nobody else write is short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from io import BufferedReader
from itertools import islice
from pathlib import Path

from sqlalchemy import Connection

from mailer.directory.changes import Mode
from mailer.directory.staged_users import CHUNK, Problem, merge, stage, unreachable
from mailer.directory.user_files import PLAIN, UserFile
from mailer.directory.user_matching import Given, UserMatcher
from mailer.directory.user_tables import Reading
from mailer.files.text_files import TextFile
from mailer.storage.database import Database
from mailer.suppression import wishes


@dataclass(frozen=True, slots=True)
class ImportResult:
    """How many users the file brought, by what became of them.

    `unreachable` of them have no address that can be written to; `problems` has the first ones, as many as were asked
    for. `notes` are sentences on what was assumed in reading the file.
    """

    created: int
    updated: int
    unchanged: int
    unreachable: int = 0
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """How many users the file holds."""
        return self.created + self.updated + self.unchanged


@dataclass(frozen=True, slots=True)
class Wanted:
    """How to import: what becomes of what is not named, how a table is read, and how many problems to tell."""

    mode: Mode = Mode.MERGE
    reading: Reading = PLAIN
    encoding: str | None = None  # None: as the file says
    problems: int = 0


Then = Callable[[Connection, ImportResult], None]
USUAL = Wanted()


def import_users(
    db: Database, path: Path, wanted: Wanted = USUAL, *, progress: Callable[[int], None] | None = None
) -> ImportResult:
    """Add the users of the file `path` or change those who are known: all of them or, on an `InvalidRow`, none.

    The file is a JSON array, NDJSON, pages of `users.list` or a table (`user_files`). Who has unsubscribed
    stays so, who is marked so by Rocket.Chat (`mailer.unsubscribed`) or comes to an address with a wish becomes so,
    who was deactivated stays so unless the file says otherwise, and who is not in the file stays as they are.
    `progress` is told now and then how many bytes of the file have been read.
    """
    with path.open("rb") as file, closing(TextFile(file, wanted.encoding)) as text:
        users = UserFile(text, path.name, wanted.reading)
        result = upsert_documents(db, _watched(iter(users), file, progress), wanted)
        return replace(result, notes=(*users.notes, *result.notes))


def upsert_documents(
    db: Database, documents: Iterable[Given], wanted: Wanted = USUAL, *, then: Then | None = None
) -> ImportResult:
    """The same for `(row, document)` pairs from anywhere; the rows are for the errors.

    `then` is called at the end of the transaction that merges, while the table `staged_users` still has their ids;
    what it raises takes the whole import back.
    """
    with db.engine.connect() as connection:
        with connection.begin():  # not a write to the database proper: SQLite locks nothing for it
            superseded = stage(connection, UserMatcher(db, wanted.mode).join(documents))
            if connection.dialect.name == "postgresql":
                return _merged(db, connection, wanted, superseded, then)
        with db.write_on(connection):
            result = _merged(db, connection, wanted, superseded, then)
            connection.exec_driver_sql("DROP TABLE staged_users")
        return result


def _merged(db: Database, connection: Connection, wanted: Wanted, superseded: int, then: Then | None) -> ImportResult:
    now = db.clock(connection)
    wishes.before_merge(connection)
    done = merge(connection, now, wanted.mode)
    created = done.total - done.known
    notes = (f"{superseded} rows repeat a user without an id: the last row of each counts",) if superseded else ()
    result = ImportResult(
        created=created,
        updated=done.written - created,
        unchanged=done.total - done.written,
        unreachable=done.unreachable,
        problems=unreachable(connection, wanted.problems) if wanted.problems else (),
        notes=notes,
    )
    if then:
        then(connection, result)
    wishes.after_merge(connection, now)
    return result


def _watched(
    documents: Iterator[Given], file: BufferedReader, progress: Callable[[int], None] | None
) -> Iterator[Given]:
    if progress is None or not file.seekable():
        yield from documents
        return
    while chunk := list(islice(documents, CHUNK)):
        progress(file.raw.tell())
        yield from chunk
