"""What is said of a database that fails: in people's words, with no statement and no value, which may be an address."""

from __future__ import annotations

import psycopg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError, TimeoutError

DATABASE_ERRORS = (SQLAlchemyError, psycopg.Error)  # whatever a database may raise
UNAVAILABLE = (OperationalError, InterfaceError, TimeoutError)  # it may work again later: no connection, a lock, a disk


def own_words(error: Exception) -> str:
    """The database's own first line: for whoever runs the service, since it may name hosts and users."""
    if isinstance(error, TimeoutError):  # of the pool, whose words are about itself
        return in_public(error)
    cause = error.orig if isinstance(error, DBAPIError) else error  # the whole holds the statement and its values
    return next(iter(str(cause).splitlines()), "") or in_public(error)


def in_public(error: Exception) -> str:
    """The kind of trouble, for everybody's eyes."""
    match error:
        case TimeoutError():
            return "no connection became free in time"
        case OperationalError() | InterfaceError() | psycopg.OperationalError() | psycopg.InterfaceError():
            return "it does not answer, or takes no writes"
        case SQLAlchemyError() | psycopg.Error():
            return "it refuses what is asked of it"
        case _:
            return "it fails"
