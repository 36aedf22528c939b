"""What came of one person in every campaign, the newest first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, bindparam, func, select

from mailer.campaigns.deliveries import REPORTED, Reported
from mailer.storage.database import Database
from mailer.storage.dialects import Statement
from mailer.storage.models import Campaign, CampaignText, Delivery

PAGE = 500  # rows read at a time


class PersonOutcome(NamedTuple):
    """What came of a person in one campaign. Times are ms since 1970; `subject` is "" where the campaign was purged.

    It is that of the text which they were sent last, if the text was replaced.

    `reply` is the mail server's answer, or why nothing was sent. `reported` is what was reported of the message later.
    """

    campaign_id: str
    subject: str
    caller_id: str
    state: str
    dry_run: bool
    created_at: int
    status: str
    address: str | None
    attempts: int
    reply: str
    updated_at: int
    next_attempt_at: int | None
    reported: Reported


_CAMPAIGN = (Campaign.id, Campaign.subject, Campaign.caller_id, Campaign.state, Campaign.dry_run, Campaign.created_at)
_SENT = select(CampaignText.subject).where(
    CampaignText.campaign_id == Delivery.campaign_id, CampaignText.version == func.coalesce(Delivery.version, 1)
)
_OUTCOME = (
    _SENT.correlate(Delivery).scalar_subquery().label("sent_subject"),
    Delivery.status,
    Delivery.address,
    Delivery.attempts,
    Delivery.reply,
    Delivery.updated_at,
    Delivery.due_at,
    *REPORTED,
)
_FIRST = len(_OUTCOME) - 1 - len(REPORTED)  # of the columns of `reported`, behind the subject


def _newest_first(kind: str) -> Select[*tuple[Any, ...]]:
    """Go through the campaigns and look each up among the deliveries, by the primary keys of both.

    So deliveries need no index by user, which every message that is sent would have to keep. With an offset, PostgreSQL
    looks up campaign by campaign whatever it thinks of the number of deliveries.
    """
    mine = select(*_OUTCOME).where(Delivery.campaign_id == Campaign.id, Delivery.user_id == bindparam("user_id"))
    before = Campaign.id < bindparam("before")
    if kind == "postgresql":
        one = mine.offset(0).correlate(Campaign).lateral()
        query = select(*_CAMPAIGN, *one.c).select_from(Campaign).join(one, before)
    else:
        joined = (Delivery.campaign_id == Campaign.id, Delivery.user_id == bindparam("user_id"), before)
        query = select(*_CAMPAIGN, *_OUTCOME).where(*joined)
    return query.order_by(Campaign.id.desc()).limit(bindparam("count"))


_NEWEST_FIRST = Statement(_newest_first)
_LATEST = "\U0010ffff"  # behind every id


def outcomes_of(
    connection: Connection, user_id: str, *, before: str | None = None, count: int = PAGE
) -> list[PersonOutcome]:
    """At most `count` outcomes, of campaigns before the one with the id `before`."""
    wanted = {"user_id": user_id, "before": before or _LATEST, "count": count}
    rows = _NEWEST_FIRST.rows(connection, wanted)
    return [_outcome(*row) for row in rows]


def _outcome(campaign_id: str, subject: str, caller_id: str, state: str, dry_run: Any, *rest: Any) -> PersonOutcome:
    created_at, sent_subject, *outcome = rest
    about = (campaign_id, sent_subject or subject, caller_id, state, bool(dry_run), created_at)
    return PersonOutcome._make((*about, *outcome[:_FIRST], Reported(*outcome[_FIRST:])))


def page_of_outcomes(db: Database, user_id: str, *, before: str | None, count: int) -> list[PersonOutcome]:
    """The same in a transaction of its own."""
    with db.read() as connection:
        return outcomes_of(connection, user_id, before=before, count=count)


def all_outcomes(connection: Connection, user_id: str) -> Iterator[PersonOutcome]:
    """All of them, read page by page."""
    before: str | None = None
    while page := outcomes_of(connection, user_id, before=before):
        yield from page
        before = page[-1].campaign_id
