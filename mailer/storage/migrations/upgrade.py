"""Bring a schema up to date. Imports alembic, which takes longer than all that a start usually does with a database."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from mailer.errors import ConfigError


def upgrade(connection: Connection, current: str | None) -> None:
    """Run the migrations after `current`, all of them where it is None, in the transaction of `connection`.

    Raises `ConfigError` for a schema from a newer version.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    _refuse_unknown(ScriptDirectory.from_config(config), current)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _refuse_unknown(script: ScriptDirectory, current: str | None) -> None:
    try:
        script.get_revision(current or "base")
    except CommandError as error:
        raise ConfigError(
            f"MAILER_DATABASE_URL: the schema is at {current}, which this version does not know; run the newer version"
        ) from error
