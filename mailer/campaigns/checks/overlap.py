"""Whether another open or recent campaign, anybody's, reaches most of the same people as one that was just accepted.

It is a look at a few of those whom the query selects, the first and the last by id, and at a few other queries: first
the same one, then the newest, among the latest campaigns. So it takes a short time however large the audience is and
however many campaigns there are, and tells nothing where the database needs longer. A campaign for a few people who are
named is no mass mail: none is looked for beside it, and it is not in the way of others. A campaign that it refers to,
as `reached` or `notReached`, is meant, and one that in the end did not reach most of its people is no overlap.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, ColumnElement, Connection, Select, Text, bindparam, cast, func, select
from sqlalchemy.dialects.postgresql import JSONB

from mailer.audience.conditions import audience
from mailer.audience.earlier import divided, selected
from mailer.errors import MailerError
from mailer.storage.database import Database
from mailer.storage.database_errors import DATABASE_ERRORS
from mailer.storage.dialects import Statement, from_json
from mailer.storage.models import Batch, Campaign, User
from mailer.storage.models.states import UNFINISHED

RECENT = 24 * 60 * 60 * 1000  # ms since it was accepted
LATEST = 500  # campaigns of any kind that are looked through: what a POST pays for it has this bound
LOOKED_AT = 100  # mass mails among them, with the same query or the newest
QUERIES = 5  # different ones that are compared
CAMPAIGNS = 5  # at most, that are named
FEW = 15  # people from each end of the audience
MOST = 0.5  # of them
LIMIT = 0.5  # seconds for a statement
SINGLE = ("_id", "username", "emails.address")  # who asks for a few values of one of these names single people
NAMED = 20  # values of one of them that are still no mass mail
KEPT_SECONDS, KEPT = 60.0, 1000  # for how long, and of how many pairs of queries, it is known what they share

_MINE: BindParameter[str] = bindparam("mine")


class Other(NamedTuple):
    """A campaign that is compared."""

    id: str
    caller_id: str
    query: Any
    created_at: int


def names_people(query: Mapping[str, Any]) -> bool:
    """Whether a query names a few single people. A pattern or a range of ids may select thousands."""
    if any(name in query and _is_few(query[name]) for name in SINGLE):
        return True
    parts, choices = query.get("$and"), query.get("$or")
    narrow = isinstance(parts, list) and any(isinstance(part, Mapping) and names_people(part) for part in parts)
    few = isinstance(choices, list) and 0 < len(choices) <= NAMED
    return narrow or (few and all(isinstance(part, Mapping) and names_people(part) for part in choices or ()))


def _is_few(asked: Any) -> bool:
    """Whether it asks for a few texts. Null does not name anybody: it selects all who have nothing there."""
    if not isinstance(asked, Mapping):
        return isinstance(asked, str)
    among = asked.get("$in")
    few = isinstance(among, list) and len(among) <= NAMED and all(isinstance(one, str) for one in among)
    return few or isinstance(asked.get("$eq"), str)


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
        if names_people(query):
            return ()
        try:
            with self._db.read(limit=LIMIT) as connection:
                now = self._db.clock(connection)
                meant = {one.campaign_id for one in divided(query)[1].values()}
                others = [one for one in _others(connection, query, campaign_id, now) if one.id not in meant]
                found = _reaching(connection, self._same(connection, query, others))
        except (*DATABASE_ERRORS, MailerError):  # it took too long, or a query of before cannot be read any more
            return ()
        return tuple(_sentence(one, now) for one in found[:CAMPAIGNS])

    def _same(self, connection: Connection, query: Mapping[str, Any], others: Sequence[Other]) -> list[Other]:
        """Those whose queries select most of those whom `query` selects."""
        people, known = _People(connection, query), dict[str, bool]()
        for one in others:
            key = json.dumps(one.query)
            if key not in known and len(known) < QUERIES:
                known[key] = self._is_same(people, json.dumps(query), key, one.query)
        return [one for one in others if known.get(json.dumps(one.query))]

    def _is_same(self, people: _People, mine: str, theirs: str, other: Mapping[str, Any]) -> bool:
        key, now = (mine, theirs), time.monotonic()
        until, same = self._kept.get(key, (now, False))
        if until > now:
            return same
        if len(self._kept) >= KEPT:
            self._kept.clear()
        same = people.are_most_of(other)
        self._kept[key] = (now + KEPT_SECONDS, same)
        return same


class _People:
    """A few of those whom a query selects, read when they are first asked for."""

    def __init__(self, connection: Connection, query: Mapping[str, Any]) -> None:
        self._connection, self._query = connection, query
        self._ids: list[str] | None = None

    def are_most_of(self, other: Mapping[str, Any]) -> bool:
        """Whether the other query selects most of them."""
        people = self._read()
        if not people or divided(other) == divided(self._query):
            return bool(people)
        same = self._connection.scalars(select(User.id).where(User.id.in_(people), selected(other))).all()
        return len(same) >= MOST * len(people)

    def _read(self) -> list[str]:
        if self._ids is None:
            who = select(User.id).where(audience(self._query)).limit(FEW)
            ends: tuple[ColumnElement[str], ...] = (User.id.asc(), User.id.desc())
            self._ids = sorted({one for end in ends for one in self._connection.scalars(who.order_by(end))})
        return self._ids


def _newest(kind: str, *which: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """Campaigns with the same query first. Those for one person are passed over, as far as a pattern can tell."""
    columns = (Campaign.id, Campaign.caller_id, Campaign.query, Campaign.created_at)
    sent = (~Campaign.dry_run, Campaign.body != "", Campaign.id != _MINE, *which)
    late = select(*columns).where(*sent).order_by(Campaign.id.desc()).limit(LATEST).subquery()
    text, mine = cast(late.c.query, Text), bindparam("query", type_=Text)
    equal = late.c.query == cast(mine, JSONB) if kind == "postgresql" else text == mine
    mass = [text.not_like(f'{{"{name}": "%') for name in SINGLE]
    return select(*late.c).where(*mass).order_by(equal.desc(), late.c.id.desc()).limit(LOOKED_AT)


_LATE = Statement(lambda kind: _newest(kind, Campaign.id > bindparam("since")))  # ids begin with the time
_OPEN = Statement(lambda kind: _newest(kind, Campaign.state.in_(UNFINISHED)))


def _others(connection: Connection, query: Mapping[str, Any], campaign_id: str | None, now: int) -> list[Other]:
    """Other mass mails: those with the same query first, and then the newest."""
    mine = {"mine": campaign_id or "", "query": json.dumps(query)}
    rows = _LATE.rows(connection, {**mine, "since": f"{now - RECENT:011x}"}) + _OPEN.rows(connection, mine)
    newest = [Other(row[0], row[1], from_json(row[2]), row[3]) for row in sorted(rows, key=lambda row: row[0])]
    others = [one for one in {one.id: one for one in reversed(newest)}.values() if not names_people(one.query)]
    return sorted(others, key=lambda one: divided(one.query) != divided(query))  # stable: the newest stay first


def _reaching(connection: Connection, found: Sequence[Other]) -> list[Other]:
    """Those that reach, or have reached, most of their people: not cancelled early, and few failed or skipped."""
    if not found:
        return []
    done, lost = Batch.sent + Batch.uncertain + Batch.deferred, Batch.failed + Batch.skipped
    sums = [func.coalesce(func.sum(number), 0) for number in (Batch.planned, done, lost)]
    read = select(Campaign.id, Campaign.state, Campaign.started_at, *sums)
    read = read.outerjoin(Batch, Batch.campaign_id == Campaign.id).where(Campaign.id.in_([one.id for one in found]))
    reaching = set()
    for campaign_id, state, started_at, planned, reached, missed in connection.execute(read.group_by(Campaign.id)):
        number = planned - missed if state in UNFINISHED else reached
        if (state in UNFINISHED and started_at is None) or (number > 0 and number >= MOST * planned):
            reaching.add(campaign_id)
    return [one for one in found if one.id in reaching]


def _sentence(other: Other, now: int) -> str:
    hours = (now - other.created_at) // (60 * 60 * 1000)
    ago = "less than an hour ago" if hours < 1 else f"{hours} h ago" if hours < 48 else f"{hours // 24} days ago"
    return f"Campaign {other.id} of {other.caller_id}, accepted {ago}, reaches most of the same people."
