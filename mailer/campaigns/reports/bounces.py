"""What was reported of messages after they were sent, in numbers: bounces by their code, and how many lately.

They are read by indexes that have these deliveries alone, so that it costs what came back and not what was sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from mailer.campaigns.deliveries import of_which
from mailer.delivery.same_refusals import normalised
from mailer.storage.models import Delivery
from transports.base import About

MOST = 100  # groups of one campaign, the largest
READ = 5000  # bounces of one campaign that are looked at, the first by user id: its page asks every two seconds
LATELY = 24 * 60 * 60 * 1000  # ms, of which `mailer status` tells


@dataclass(frozen=True, slots=True)
class BounceCount:
    """How many messages of a campaign came back with the same `status` (RFC 3463; empty: none was given).

    `about` is whom they are about, `permanent` False means soft bounces. `answer` are the words of one of them, without
    what differs between recipients. Those that were not looked at are in one group, about nobody.
    """

    about: str
    permanent: bool | None
    status: str
    answer: str
    count: int


class ReportedCounts(NamedTuple):
    """How many messages came back after they were sent, and how many were marked as spam."""

    bounced: int = 0
    complained: int = 0


NOTHING_REPORTED = ReportedCounts()


def bounce_counts(connection: Connection, campaign_id: str, total: int) -> list[BounceCount]:
    """Return the counts of a campaign of which `total` messages came back, the most frequent kind first."""
    kind = (Delivery.bounce_about, Delivery.bounce_permanent, Delivery.bounce_status)
    same, count = (func.coalesce(Delivery.bounce_status, ""), func.count())
    query = select(*kind[:2], same, func.min(Delivery.bounce_reply), count)
    query = query.where(Delivery.campaign_id == campaign_id, of_which("bounced_at", campaign_id, most=READ))
    rows = connection.execute(query.group_by(*kind[:2], same).order_by(count.desc(), same, *kind[:2]).limit(MOST))
    found = [
        BounceCount(about or About.MESSAGE, bool(permanent), status, normalised(reply or ""), number)
        for about, permanent, status, reply, number in rows
    ]
    rest = total - sum(one.count for one in found)
    return [*found, BounceCount("", None, "", "", rest)] if rest > 0 else found


def reported_since(connection: Connection, since: int) -> ReportedCounts:
    """Of how many messages it was reported at `since` (ms since 1970) or later, whenever they were sent."""
    counts = (
        select(func.count()).select_from(Delivery).where(time.is_not(None), time >= since)
        for time in (Delivery.bounced_at, Delivery.complained_at)
    )
    return ReportedCounts(*(connection.scalar(one) or 0 for one in counts))
