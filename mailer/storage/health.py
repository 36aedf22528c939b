"""Can the database do its work now? Asked by the health check, whose answer anybody may read."""

from __future__ import annotations

from sqlalchemy import delete, false
from sqlalchemy.exc import SQLAlchemyError

from mailer.storage.database import Database
from mailer.storage.database_errors import in_public
from mailer.storage.models import RateLimit


def database_trouble(db: Database) -> str | None:
    """Try a write that changes nothing. Returns None if the database took it, else what is wrong with it."""
    try:
        with db.write(durable=False) as connection:
            connection.execute(delete(RateLimit).where(false()))  # a server that takes no writes refuses even this
    except SQLAlchemyError as error:
        return in_public(error)
    return None
