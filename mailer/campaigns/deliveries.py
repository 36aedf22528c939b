"""Read each recipient's outcome in one campaign, and what was reported of the message later: a bounce, a complaint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import aliased

from mailer.messages.addresses import comparable
from mailer.messages.template import message_id
from mailer.storage.database import Database
from mailer.storage.models import Campaign, Delivery
from mailer.times import to_iso

REPORTED = (
    *(Delivery.bounced_at, Delivery.bounce_about, Delivery.bounce_permanent, Delivery.bounce_status),
    *(Delivery.bounce_reply, Delivery.complained_at),
)


class Reported(NamedTuple):
    """What was reported of a message after it was sent, in the order of `REPORTED`. Times are ms since 1970.

    `bounced_at` None: no bounce is known, and nothing else about one. `bounce_about` is whom it is about, as for a
    refusal. `bounce_permanent` False: a soft bounce. `bounce_status` is the enhanced status code (RFC 3463), empty if
    none was given. `bounce_reply` are the other side's words. `complained_at` is when it was marked as spam.
    """

    bounced_at: int | None = None
    bounce_about: str | None = None
    bounce_permanent: bool | None = None
    bounce_status: str | None = None
    bounce_reply: str | None = None
    complained_at: int | None = None

    def as_json(self) -> dict[str, Any]:
        """With the names and times of the API."""
        return {
            "bouncedAt": None if self.bounced_at is None else to_iso(self.bounced_at),
            "bounceAbout": self.bounce_about,
            "bouncePermanent": None if self.bounce_permanent is None else bool(self.bounce_permanent),
            "bounceStatus": self.bounce_status,
            "bounceReply": self.bounce_reply,
            "complainedAt": None if self.complained_at is None else to_iso(self.complained_at),
        }


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """One recipient's outcome. Times are milliseconds since 1970; `next_attempt_at` is None when none will follow.

    `message_id` is without brackets, and without a host where the campaign was purged. `version` is that
    of the campaign's text at the last attempt; None: a worker died with it, and nobody knows. The rest is as in
    `Reported`.
    """

    user_id: str
    address: str | None
    status: str
    attempts: int
    reply: str
    updated_at: int
    next_attempt_at: int | None
    message_id: str
    version: int | None = 1
    bounced_at: int | None = None
    bounce_about: str | None = None
    bounce_permanent: bool | None = None
    bounce_status: str | None = None
    bounce_reply: str | None = None
    complained_at: int | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which outcomes to read: all, or those for which everything holds that is given here.

    `address` is compared whatever its case. `bounced` and `complained`: True, only those of which that was reported;
    False, only the others.
    """

    status: str | None = None
    user_id: str | None = None
    address: str | None = None
    bounced: bool | None = None
    complained: bool | None = None

    def conditions(self, campaign_id: str, after: str | None = None) -> list[ColumnElement[bool]]:
        """The same as SQL, of one campaign and of users behind `after`."""
        found = [Delivery.campaign_id == campaign_id]
        if self.status is not None:
            found.append(Delivery.status == self.status)
        if self.user_id is not None:
            found.append(Delivery.user_id == self.user_id)
        if self.address is not None:
            found.append(func.lower(Delivery.address) == comparable(self.address))
        few = [of_which("bounced_at", campaign_id, after)] if self.bounced else []
        few += [of_which("complained_at", campaign_id, after)] if self.complained else []
        if self.bounced is False:
            found.append(Delivery.bounced_at.is_(None))
        if self.complained is False:
            found.append(Delivery.complained_at.is_(None))
        if after is not None and not few:  # beside the few, SQLite would read all users behind it
            found.append(Delivery.user_id > after)
        return [*found, *few]


ALL = Wanted()


def of_which(name: str, campaign_id: str, after: str | None = None, *, most: int | None = None) -> ColumnElement[bool]:
    """A condition: the delivery is one of the campaign's few that have this time, and of a user behind `after`.

    With `most`, only of the first of them by user id.

    They are found by their own index and looked up by the primary key: without counts of its rows, SQLite would read
    all deliveries of the campaign. That they have the time is said twice, so that PostgreSQL does not read all either.
    """
    one = aliased(Delivery)
    few = select(one.user_id).where(one.campaign_id == campaign_id, getattr(one, name).is_not(None))
    few = few if after is None else few.where(one.user_id > after)
    found = Delivery.user_id.in_(few if most is None else few.order_by(one.user_id).limit(most))
    return and_(getattr(Delivery, name).is_not(None), found)


def deliveries(
    db: Database, campaign_id: str, wanted: Wanted = ALL, *, after: str | None, count: int
) -> Sequence[DeliveryRecord]:
    """Return at most `count` of the outcomes that are `wanted`, ordered by user id.

    `after` is the last user id of the page before. Unlike an offset, it keeps late pages as fast as the first.
    """
    columns = (Delivery.user_id, Delivery.address, Delivery.status, Delivery.attempts, Delivery.reply)
    version = func.nullif(func.coalesce(Delivery.version, 1), 0)
    query = select(*columns, Delivery.updated_at, Delivery.due_at, version, *REPORTED)
    query = query.where(*wanted.conditions(campaign_id, after))
    with db.read() as connection:
        sender = connection.scalar(select(Campaign.sender).where(Campaign.id == campaign_id)) or ""
        rows = connection.execute(query.order_by(Delivery.user_id).limit(count)).all()
    known = len(columns) + 2  # before the Message-ID, which is worked out
    about: list[Any] = [(*row[:known], message_id(campaign_id, row.user_id, sender), *row[known:]) for row in rows]
    return [DeliveryRecord(*one) for one in about]
