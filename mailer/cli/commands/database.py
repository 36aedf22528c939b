"""`mailer database`: move everything to another database."""

from __future__ import annotations

import time
from pathlib import Path

import click

from mailer.cli.failures import Failure, Misuse
from mailer.cli.output import printable
from mailer.delivery.flight.folder import folder_for
from mailer.errors import ConfigError
from mailer.selector import database_at
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.database_errors import DATABASE_ERRORS, own_words
from mailer.storage.moves.copying import copy_all


@click.group()
def database() -> None:
    """The database as a whole."""


@database.command()
@click.option("--to", "url", required=True, metavar="URL", help="An empty PostgreSQL database: postgresql://HOST/NAME.")
def copy(url: str) -> None:
    """Copy everything from SQLite to PostgreSQL, with its history, while the service is stopped.

    The target takes all of it or nothing, and what arrived is compared with what left. A copy that was interrupted can
    be run again. A password need not stand in the URL: PostgreSQL's own ~/.pgpass and PGPASSWORD hold as well.
    """
    begun = time.monotonic()
    settings = Settings.from_env()
    source = _source(settings)
    target = _target(url)
    try:
        target.migrate()
        done = copy_all(Path(source.place), target, _tell)
        _carry_records(source, target, settings)
    except DATABASE_ERRORS as error:
        raise Failure(f"database: {own_words(error)} ({target.place})") from error
    finally:
        target.close()
    click.echo(
        f"copied to {target.place} in {time.monotonic() - begun:.0f} s" if done else "everything is there already"
    )


def _source(settings: Settings) -> Database:
    """The database that the settings name, migrated and closed again."""
    db = database_at(settings.database_url)
    if db.writes is None:
        raise Misuse("MAILER_DATABASE_URL: everything is copied from SQLite, and this is PostgreSQL")
    if not Path(db.place).exists():
        raise Misuse(f"MAILER_DATABASE_URL: there is no database at {db.place}")
    try:
        db.migrate()
    finally:
        db.close()
    return db


def _target(url: str) -> Database:
    try:
        db = database_at(url, prepare=False)  # there may be a pooler on the way, and few statements come twice
    except ConfigError as error:
        raise Misuse("--to: not the URL of a PostgreSQL database") from error
    if db.writes is not None:
        raise Misuse("--to: not the URL of a PostgreSQL database")
    return db


def _carry_records(source: Database, target: Database, settings: Settings) -> None:
    """Have whoever goes on know what processes that were killed had in hand. Without it, that counts as uncertain."""
    try:
        carried = folder_for(source, settings.state_dir).carry(folder_for(target, settings.state_dir))
    except OSError as error:
        raise Failure(f"everything is copied but the flight records of killed processes: {error}") from error
    if carried:
        _tell("flight records", carried)


def _tell(table: str, rows: int) -> None:
    click.echo(f"{printable(table)}: {rows}")
