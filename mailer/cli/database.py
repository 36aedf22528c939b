"""The database that the settings name, for commands that need no running service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
def open_database() -> Iterator[Database]:
    """The database, migrated. Raises `ConfigError`, and `Failure` for what the database does not do.

    No transport is made, so that one that does not work stops none of these commands.
    """
    settings = Settings.from_env()
    db = database_at(settings.database_url, prepare=settings.database_prepare)
    try:
        if db.migrate():
            print_notes([created(db)])
        db.journal = journal_at(db, settings.journal_dir, settings.journal_retention)
        yield db
    except DATABASE_ERRORS as error:
        raise Failure(f"database: {own_words(error)} ({db.place})") from error
    finally:
        db.close()


def id_of(db: Database, name: str) -> str:
    """The id of the user whose id or username is `name`. Raises `Failure` if there is none."""
    with db.read() as connection:
        found = find_id(connection, name)
    if found is None:
        raise Failure(f"there is no user with the id or the username {name}")
    return found
