"""Which versions of the service a schema serves, so that one version back may run beside the new one.

A version is the number of the last migration that its code has. The schema records its own (in `alembic_version`) and
the oldest one whose code may still work on it. A migration that only adds, and lets older code write as before, serves
the version before it; one that takes away what an older version uses does not. CONTRIBUTING has the rule for writing
them.
"""

from __future__ import annotations

import logging

from sqlalchemy import Connection, delete, insert, inspect, select

from mailer.errors import ConfigError
from mailer.storage.models import ServedVersions

log = logging.getLogger(__name__)


def record(connection: Connection, oldest: str) -> None:
    """Write down the oldest version that the schema serves."""
    connection.execute(delete(ServedVersions))
    connection.execute(insert(ServedVersions).values(id=1, oldest=oldest))


def serves(connection: Connection, schema: str | None, version: str) -> bool:
    """Whether a schema from a newer version serves `version`. False if it is not newer, so that it may be migrated.

    Raises `ConfigError` for a newer one that does not.
    """
    if schema is None or schema <= version:
        return False
    oldest = _oldest(connection)
    if oldest is None or version < oldest:
        since = "" if oldest is None else f" and serves versions from {oldest} on"
        raise ConfigError(
            f"MAILER_DATABASE_URL: the schema is at {schema}{since}; this version has {version}, run the newer one"
        )
    log.warning("the schema is at %s, newer than this version's %s, which it still serves", schema, version)
    return True


def _oldest(connection: Connection) -> str | None:
    """None: the schema does not say, so it is none of ours."""
    if not inspect(connection).has_table(ServedVersions.__tablename__):
        return None
    return connection.scalar(select(ServedVersions.oldest))
