"""Bring a schema up to date. Imports alembic, which takes longer than all that a start usually does with a database."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from mailer.errors import ConfigError
from mailer.storage.migrations import served_versions


def upgrade(connection: Connection, current: str | None) -> None:
    """Run the migrations after `current`, all of them where it is None, in the transaction of `connection`.

    Then record the oldest schema whose code may still work on the new one: the highest `serves_from` of all migrations.
    A migration without that name serves no older one. Raises `ConfigError` for a schema from a newer version.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    script = ScriptDirectory.from_config(config)
    _refuse_unknown(script, current)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    served_versions.record(connection, oldest_served(script))


def oldest_served(script: ScriptDirectory) -> str:
    """The number of the oldest schema that the newest one serves."""
    return max(getattr(step.module, "serves_from", step.revision) for step in script.walk_revisions())


def _refuse_unknown(script: ScriptDirectory, current: str | None) -> None:
    try:
        script.get_revision(current or "base")
    except CommandError as error:
        raise ConfigError(
            f"MAILER_DATABASE_URL: the schema is at {current}, which this version does not know; run the newer version"
        ) from error
