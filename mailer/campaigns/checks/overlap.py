"""Whether another open or recent campaign, anybody's, reaches most of the same people as one that was just accepted.

It is a look at a few of those whom the query selects, the first and the last by id, and at a few campaigns. So it takes
a short time however large the audience is, and tells nothing where the database needs longer. A campaign for single
people by id, username or address is no mass mail, so nothing is looked for. A campaign that it refers to, as
`reached` or `notReached`, is meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, or_, select

from mailer.audience.conditions import audience
from mailer.audience.earlier import divided, selected
from mailer.errors import MailerError
from mailer.storage.database import AnyRow, Database
from mailer.storage.database_errors import DATABASE_ERRORS
from mailer.storage.models import Campaign, CampaignState, User
from mailer.storage.models.states import UNFINISHED

RECENT = 24 * 60 * 60 * 1000  # ms since it was accepted
CAMPAIGNS = 5  # the newest, that are compared
FEW = 15  # people from each end of the audience
MOST = 0.5  # of them
LIMIT = 0.5  # seconds for a statement
SINGLE = ("_id", "username", "emails.address")  # who asks for one of these means single people
NOT_SENT = (CampaignState.CANCELLED, CampaignState.FAILED)


def overlapping(db: Database, query: Mapping[str, Any], campaign_id: str | None = None) -> tuple[str, ...]:
    """A sentence for each such campaign beside the one with `campaign_id`. `query` is its stored selector."""
    if any(name in query for name in SINGLE):
        return ()
    try:
        with db.read(limit=LIMIT) as connection:
            now = db.clock(connection)
            meant = {one.campaign_id for one in divided(query)[1].values()}
            others = [one for one in _others(connection, campaign_id, now) if one.id not in meant]
            people = _some(connection, query) if others else []
            found = [one for one in others if people and _share(connection, one, query, people) >= MOST]
    except (*DATABASE_ERRORS, MailerError):  # it took too long, or a query of before cannot be read any more
        return ()
    return tuple(_sentence(one, now) for one in found)


def _others(connection: Connection, campaign_id: str | None, now: int) -> Sequence[AnyRow]:
    since = f"{now - RECENT:011x}"  # ids begin with the time
    sent = (~Campaign.dry_run, Campaign.state.not_in(NOT_SENT), Campaign.body != "")
    late = or_(Campaign.id > since, Campaign.state.in_(UNFINISHED))
    columns = (Campaign.id, Campaign.caller_id, Campaign.query, Campaign.created_at)
    query = select(*columns).where(*sent, late).order_by(Campaign.id.desc()).limit(CAMPAIGNS)
    if campaign_id is not None:
        query = query.where(Campaign.id != campaign_id)
    return connection.execute(query).all()


def _some(connection: Connection, query: Mapping[str, Any]) -> list[str]:
    who = select(User.id).where(audience(query)).limit(FEW)
    ends: tuple[ColumnElement[str], ...] = (User.id.asc(), User.id.desc())
    return sorted({user_id for end in ends for user_id in connection.scalars(who.order_by(end))})


def _share(connection: Connection, other: AnyRow, query: Mapping[str, Any], people: Sequence[str]) -> float:
    if other.query == query:
        return 1.0
    same = connection.scalars(select(User.id).where(User.id.in_(people), selected(other.query))).all()
    return len(same) / len(people)


def _sentence(other: AnyRow, now: int) -> str:
    hours = (now - other.created_at) // (60 * 60 * 1000)
    ago = "less than an hour ago" if hours < 1 else f"{hours} h ago" if hours < 48 else f"{hours // 24} days ago"
    return f"Campaign {other.id} of {other.caller_id}, accepted {ago}, reaches most of the same people."
