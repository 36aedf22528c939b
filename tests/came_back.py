"""Put on record what a report would: that a message bounced, or that its recipient marked it as spam."""

from __future__ import annotations

from sqlalchemy import update

from mailer.storage.database import Database
from mailer.storage.models import Delivery
from tests.harness import START

LATER = START + 60_000
WORDS = "550 5.1.1 <user00001@example.com>: no such user"


def bounced(
    db: Database,
    campaign_id: str,
    *user_ids: str,
    at: int = LATER,
    about: str = "address",
    permanent: bool = True,
    status: str = "5.1.1",
    reply: str = WORDS,
) -> None:
    """The messages of the campaign for these users came back at `at` (ms)."""
    said = {"bounce_about": about, "bounce_permanent": permanent, "bounce_status": status, "bounce_reply": reply}
    _write(db, campaign_id, user_ids, {"bounced_at": at, **said})


def complained(db: Database, campaign_id: str, *user_ids: str, at: int = LATER) -> None:
    """These users marked the message of the campaign as spam at `at` (ms)."""
    _write(db, campaign_id, user_ids, {"complained_at": at})


def _write(db: Database, campaign_id: str, user_ids: tuple[str, ...], values: dict[str, object]) -> None:
    theirs = (Delivery.campaign_id == campaign_id, Delivery.user_id.in_(user_ids))
    with db.write() as connection:
        assert connection.execute(update(Delivery).where(*theirs).values(**values)).rowcount == len(user_ids)
