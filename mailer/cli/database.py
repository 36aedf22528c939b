"""The database that the settings name, for commands that need no running service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mailer.cli.failures import Failure
from mailer.cli.output import print_notes
from mailer.directory.users import find_id
from mailer.selector import database_at
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.database_errors import DATABASE_ERRORS, own_words
from mailer.storage.journal.writer import journal_at


def created(db: Database) -> str:
    """The note on a new database. It tells who gave the command in another folder than before."""
    return f"A new database was made: {db.place}"


@contextmanager
def open_database(*, existing: bool = False) -> Iterator[Database]:
    """The database, migrated. Raises `ConfigError`, and `Failure` for what the database does not do.

    With `existing` neither it nor a key is made, and it is not migrated: `Failure` where that would be needed. No
    transport is made, so that one that does not work stops none of these commands.
    """
    settings = Settings.from_env(new_key=not existing)
    db = database_at(settings.database_url, prepare=settings.database_prepare)
    try:
        if existing:
            _require(db)
        elif db.migrate():
            print_notes([created(db)])
        db.journal = journal_at(db, settings.journal_dir, settings.journal_retention)
        yield db
    except DATABASE_ERRORS as error:
        raise Failure(f"database: {own_words(error)} ({db.place})") from error
    finally:
        db.close()


def _require(db: Database) -> None:
    """Raise `Failure` where there is no database that serves this version."""
    if db.writes is not None and not Path(db.place).exists():  # SQLite would make the file
        raise Failure(f"there is no database: {db.place}")
    if not db.is_migrated():
        raise Failure(f"the database is not migrated, its version is {db.version() or 'none'}: {db.place}")


def id_of(db: Database, name: str) -> str:
    """The id of the user whose id or username is `name`. Raises `Failure` if there is none."""
    with db.read() as connection:
        found = find_id(connection, name)
    if found is None:
        raise Failure(f"there is no user with the id or the username {name}")
    return found
