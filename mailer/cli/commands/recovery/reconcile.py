"""`mailer reconcile`: what a relay has taken, as its log proves, goes on record as sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import click

from mailer.campaigns.planning import Planner
from mailer.campaigns.recovery.journaled import TakenOver, proved, take_over
from mailer.campaigns.recovery.reconciliation import Reconciliation
from mailer.campaigns.recovery.relay_logs import taken
from mailer.cli.database import open_database
from mailer.cli.failures import Failure, Misuse
from mailer.cli.output import printable
from mailer.delivery.checkpoints.records import Records
from mailer.pacing.domain_slots import DomainSlots
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.journal.reader import read


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--journal",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The folder of a journal, as MAILER_JOURNAL_DIR named it; one for each machine.",
)
def reconcile(files: tuple[Path, ...], folders: tuple[Path, ...]) -> None:
    """Record as sent whom a relay's log proves to have been served, while sending is held.

    FILES are logs of Postfix, also packed with gzip, or lists with one Message-ID a line. A message counts once the
    relay has it in its queue. What is `sent`, `failed` or `skipped` already stays as it is. A journal proves what was
    sent as well, and its wishes are taken over: unsubscribes, blocks and erasures that were made after the backup.
    """
    if not files and not folders:
        raise Misuse("neither FILES nor --journal")
    settings = Settings.from_env()
    journal = read(folders)
    with open_database() as db:
        db.journal = None  # what comes from a journal need not go into one
        found = _reconciliation(db, settings).run(chain(_all(files), proved(journal)))
        told = take_over(db, journal.wishes) if folders else None
    for one in found:
        click.echo(f"{one.campaign_id}: {one.sent} recorded as sent, {one.left} left")
    if not found:
        click.echo("the files prove nothing about a campaign that has not ended", err=True)
    if told is not None:
        _tell(told, journal.broken)


def _tell(told: TakenOver, broken: int) -> None:
    click.echo("wishes taken over: " + ", ".join(f"{count} {wish}" for wish, count in told.counts.items()))
    if broken:
        click.echo(f"lines of the journal that were written by half: {broken}", err=True)
    if told.unknown:
        click.echo(
            f"wishes about addresses that nobody here has: {told.unknown}. Bring the users of after the backup into "
            "the directory again, and then say this once more, before `mailer release`",
            err=True,
        )
    for user_id, why in told.refused.items():
        click.echo(printable(f"not erased yet: {user_id}: {why}"), err=True)
    if told.unknown or told.refused:
        raise Failure("not every wish could be taken over")


def _all(files: Iterable[Path]) -> Iterator[str]:
    for file in files:
        yield from taken(file)


def _reconciliation(db: Database, settings: Settings) -> Reconciliation:
    lease, limit = settings.lease_seconds * 1000, float(settings.planning_timeout)
    domains = DomainSlots(dict(settings.domain_rates))
    merge = settings.merge_addresses
    planner = Planner(db, settings.batch_size, lease, merge=merge, limit=limit, domains=domains)
    bounces = settings.bounce_address is not None
    records = Records(lease, settings.max_failure_rate, settings.suppress_after, bounces=bounces)
    return Reconciliation(db, planner.plan_next, records, settings.uncertain)
