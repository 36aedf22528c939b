"""`mailer reconcile`: what a relay has taken, as its log proves, goes on record as sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from mailer.campaigns.planning import Planner
from mailer.campaigns.recovery.reconciliation import Reconciliation
from mailer.campaigns.recovery.relay_logs import taken
from mailer.cli.database import open_database
from mailer.delivery.checkpoints.records import Records
from mailer.pacing.domain_slots import DomainSlots
from mailer.settings import Settings
from mailer.storage.database import Database


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
def reconcile(files: tuple[Path, ...]) -> None:
    """Record as sent whom a relay's log proves to have been served, while sending is held.

    FILES are logs of Postfix, also packed with gzip, or lists with one Message-ID a line. A message counts once the
    relay has it in its queue. What is `sent`, `failed` or `skipped` already stays as it is.
    """
    settings = Settings.from_env()
    with open_database() as db:
        found = _reconciliation(db, settings).run(_all(files))
    for one in found:
        click.echo(f"{one.campaign_id}: {one.sent} recorded as sent, {one.left} left")
    if not found:
        click.echo("the files prove nothing about a campaign that has not ended", err=True)


def _all(files: Iterable[Path]) -> Iterator[str]:
    for file in files:
        yield from taken(file)


def _reconciliation(db: Database, settings: Settings) -> Reconciliation:
    lease, limit = settings.lease_seconds * 1000, float(settings.planning_timeout)
    domains = DomainSlots(dict(settings.domain_rates))
    merge = settings.merge_addresses
    planner = Planner(db, settings.batch_size, lease, merge=merge, limit=limit, domains=domains)
    records = Records(lease, settings.max_failure_rate, settings.suppress_after)
    return Reconciliation(db, planner.plan_next, records, settings.uncertain)
