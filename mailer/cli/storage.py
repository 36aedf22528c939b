"""The database of the settings, for commands that need nothing else of the service."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager

from mailer.database import Database
from mailer.settings import Settings


def operator() -> str:
    """Who gives a command, as the system knows them: kept with what they put on a list."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name for the number
        return str(os.getuid())


@contextmanager
def open_database() -> Iterator[Database]:
    """The migrated database; raises `ConfigError`. A transport that cannot work does not stop these commands."""
    db = Database(Settings.from_env().database_url)
    try:
        db.migrate()
        yield db
    finally:
        db.close()
