"""`mailer backup` and `mailer restore`: the whole database as one file, and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import click

from mailer.campaigns.recovery.restored import stamp
from mailer.cli.database import open_database
from mailer.cli.failures import Failure
from mailer.cli.output import printable
from mailer.selector import database_at
from mailer.settings import Settings
from mailer.storage.database_errors import DATABASE_ERRORS, own_words
from mailer.storage.moves import backup as moves
from mailer.times import to_iso

NEXT = """Lost is whatever was done after that: campaigns, replaced texts, transfers, unsubscribes, blocks, erasures,
deactivations, tokens that were made or ended, and changes of users. No token of the backup works.
Next: mailer reconcile LOG … --journal FOLDER, for what was sent, wished and ended since;
then look who may still call (mailer tokens list), and say mailer tokens release;
then mailer campaigns resume or cancel, for each that is paused; then mailer release."""
FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("file", type=FILE)
def backup(file: Path) -> None:
    """Write everything that the database has at this moment into a new FILE.

    The service need not stop. The file has names and addresses, and only its owner may read it. The signing key is not
    in it: keep a copy of `instance/secret.key`, or of MAILER_SECRET_KEY, elsewhere.
    """
    with open_database() as db, _files():
        rows = moves.back_up(db, file, database_at)
    click.echo(f"{printable(str(file))}: {sum(rows.values())} rows in {len(rows)} tables")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
def restore(file: Path) -> None:
    """Bring a backup into the database that the settings name, which must be empty, while the service is stopped.

    All sending is held afterwards, and each campaign that had not ended is paused: it may have been sent since. None of
    its tokens works: it may have been revoked since. Tell it what the relay has taken, and what the journal has
    (`mailer reconcile`), say `mailer tokens release`, resume or cancel each campaign, and then say `mailer release`.
    """
    settings = Settings.from_env()
    with closing(database_at(settings.database_url, prepare=settings.database_prepare)) as db, _files():
        facts = moves.restore(
            file,
            db,
            database_at,
            lambda connection, facts: stamp(connection, facts.made_at, db.clock(connection)),
            _tell,
        )
    click.echo(
        f"restored from {to_iso(facts.made_at, precision='seconds')}: sending is held, and open campaigns paused"
    )
    click.echo(NEXT)


@contextmanager
def _files() -> Iterator[None]:
    try:
        yield
    except DATABASE_ERRORS as error:
        raise Failure(f"database: {own_words(error)}") from error


def _tell(table: str, rows: int) -> None:
    click.echo(f"{printable(table)}: {rows}")
