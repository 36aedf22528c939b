"""The database as the service opens it: SQLite with the functions that selectors call."""

from __future__ import annotations

from mailer.selector.sql.sqlite_functions import add_functions
from mailer.storage.database import PATIENCE_SECONDS, Database


def database_at(url: str, *, patience: float = PATIENCE_SECONDS) -> Database:
    """The database at `url`, not yet migrated; `patience` in seconds, for SQLite's lock. Raises `ConfigError`.

    Every part of the service opens it here, so that no connection lacks the functions.
    """
    return Database(url, on_connect=add_functions, patience=patience)
