"""The database of the settings, for commands that need nothing else of the service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from mailer.cli.failures import Failure
from mailer.cli.output import print_notes
from mailer.database import Database
from mailer.database_errors import own_words
from mailer.directory import find_id
from mailer.settings import Settings


def created(db: Database) -> str:
    """What is said of a database that was not there: perhaps the command was given in another folder than the last."""
    return f"A new database was made: {db.place}"


@contextmanager
def open_database() -> Iterator[Database]:
    """The migrated database; raises `ConfigError`. A transport that cannot work does not stop these commands."""
    db = Database(Settings.from_env().database_url)
    try:
        if db.migrate():
            print_notes([created(db)])
        yield db
    except (SQLAlchemyError, psycopg.Error) as error:
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
