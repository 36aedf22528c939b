"""What came of a campaign's messages minute by minute, for charts: counts of the outcomes recorded in each minute.

They are written in the transaction that records the outcomes, so they say what the deliveries say. A recipient counts
once for each attempt that ended. What a person has tried again counts again, and only then.

Every checkpoint of a campaign writes to the row of the same minute, and holds it until its commit. On PostgreSQL the
workers of one campaign would wait for each other there. So the threads share a minute's row out among `PARTS` rows,
which are added up when they are read. SQLite lets only one transaction write anyway, and has one row a minute.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection, Insert, delete, func, select

from mailer.observer import Observer
from mailer.storage.database import Database
from mailer.storage.dialects import NewRow, RowUpsert, is_postgresql
from mailer.storage.models import CampaignMinute, DeliveryStatus

MINUTE = 60_000  # ms
PARTS = 8
LEAST = 10_000  # ms by which a pace is told at least: what has just begun says little


@dataclass(frozen=True, slots=True)
class Minute:
    """How many outcomes of each status were recorded in the minute that began at `minute`, in ms since 1970."""

    minute: int
    sent: int
    failed: int
    deferred: int
    uncertain: int
    skipped: int


@dataclass(slots=True)
class RecordedOutcomes:
    """The outcomes that one transaction records of one campaign, at `now` (ms since 1970)."""

    campaign_id: str = ""
    now: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    tallies: list[Callable[[Connection], None]] = field(default_factory=list)

    def add(self, campaign_id: str, now: int, counts: Mapping[DeliveryStatus, int]) -> None:
        """Count these too."""
        self.campaign_id, self.now = campaign_id, now
        self.counts.update({status.value: count for status, count in counts.items() if count})

    def tally(self, write: Callable[[Connection], None]) -> None:
        """Have `write` write other counts of them, just before the minute's."""
        self.tallies.append(write)

    def store(self, connection: Connection) -> None:
        """Add them to their minute and to their other counts, as the last thing that the transaction does.

        From here on others may wait for the row, and whoever holds it must not wait for anybody.
        """
        if not self.counts:
            return
        for write in self.tallies:
            write(connection)
        part = threading.get_native_id() % PARTS if is_postgresql(connection) else 0
        counts = [self.counts[status.value] for status in DeliveryStatus]
        _ADD.run(connection, [(self.campaign_id, self.now - self.now % MINUTE, part, *counts)])


@contextmanager
def recording(db: Database, observer: Observer) -> Iterator[tuple[Connection, RecordedOutcomes]]:
    """A transaction. The outcomes that it records go into their minute last; once committed, `observer` is told."""
    outcomes = RecordedOutcomes()
    with db.write() as connection:
        yield connection, outcomes
        outcomes.store(connection)
    if outcomes.counts:
        observer.recorded(outcomes.counts)


def _adding(new: NewRow) -> Insert:
    sums = {status.value: getattr(CampaignMinute, status) + new.excluded[status] for status in DeliveryStatus}
    return new.on_conflict_do_update(index_elements=["campaign_id", "minute", "part"], set_=sums)


_ADD = RowUpsert(
    CampaignMinute, ("campaign_id", "minute", "part", *(status.value for status in DeliveryStatus)), _adding
)


def minutes(db: Database, campaign_id: str, *, after: int | None, count: int) -> list[Minute]:
    """Return at most `count` minutes in which something was recorded, the earliest first.

    `after` is the last minute of the page before, in ms since 1970.
    """
    sums = [func.sum(getattr(CampaignMinute, status)) for status in DeliveryStatus]
    query = select(CampaignMinute.minute, *sums).where(CampaignMinute.campaign_id == campaign_id)
    if after is not None:
        query = query.where(CampaignMinute.minute > after)
    query = query.group_by(CampaignMinute.minute).order_by(CampaignMinute.minute).limit(count)
    with db.read() as connection:
        return [Minute(*map(int, row)) for row in connection.execute(query)]


def lately(now: int) -> int:
    """From when on a pace is taken, at `now` (ms since 1970): the minute that has begun, and the one before."""
    return now - now % MINUTE - MINUTE


def elapsed(first: int, started_at: int | None, now: int) -> int:
    """For how many ms something was sent at `now`, if `first` is the first minute lately in which something was.

    What began within that minute, at `started_at`, had less of it.
    """
    return max(now - max(first, started_at or 0), LEAST)


def forget(connection: Connection, campaign_id: str) -> None:
    """Delete the campaign's minutes."""
    connection.execute(delete(CampaignMinute).where(CampaignMinute.campaign_id == campaign_id))
