"""The database as the service opens it: SQLite with the functions that selectors call."""

from __future__ import annotations

from mailer.selector.sql.sqlite_functions import add_functions
from mailer.storage.database import LOCK_TIMEOUT, Database


def database_at(url: str, *, lock_timeout: float = LOCK_TIMEOUT, prepare: bool = True) -> Database:
    """The database at `url`, not yet migrated; `lock_timeout` in seconds, for SQLite's lock. Raises `ConfigError`.

    Without `prepare` PostgreSQL keeps no prepared statements. Every part of the service opens it here, so that no
    connection lacks the functions.
    """
    return Database(url, on_connect=add_functions, lock_timeout=lock_timeout, prepare=prepare)
