"""`mailer reconcile`: what a relay has taken, as its log proves, goes on record as sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click

from mailer.callers import held_tokens
from mailer.campaigns.planning import Planner
from mailer.campaigns.recovery import lost
from mailer.campaigns.recovery.journaled import TakenOver, end_revoked, proved, restored, take_over
from mailer.campaigns.recovery.lost import Lost
from mailer.campaigns.recovery.reconciliation import Reconciled, Reconciliation
from mailer.campaigns.recovery.relay_logs import taken
from mailer.cli.commands.status import NEEDS_A_PERSON
from mailer.cli.database import open_database
from mailer.cli.failures import Failure, Misuse
from mailer.cli.output import moment, printable
from mailer.delivery.checkpoints.records import Records
from mailer.pacing.domain_slots import DomainSlots
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.journal.reader import read


class NeedsAPerson(Failure):
    """Everything that could be done is done, and somebody has to look at what is left before `mailer release`."""

    exit_code = NEEDS_A_PERSON


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
    sent as well. What it has of wishes, deactivations, ended tokens and accepted campaigns is taken over.

    The exit code is 3 where all of that is done, and a person has to look at something before `mailer release`.
    """
    if not files and not folders:
        raise Misuse("neither FILES nor --journal")
    settings = Settings.from_env()
    journal = read(folders)
    with open_database() as db:
        db.journal = None  # what comes from a journal need not go into one
        ids = {*_all(files), *proved(journal)}
        found = _reconciliation(db, settings).run(ids)
        told = take_over(db, journal.wishes) if folders else None
        if told is not None:
            end_revoked(db, journal, told)
        with db.read() as connection:
            moments = restored(connection)
        gone, tokens = lost.bring_back(db, journal, ids, moments), held_tokens.held(db)
    _tell_found(found)
    if told is not None:
        _tell(told, journal.broken)
    _tell_lost(gone)
    if tokens:
        click.echo(f"tokens that came back with the backup and do not work: {tokens} (mailer tokens release)", err=True)
    if gone or (told is not None and (told.refused or told.returned or told.absent)):
        raise NeedsAPerson("done as far as that is possible: look at what is named above before `mailer release`")


def _tell_found(found: Iterable[Reconciled]) -> None:
    lines = [f"{one.campaign_id}: {one.sent} recorded as sent, {one.left} left" for one in found]
    for line in lines:
        click.echo(line)
    if not lines:
        click.echo("the files prove nothing about a campaign that has not ended", err=True)


def _tell(told: TakenOver, broken: int) -> None:
    click.echo("wishes taken over: " + ", ".join(f"{count} {wish}" for wish, count in told.counts.items()))
    if broken:
        click.echo(f"lines of the journal that were written by half: {broken}", err=True)
    if told.unknown:
        click.echo(f"wishes about addresses that nobody here has, kept for whoever comes: {told.unknown}")
    if told.revoked:
        click.echo(f"tokens ended, as after the backup: {told.revoked}")
    for label, user_ids in (
        ("deactivated, as after the backup", told.deactivated),
        ("was made active after the backup, and is inactive here", told.returned),
        ("was deactivated after the backup, and is not in the directory", told.absent),
    ):
        for user_id in user_ids:
            click.echo(printable(f"{label}: {user_id}"))
    for user_id, why in told.refused.items():
        click.echo(printable(f"not done yet: {user_id}: {why}"), err=True)


def _tell_lost(gone: Sequence[Lost]) -> None:
    if not gone:
        return
    messages = sum(one.messages for one in gone)
    click.echo(f"{messages} messages of {len(gone)} campaigns that this database does not know:", err=True)
    for one in gone:
        click.echo(f"  {one.campaign_id}: {', '.join(_facts(one))}", err=True)


def _facts(one: Lost) -> Iterator[str]:
    yield f"{one.messages} sent"
    yield f"accepted {moment(one.accepted_at)}"
    if one.first_at is not None:
        yield f"sent from {moment(one.first_at)} to {moment(one.last_at)}"
    yield "whoever repeats it gets it as lost, and nothing is sent" if one.kept else "whoever repeats it sends it again"


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
