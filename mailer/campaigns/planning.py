"""Plan a campaign: cut its audience into batches, each of them a range of user ids."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, case, insert, or_, select

from mailer.audience.bounds import bounds_of, objection
from mailer.audience.preview import left_out
from mailer.campaigns import batch_ranges
from mailer.campaigns.batch_ranges import Range
from mailer.campaigns.signing.keys import SigningKeys
from mailer.delivery import resting, turns
from mailer.delivery.due_batch import unplanned
from mailer.delivery.trouble import Trouble, describe, full_traceback
from mailer.directory.users import find_by_address
from mailer.logs.context import bound
from mailer.logs.masking import without_addresses
from mailer.messages.links import NOBODY
from mailer.observer import UNOBSERVED, Observer
from mailer.pacing.domain_slots import DomainSlots
from mailer.storage.database import Database, is_database_trouble
from mailer.storage.lease import Leases
from mailer.storage.models import Batch, BatchState, Campaign, CampaignState, Priority
from mailer.storage.notifications import announce_work
from mailer.timeline.events import Kind, happened

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
    share an address count as one, and this stays so for the whole campaign. Addresses at a domain of `domains` get
    batches of their own. `observer` is told how many recipients a campaign has, and `keys` count them. The audience is
    read outside the write transaction, so that campaigns can be accepted meanwhile. When two planners come to hold the
    same campaign, only the one with the newer fence can write.
    """

    def __init__(
        self,
        db: Database,
        batch_size: int,
        lease: int,
        *,
        merge: bool = False,
        limit: float | None = None,
        domains: DomainSlots | None = None,
        observer: Observer = UNOBSERVED,
        keys: SigningKeys | None = None,
    ) -> None:
        self._db = db
        self._observer = observer
        self._keys = keys
        self._batch_size = batch_size
        self._lease = lease
        self._merge = merge
        self._limit = limit
        self._domains = domains or DomainSlots({})
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
            query = {} if campaign.dry_run else _query(connection, campaign)
            without = None if campaign.dry_run else left_out(connection, query)
        unexpected = objection(bounds_of(query), sum(one.planned for one in ranges))
        with self._db.write() as connection:
            now = self._db.clock(connection)
            state = _state(ranges, unexpected)
            values = {"state": state, "merge_addresses": self._merge, "started_at": now, "errors": 0}
            finished = now if state == CampaignState.COMPLETED else None
            values |= {"finished_at": finished, "priority": _priority(campaign, ranges), "reason": unexpected}
            values |= {} if without is None else {"left_out": without}
            count = sum(one.planned for one in ranges)
            values |= self._keys.planned(connection, count, now) if self._keys else {}
            held = _LEASES.write(connection, (campaign.id,), campaign.fence, values)
            if held:
                _tell(connection, now, campaign, ranges, unexpected)
            if held and ranges:
                self._domains.register(connection, sorted({one.domain for one in ranges if one.domain}))
                connection.execute(insert(Batch), [_batch(campaign.id, n, r, now) for n, r in enumerate(ranges)])
                announce_work(connection)  # for the workers of other processes, which could not plan it
        if held:
            self._observer.planned(count)
            if unexpected is not None:
                log.warning("campaign %s is paused: %s", campaign.id, unexpected)

    def _cut(self, connection: Connection, campaign: Unplanned) -> Sequence[Range]:
        if campaign.dry_run:
            return _dry_run(connection, campaign)
        query, domains = _query(connection, campaign), self._domains.domains
        return batch_ranges.cut(connection, query, self._batch_size, merge=self._merge, domains=domains)


def _state(ranges: Sequence[Range], unexpected: str | None) -> CampaignState:
    """The state of a campaign that was planned: another number than its caller expects is left to a person."""
    if unexpected is not None:
        return CampaignState.PAUSED
    return CampaignState.RUNNING if ranges else CampaignState.COMPLETED


def _tell(
    connection: Connection, now: int, campaign: Unplanned, ranges: Sequence[Range], unexpected: str | None
) -> None:
    happened(connection, now, Kind.PLANNED, campaign.id, recipients=sum(one.planned for one in ranges))
    if unexpected is not None:
        happened(connection, now, Kind.PAUSED, campaign.id, reason=unexpected, limit="minRecipients, maxRecipients")
    elif not ranges:
        happened(connection, now, Kind.COMPLETED, campaign.id)


def _query(connection: Connection, campaign: Unplanned) -> Mapping[str, Any]:
    query: Mapping[str, Any] = connection.execute(select(Campaign.query).where(Campaign.id == campaign.id)).scalar_one()
    return query


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
    """Take the campaign that waits for planning and comes first; None if there is none. `lease` is in ms.

    Of several callers, it is one of who has had least of the delivery, so that one with many does not hold up the rest.
    """
    first = select(Campaign.id, Campaign.fence, Campaign.dry_run, Campaign.sender, Campaign.priority)
    first = first.order_by(_BEHIND, turns.SPENT, Campaign.due_at, Campaign.id).limit(1)
    first = first.with_for_update(of=Campaign, skip_locked=True)
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


def _priority(campaign: Unplanned, ranges: Sequence[Range]) -> str:
    """The priority of a campaign with these batches: as its caller asked, else by its size. A dry run is urgent."""
    if campaign.dry_run:
        return Priority.URGENT
    small = sum(one.planned for one in ranges) <= SMALL
    return campaign.priority or (Priority.NORMAL if small else Priority.BULK)


def _dry_run(connection: Connection, campaign: Unplanned) -> Sequence[Range]:
    """A batch of one for each address, which is the sender's unless others are named: the user who has it.

    If no user has it, it is `NOBODY`, with the batch's number from the second on, since each has an id of its own.
    """
    named = connection.scalar(select(Campaign.test_recipients).where(Campaign.id == campaign.id))
    users = [find_by_address(connection, address) for address in named or [campaign.sender]]
    ids = [user.user_id if user else f"{NOBODY}{number or ''}" for number, user in enumerate(users)]
    return [Range(user_id, user_id, 1) for user_id in ids]


def _batch(campaign_id: str, number: int, cut: Range, due: int) -> dict[str, Any]:
    zero = dict.fromkeys(COUNTERS, 0)
    place = {"campaign_id": campaign_id, "number": number, "first_id": cut.first_id, "last_id": cut.last_id}
    return {
        **place,
        "domain": cut.domain,
        "state": BatchState.WAITING,
        "due_at": due,
        "fence": 0,
        "attempting": [],
        "planned": cut.planned,
        **zero,
    }
