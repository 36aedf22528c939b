"""The database of the settings, for commands that need nothing else of the service."""

from __future__ import annotations

import getpass
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

from mailer.cli.failures import Failure
from mailer.cli.output import print_notes
from mailer.directory.users import find_id
from mailer.files.text_files import TextFile
from mailer.selector import database_at
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.database_errors import DATABASE_ERRORS, own_words


@contextmanager
def given_file(file: IO[Any]) -> Iterator[TextFile]:
    """A file that click has opened for reading bytes, as text; what had to be assumed is told on stderr."""
    buffered: Any = file if isinstance(file, io.BufferedReader) else io.BufferedReader(cast(Any, file))
    text = TextFile(buffered)
    try:
        yield text
    finally:
        text.close()  # the file is click's to close
        if buffered is not file:
            buffered.detach()
    print_notes(text.notes)


def operator() -> str:
    """Who gives a command, as the system knows them: kept with what they put on a list."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name for the number
        return str(os.getuid())


def created(db: Database) -> str:
    """What is said of a database that was not there: perhaps the command was given in another folder than the last."""
    return f"A new database was made: {db.place}"


@contextmanager
def open_database() -> Iterator[Database]:
    """The migrated database; raises `ConfigError`. A transport that cannot work does not stop these commands."""
    db = database_at(Settings.from_env().database_url)
    try:
        if db.migrate():
            print_notes([created(db)])
        yield db
    except DATABASE_ERRORS as error:
        raise Failure(f"database: {own_words(error)} ({db.place})") from error
    finally:
        db.close()


def id_of(db: Database, name: str) -> str:
    """The id of the user called so, by id or username. Raises `Failure`."""
    with db.read() as connection:
        found = find_id(connection, name)
    if found is None:
        raise Failure(f"there is no user with the id or the username {name}")
    return found
