"""Record as sent what a relay is known to have taken, while nothing is being sent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, and_, select, update

from mailer.audience.overlapping_batches import OVERLAP, own
from mailer.audit.actor import current_actor
from mailer.audit.log import Act, record
from mailer.campaigns.hold import batches_in_hand, current_hold
from mailer.campaigns.invariants import COUNTED
from mailer.delivery import ledger
from mailer.delivery.checkpoints.recipients import due_items, items_of
from mailer.delivery.checkpoints.records import Records
from mailer.delivery.flight.half import new_number
from mailer.delivery.flight.recorder import NOBODY
from mailer.delivery.flight.settlement import STOPPED_WORKER, Left, settled
from mailer.delivery.minutes import RecordedOutcomes, recording
from mailer.delivery.worklist import Claim, Result, WorkItem
from mailer.errors import InvalidState
from mailer.messages.template import delivery_id
from mailer.observer import UNOBSERVED
from mailer.storage.database import AnyRow, Database
from mailer.storage.models import Batch, Campaign, CampaignState, Delivery, DeliveryStatus
from mailer.storage.models.states import UNFINISHED
from mailer.timeline.events import Kind, happened

PROVED = "Taken by the relay, as its log or the journal says."
EVER = 2**53  # ms since 1970; every attempt is due by then
NOT_HELD = "Sending is not held. Say `mailer hold` first, so that nothing goes out meanwhile."
IN_HAND = (
    "Batches are still ending their checkpoint, or the process that held them died within a lease. Try again soon."
)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Of one campaign: how many deliveries were recorded as sent, and how many recipients are still to be served."""

    campaign_id: str
    sent: int
    left: int


class Reconciliation:
    """Goes through the campaigns that have not ended. `records` and `policy` are as the outbox has them.

    `plan` plans whatever campaign waits for it: one that was accepted just before the backup was made has no batches.
    """

    def __init__(self, db: Database, plan: Callable[[], bool], records: Records, policy: str) -> None:
        self._db = db
        self._plan = plan
        self._records = records
        self._policy = policy

    def run(self, proved: Iterable[str]) -> list[Reconciled]:
        """Record each of these deliveries as sent, unless it has a final outcome. Raises `InvalidState` unless held."""
        self._require_rest()
        with self._db.read() as connection:
            facts = select(Campaign.id, Campaign.reason, Campaign.started_at).where(Campaign.state.in_(UNFINISHED))
            campaigns = connection.execute(facts.order_by(Campaign.id)).all()
        wanted: dict[str, set[str]] = {campaign.id: set() for campaign in campaigns}
        for one in proved:
            found = wanted.get(one.partition(".")[0])
            if found is not None:
                found.add(one)
        return [self._campaign(campaign, wanted[campaign.id]) for campaign in campaigns if wanted[campaign.id]]

    def _require_rest(self) -> None:
        with self._db.read() as connection:
            if current_hold(connection) is None:
                raise InvalidState(NOT_HELD)
            if batches_in_hand(connection, self._db.clock(connection)):
                raise InvalidState(IN_HAND)

    def _campaign(self, campaign: AnyRow, proved: Collection[str]) -> Reconciled:
        if campaign.started_at is None:
            self._plan_it(campaign)
        mine = Batch.campaign_id == campaign.id
        with self._db.read() as connection:
            numbers = connection.scalars(select(Batch.number).where(mine).order_by(Batch.number)).all()
        sent = sum(self._batch(campaign.id, number, proved) for number in numbers)
        with self._db.write() as connection:
            rows = connection.execute(select(_PENDING, Batch.deferred).where(mine)).all()
            now = self._db.clock(connection)
            record(connection, now, Act.RECONCILE_CAMPAIGN, campaign.id, sent=sent)
            happened(connection, now, Kind.RECONCILED, campaign.id, sent=sent, by=current_actor().who)
        return Reconciled(campaign.id, sent, sum(row.pending + row.deferred for row in rows))

    def _plan_it(self, campaign: AnyRow) -> None:
        """Have it planned now. While sending is held nobody claims what is planned, so it can be paused again after."""
        self._set(campaign.id, state=CampaignState.ACCEPTED, due_at=0)
        while self._plan():
            pass
        self._set(campaign.id, state=CampaignState.PAUSED, reason=campaign.reason)

    def _set(self, campaign_id: str, **values: Any) -> None:
        going = and_(Campaign.id == campaign_id, Campaign.state.in_(UNFINISHED))
        with self._db.write() as connection:
            connection.execute(update(Campaign).where(going).values(**values))

    def _batch(self, campaign_id: str, number: int, proved: Collection[str]) -> int:
        with recording(self._db, UNOBSERVED) as (connection, outcomes):
            now = self._db.clock(connection)
            row = connection.execute(_batch(campaign_id, number)).one()
            claim = _claim(row)
            lost, untried = self._lost(connection, claim, row, now)
            items = [result.item for result in lost] + _open_items(connection, claim, row.attempting)
            known = [item for item in items if delivery_id(campaign_id, item.recipient.user_id) in proved]
            if known:
                served = {item.recipient.user_id for item in known}
                results = [*map(_sent, known), *(r for r in lost if r.item.recipient.user_id not in served)]
                untried -= sum(item.status is None and item.recipient.user_id not in row.attempting for item in known)
                self._write(connection, claim, results, outcomes, now=now, untried=max(0, untried))
        return len(known)

    def _lost(self, connection: Connection, claim: Claim, row: AnyRow, now: int) -> tuple[Sequence[Result], int]:
        """What becomes of those who were being attempted when the backup was made, and who has no record then."""
        if not row.attempting:
            return [], row.pending
        _, results, untried = settled(connection, claim, row, now, Left(STOPPED_WORKER), policy=self._policy)
        return results, untried

    def _write(
        self,
        connection: Connection,
        claim: Claim,
        results: Sequence[Result],
        outcomes: RecordedOutcomes,
        *,
        now: int,
        untried: int,
    ) -> None:
        place, until = (claim.campaign_id, claim.number), now + self._records.lease
        taken = replace(claim, fence=ledger.take(connection, *place, claim.fence, until, new_number()))
        self._records.write(connection, taken, results, NOBODY, outcomes, now=now, untried=untried)
        ledger.give_back(connection, taken, CampaignState.PAUSED, now, more=untried > 0)


_PENDING = (Batch.planned - COUNTED).label("pending")


def _batch(campaign_id: str, number: int) -> Any:
    columns = (Batch.campaign_id, Batch.number, Batch.fence, Batch.first_id, Batch.last_id, Batch.attempting)
    campaign = (Campaign.dry_run, Campaign.merge_addresses, Campaign.caller_id)
    found = select(
        *columns, Batch.domain, Batch.takeovers, _PENDING, *campaign, OVERLAP.correlate(None).label("overlaps")
    )
    found = found.join(Campaign, Campaign.id == Batch.campaign_id)
    found = found.where(Batch.campaign_id == campaign_id, Batch.number == number).with_for_update(of=Batch)
    return found.params(campaign=campaign_id)


def _claim(row: AnyRow) -> Claim:
    place = (row.campaign_id, row.number, row.fence, row.first_id, row.last_id)
    about = {"caller_id": row.caller_id, "domain": row.domain, "overlaps": row.overlaps, "pending": row.pending}
    return Claim(*place, row.dry_run, half_open=False, merged=row.merge_addresses, **about)


def _open_items(connection: Connection, claim: Claim, attempting: Sequence[str]) -> list[WorkItem]:
    """Everybody in the batch without a final outcome, but for those who were being attempted."""
    mine = own(connection, claim) if claim.overlaps else None
    items = due_items(connection, claim, EVER, mine=mine)
    seen = {*attempting, *(item.recipient.user_id for item in items)}
    in_range = (Delivery.user_id >= claim.first_id, Delivery.user_id <= claim.last_id)
    theirs = and_(Delivery.campaign_id == claim.campaign_id, *in_range)
    uncertain = and_(theirs, Delivery.status == DeliveryStatus.UNCERTAIN, Delivery.batch == claim.number)
    ids = [user_id for user_id in connection.scalars(select(Delivery.user_id).where(uncertain)) if user_id not in seen]
    return [item for item in items if item.recipient.user_id not in attempting] + items_of(
        connection, claim.campaign_id, ids
    )


def _sent(item: WorkItem) -> Result:
    return Result(item, DeliveryStatus.SENT, item.attempts + 1, item.uncertain_attempts, PROVED)
