"""Plan a campaign: cut its audience into batches, each of them a range of user ids."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, case, func, insert, or_, select

from mailer.audience.conditions import audience
from mailer.audience.shared_addresses import merged_audience
from mailer.delivery import resting
from mailer.delivery.due_batch import unplanned
from mailer.delivery.trouble import Trouble, describe, full_traceback
from mailer.directory.users import find_by_address
from mailer.logs.context import bound
from mailer.logs.masking import without_addresses
from mailer.messages.links import NOBODY
from mailer.observer import UNOBSERVED, Observer
from mailer.storage.database import Database, is_database_trouble
from mailer.storage.dialects import is_postgresql
from mailer.storage.lease import Leases
from mailer.storage.models import Batch, BatchState, Campaign, CampaignState, Priority, User
from mailer.storage.notifications import announce_work

log = logging.getLogger(__name__)

SMALL = 1000  # recipients up to which a campaign is `normal` and not `bulk`, unless its caller says otherwise
COUNTERS = ("sent", "failed", "deferred", "uncertain", "skipped")


_LEASES = Leases(Campaign, Campaign.id, ends=Campaign.due_at, held=Campaign.state == CampaignState.PLANNING)


_FRONT = or_(Campaign.dry_run, Campaign.priority == Priority.URGENT)
_BEHIND = case((_FRONT, 0), else_=1)  # dry runs and urgent campaigns are planned first


class Unplanned(NamedTuple):
    """A campaign that is being planned; `fence` is the number by which its planner holds it.

    `priority` is what its caller asked for; None: nothing.
    """

    id: str
    fence: int
    dry_run: bool
    sender: str
    priority: str | None


class Planner:
    """Plans one campaign per call; several threads may use it.

    `lease` is in ms. `limit` is how many seconds reading one audience may take; None: any time. With `merge`, users who
    share an address count as one, and this stays so for the whole campaign. `observer` is told how many recipients a
    campaign has. The audience is read outside the write transaction, so that campaigns can be accepted meanwhile. When
    two planners come to hold the same campaign, only the one with the newer fence can write.
    """

    def __init__(
        self,
        db: Database,
        batch_size: int,
        lease: int,
        *,
        merge: bool = False,
        limit: float | None = None,
        observer: Observer = UNOBSERVED,
    ) -> None:
        self._db = db
        self._observer = observer
        self._batch_size = batch_size
        self._lease = lease
        self._merge = merge
        self._limit = limit
        self._held: dict[int, Unplanned] = {}

    def plan_next(self) -> bool:
        """Plan the campaign that is due first; return False if none is.

        After an unexpected error the campaign rests, and in the end fails. Raises errors that are no campaign's fault,
        such as `SQLAlchemyError` when the database cannot be reached.
        """
        campaign = _claim_campaign(self._db, self._lease)
        if campaign is None:
            return False
        self._held[threading.get_ident()] = campaign
        with bound(campaign=campaign.id):
            self._plan_or_rest(campaign)
        return True

    def _plan_or_rest(self, campaign: Unplanned) -> None:
        try:
            self._plan(campaign)
        except Exception as error:  # this campaign rests, so that those behind it are planned
            if isinstance(error, (OSError, MemoryError)) or is_database_trouble(error):
                raise
            _rest(self._db, campaign, error)
        finally:
            del self._held[threading.get_ident()]

    def heartbeat(self) -> None:
        """Extend the lease of every campaign in hand, since reading its audience may take longer than a lease."""
        for campaign in list(self._held.values()):
            with self._db.write(durable=False) as connection:
                ends = self._db.clock(connection) + self._lease
                _LEASES.renew(connection, (campaign.id,), campaign.fence, ends)

    def _plan(self, campaign: Unplanned) -> None:
        with self._db.read(limit=self._limit) as connection:
            ranges = self._cut(connection, campaign)
        with self._db.write() as connection:
            now = self._db.clock(connection)
            state = CampaignState.RUNNING if ranges else CampaignState.COMPLETED
            values = {"state": state, "merge_addresses": self._merge, "started_at": now, "errors": 0, "reason": None}
            values |= {"finished_at": None if ranges else now, "priority": _priority(campaign, ranges)}
            held = _LEASES.write(connection, (campaign.id,), campaign.fence, values)
            if held and ranges:
                connection.execute(insert(Batch), [_batch(campaign.id, n, r, now) for n, r in enumerate(ranges)])
                announce_work(connection)  # for the workers of other processes, which could not plan it
        if held:
            self._observer.planned(sum(recipients for _first, _last, recipients in ranges))

    def _cut(self, connection: Connection, campaign: Unplanned) -> Sequence[Sequence[Any]]:
        if campaign.dry_run:
            return _dry_run(connection, campaign)
        query = connection.execute(select(Campaign.query).where(Campaign.id == campaign.id)).scalar_one()
        return _ranges(connection, query, self._batch_size, merge=self._merge)


def _rest(db: Database, campaign: Unplanned, error: Exception) -> None:
    """Have the campaign rest after an unexpected error, unless another planner holds it by now."""
    log.error("campaign %s cannot be planned: %s", campaign.id, without_addresses(describe(error)))
    with db.write() as connection:
        mine = select(Campaign.id).where(_LEASES.mine((campaign.id,), campaign.fence)).with_for_update()
        if connection.execute(mine).one_or_none() is None:
            return
        times = resting.rest(connection, campaign.id, Trouble(error=describe(error)), db.clock(connection), tried=False)
    if times == 1:
        log.error("%s", full_traceback(error))


def _claim_campaign(db: Database, lease: int) -> Unplanned | None:
    """Take the campaign that waits for planning and comes first; None if there is none. `lease` is in ms."""
    first = select(Campaign.id, Campaign.fence, Campaign.dry_run, Campaign.sender, Campaign.priority)
    first = first.order_by(_BEHIND, Campaign.due_at, Campaign.id).limit(1).with_for_update(skip_locked=True)
    with db.read() as connection:
        due = unplanned(db.clock(connection))
        if connection.scalar(select(Campaign.id).where(due).limit(1)) is None:
            return None
    with db.write() as connection:
        now = db.clock(connection)
        row = connection.execute(first.where(unplanned(now))).one_or_none()
        if row is None:
            return None
        fence = _LEASES.take(connection, (row.id,), row.fence, now + lease, state=CampaignState.PLANNING)
        return Unplanned(row.id, fence, row.dry_run, row.sender, row.priority)


def _priority(campaign: Unplanned, ranges: Sequence[Sequence[Any]]) -> str:
    """The priority of a campaign with these batches: as its caller asked, else by its size. A dry run is urgent."""
    if campaign.dry_run:
        return Priority.URGENT
    small = sum(count for _, _, count in ranges) <= SMALL
    return campaign.priority or (Priority.NORMAL if small else Priority.BULK)


def _ranges(connection: Connection, query: Mapping[str, Any], size: int, *, merge: bool) -> Sequence[Sequence[Any]]:
    if merge:
        return _numbered(connection, merged_audience(query), size)
    cut = _skipped_through if not is_postgresql(connection) else _numbered
    return cut(connection, audience(query), size)


def _numbered(connection: Connection, members: ColumnElement[bool], size: int) -> Sequence[Sequence[Any]]:
    """Number the members, and return of every batch the first id, the last id and how many it has.

    Only these ids are sent by the database, however large the audience.
    """
    place, following = (
        function.over(order_by=User.id, rows=(None, 0))  # without `rows` slow before PostgreSQL 16
        for function in (func.row_number(), func.lead(User.id))
    )
    member = select(User.id.label("id"), place.label("number"), following.label("following")).where(members).subquery()
    number = member.c.number
    edges = select(member.c.id, number).where(or_(number % size < 2, member.c.following.is_(None)))
    ends = connection.execute(edges.order_by(number)).all()
    firsts = [end for end in ends if (end.number - 1) % size == 0]
    lasts = [end for end in ends if end.number % size == 0 or end is ends[-1]]
    return [(a.id, z.id, z.number - a.number + 1) for a, z in zip(firsts, lasts, strict=True)]


def _skipped_through(connection: Connection, members: ColumnElement[bool], size: int) -> Sequence[Sequence[Any]]:
    """Return the same as `_numbered`, by looking from the end of each batch for the end of the next.

    On SQLite this takes half as long as numbering everyone. It is unfit for conditions that look at all users first,
    such as grouping them by address: that would be repeated for every batch.
    """
    cut = select(func.json_array("", "", size).label("batch")).cte("cut", recursive=True)
    last, count = (func.json_extract(cut.c.batch, f"$[{place}]") for place in (1, 2))
    after = select(User.id).where(members, User.id > last).order_by(User.id).limit(size).correlate(cut).subquery()
    batch = select(func.json_array(func.min(after.c.id), func.max(after.c.id), func.count())).scalar_subquery()
    cut = cut.union_all(select(batch).where(count == size))
    _, *batches = map(json.loads, connection.scalars(select(cut.c.batch)))
    return [batch for batch in batches if batch[2]]


def _dry_run(connection: Connection, campaign: Unplanned) -> Sequence[Sequence[Any]]:
    """One batch of one: the user who has the sender's address, or `NOBODY` if no user has it."""
    user = find_by_address(connection, campaign.sender)
    user_id = user.user_id if user else NOBODY
    return [(user_id, user_id, 1)]


def _batch(campaign_id: str, number: int, cut: Sequence[Any], due: int) -> dict[str, Any]:
    first_id, last_id, planned = cut
    zero = dict.fromkeys(COUNTERS, 0)
    place = {"campaign_id": campaign_id, "number": number, "first_id": first_id, "last_id": last_id}
    return {
        **place,
        "state": BatchState.WAITING,
        "due_at": due,
        "fence": 0,
        "attempting": [],
        "planned": planned,
        **zero,
    }
