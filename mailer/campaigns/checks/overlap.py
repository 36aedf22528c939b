"""Whether another open or recent campaign, anybody's, reaches most of the same people as one that was just accepted.

It is a look at a few of those whom the query selects, the first and the last by id, and at a few campaigns. So it takes
a short time however large the audience is, and tells nothing where the database needs longer. A campaign for single
people by id, username or address is no mass mail, so nothing is looked for. A campaign that it refers to, as
`reached` or `notReached`, is meant.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, ColumnElement, Connection, Select, bindparam, select

from mailer.audience.conditions import audience
from mailer.audience.earlier import divided, selected
from mailer.errors import MailerError
from mailer.storage.database import Database
from mailer.storage.database_errors import DATABASE_ERRORS
from mailer.storage.dialects import Statement, from_json
from mailer.storage.models import Campaign, CampaignState, User
from mailer.storage.models.states import UNFINISHED

RECENT = 24 * 60 * 60 * 1000  # ms since it was accepted
CAMPAIGNS = 5  # the newest, that are compared
FEW = 15  # people from each end of the audience
MOST = 0.5  # of them
LIMIT = 0.5  # seconds for a statement
SINGLE = ("_id", "username", "emails.address")  # who asks for one of these means single people
NOT_SENT = (CampaignState.CANCELLED, CampaignState.FAILED)
KEPT_SECONDS, KEPT = 60.0, 1000  # for how long, and of how many pairs of queries, it is known what they share

_MINE: BindParameter[str] = bindparam("mine")


class Other(NamedTuple):
    """A campaign that is compared."""

    id: str
    caller_id: str
    query: Any
    created_at: int


class Overlaps:
    """Looks for such campaigns in `db`.

    A program that sends many campaigns asks for the same people each time. So what two queries share is kept for a
    minute, and a POST does not pay for it again.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._kept: dict[tuple[str, str], tuple[float, bool]] = {}

    def beside(self, query: Mapping[str, Any], campaign_id: str | None = None) -> tuple[str, ...]:
        """A sentence for each such campaign beside the one with `campaign_id`. `query` is its stored selector."""
        if any(name in query for name in SINGLE):
            return ()
        try:
            with self._db.read(limit=LIMIT) as connection:
                now = self._db.clock(connection)
                meant = {one.campaign_id for one in divided(query)[1].values()}
                others = [one for one in _others(connection, campaign_id, now) if one.id not in meant]
                found = [one for one in others if self._is_same(connection, query, from_json(one.query))]
        except (*DATABASE_ERRORS, MailerError):  # it took too long, or a query of before cannot be read any more
            return ()
        return tuple(_sentence(one, now) for one in found)

    def _is_same(self, connection: Connection, query: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """Whether the other query selects most of those whom this one selects."""
        key, now = (json.dumps(query), json.dumps(other)), time.monotonic()
        until, same = self._kept.get(key, (now, False))
        if until > now:
            return same
        if len(self._kept) >= KEPT:
            self._kept.clear()
        same = _shares_most(connection, query, other)
        self._kept[key] = (now + KEPT_SECONDS, same)
        return same


def _newest(*which: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    sent = (~Campaign.dry_run, Campaign.state.not_in(NOT_SENT), Campaign.body != "", Campaign.id != _MINE)
    columns = (Campaign.id, Campaign.caller_id, Campaign.query, Campaign.created_at)
    return select(*columns).where(*sent, *which).order_by(Campaign.id.desc()).limit(CAMPAIGNS)


_LATE = Statement(lambda _kind: _newest(Campaign.id > bindparam("since")))  # ids begin with the time
_OPEN = Statement(lambda _kind: _newest(Campaign.state.in_(UNFINISHED)))


def _others(connection: Connection, campaign_id: str | None, now: int) -> list[Other]:
    mine = {"mine": campaign_id or ""}
    rows = _LATE.rows(connection, {**mine, "since": f"{now - RECENT:011x}"}) + _OPEN.rows(connection, mine)
    newest = sorted({row[0]: row for row in rows}.items(), reverse=True)[:CAMPAIGNS]
    return [Other(*row) for _, row in newest]


def _shares_most(connection: Connection, query: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    who = select(User.id).where(audience(query)).limit(FEW)
    ends: tuple[ColumnElement[str], ...] = (User.id.asc(), User.id.desc())
    people = sorted({user_id for end in ends for user_id in connection.scalars(who.order_by(end))})
    if not people or other == query:
        return bool(people)
    same = connection.scalars(select(User.id).where(User.id.in_(people), selected(other))).all()
    return len(same) >= MOST * len(people)


def _sentence(other: Other, now: int) -> str:
    hours = (now - other.created_at) // (60 * 60 * 1000)
    ago = "less than an hour ago" if hours < 1 else f"{hours} h ago" if hours < 48 else f"{hours // 24} days ago"
    return f"Campaign {other.id} of {other.caller_id}, accepted {ago}, reaches most of the same people."
