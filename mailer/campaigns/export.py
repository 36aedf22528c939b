"""A campaign's outcomes as the rows of a file, streamed in the order of user ids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields

from sqlalchemy import func, select

from mailer.campaigns.deliveries import ALL, DeliveryRecord, Wanted, deliveries
from mailer.files.exports import Cell
from mailer.storage.database import Database
from mailer.storage.erased.people import anybody_erased
from mailer.storage.models import Campaign, Delivery, User
from mailer.times import to_iso

PAGE = 1000  # rows read at a time
NAMES = {  # in the API
    **{"user_id": "userId", "updated_at": "updatedAt", "next_attempt_at": "nextAttemptAt"},
    "message_id": "messageId",
    **{"bounced_at": "bouncedAt", "bounce_about": "bounceAbout", "bounce_permanent": "bouncePermanent"},
    **{"bounce_status": "bounceStatus", "bounce_reply": "bounceReply", "complained_at": "complainedAt"},
}
COLUMNS = tuple(NAMES.get(field.name, field.name) for field in fields(DeliveryRecord))
TIMES = ("updated_at", "next_attempt_at", "bounced_at", "complained_at")


def records(db: Database, campaign_id: str, wanted: Wanted = ALL) -> Iterator[DeliveryRecord]:
    """Yield the outcomes of a campaign that are `wanted`, ordered by user id.

    They are read page by page. Each page shows one moment, and what changes between two pages may be missed.
    """
    after: str | None = None
    while page := deliveries(db, campaign_id, wanted, after=after, count=PAGE):
        yield from page
        after = page[-1].user_id


def count_erased(db: Database, campaign_id: str) -> int:
    """How many of a campaign's outcomes are of people who were erased, and so have no address; of a dry run's, none."""
    gone = ~select(User.id).where(User.id == Delivery.user_id).exists()
    sent = select(Campaign.id).where(Campaign.id == campaign_id, ~Campaign.dry_run).exists()
    with db.read() as connection:
        if not anybody_erased(connection):
            return 0
        theirs = select(func.count()).select_from(Delivery).where(Delivery.campaign_id == campaign_id, gone, sent)
        return connection.execute(theirs).scalar_one()


def cells(record: DeliveryRecord) -> tuple[Cell, ...]:
    """Return the record's values in the order of `COLUMNS`, with times as ISO 8601 in UTC."""
    times = {name: _iso(getattr(record, name)) for name in TIMES}
    return tuple((asdict(record) | times).values())


def _iso(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else to_iso(milliseconds)
