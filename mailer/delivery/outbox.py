"""The outbox: claim a batch, checkpoint it, release it. The only writer of batch and delivery state.

A batch is taken by pushing its `due_at` to the end of a lease and raising its `fence`; every later write names that
fence, so whoever lost the lease can write nothing. A checkpoint is one commit: the outcomes of the messages just
sent and the user ids about to be attempted. After a kill -9 those ids, and no others, are uncertain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import BigInteger, Boolean, Connection, Select, and_, bindparam, literal, or_, select, update

from mailer.delivery import circuit_breaker, ledger, resting, same_refusals
from mailer.delivery.retry import uncertain_again
from mailer.delivery.trouble import Trouble
from mailer.delivery.worklist import Claim, Result, WorkItem, address_outcomes, due_items, items_of, still_eligible
from mailer.storage.database import AnyRow, Database
from mailer.storage.machine_clock import boot_time
from mailer.storage.models import Batch, BatchState, Campaign, CampaignState, DeliveryStatus
from mailer.suppression import refused_addresses

PENDING = Batch.planned - sum(ledger.COUNTERS.values(), start=literal(0))
CLAIMED = (
    *(Batch.campaign_id, Batch.number, Batch.fence, Batch.first_id, Batch.last_id, Batch.attempting),
    *(PENDING.label("pending"), Batch.takeovers, Campaign.dry_run, Campaign.merge_addresses),
    *(Campaign.state, Campaign.errors),
)
STOPPED = (CampaignState.CANCELLED, CampaignState.FAILED)


def _due_batch(*columns: Any) -> Select[*tuple[Any, ...]]:
    left_over = and_(Campaign.state.in_(STOPPED), Batch.state == BatchState.RUNNING)
    now = bindparam("now", type_=BigInteger)
    # what a dead worker left is still recorded
    wanted = or_(Campaign.state == CampaignState.RUNNING, resting.due(now), left_over)
    states = Batch.state.in_([BatchState.WAITING, BatchState.RUNNING])
    due = and_(states, Batch.due_at <= now, wanted, bindparam("may_send", type_=Boolean))
    query = select(*columns).join(Campaign, Campaign.id == Batch.campaign_id).where(due)
    return query.order_by(Batch.due_at, Batch.campaign_id, Batch.number).limit(1)


# built once: every batch or checkpoint runs them
_DUE = _due_batch(*CLAIMED)
_DUE_LOCKED = _DUE.with_for_update(of=Batch, skip_locked=True)
_WHOSE = _due_batch(Batch.campaign_id)
_STATE = select(Campaign.state).where(Campaign.id == bindparam("campaign"))

STOPPED_WORKER = "The worker stopped while it was sending this message."
LOST_OUTCOME = "The outcome was lost in an unexpected error."


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the database said at a checkpoint: the time in ms, who may be attempted, whether the campaign still runs.

    The lease began at `since` (`boot_time`), or later.
    """

    since: float
    now: int
    items: Sequence[WorkItem]
    running: bool


class Outbox:
    """Batches and deliveries on record. `lease` in milliseconds; `uncertain` is `retry` or `hold`.

    `suppress_after` so many campaigns that refused it, an address is not written to; 0: never. A campaign pauses when
    most of its last `same_refusals` refusals that are not about addresses say the same; 0: never.
    """

    def __init__(
        self,
        db: Database,
        *,
        lease: int,
        uncertain: str = "retry",
        max_failure_rate: float = 1.0,
        suppress_after: int = 0,
        same_refusals: int = 0,
    ) -> None:
        self._db = db
        self._uncertain = uncertain
        self._max_failure_rate = max_failure_rate
        self._suppress_after = suppress_after
        self._same_refusals = same_refusals
        self.lease = lease

    def claim(self) -> Claim | None:
        """Take the batch that is due first, or None. What a dead worker was attempting becomes `uncertain`."""
        with self._db.read() as connection:
            if connection.execute(_DUE, self._due_parameters(connection)).first() is None:
                return None
        with self._db.write() as connection:
            row = connection.execute(_DUE_LOCKED, self._due_parameters(connection)).one_or_none()
            return self._take(connection, row) if row else None

    def _due_parameters(self, connection: Connection) -> dict[str, Any]:
        now = self._db.clock(connection)
        breaker = circuit_breaker.tripped(connection)
        return {"now": now, "may_send": breaker is None or not breaker.is_open(now)}

    def campaign_due(self) -> str | None:
        """The campaign whose batch `claim` would take; for when that fails in a way that it must not."""
        with self._db.read() as connection:
            return str(found) if (found := connection.scalar(_WHOSE, self._due_parameters(connection))) else None

    def _take(self, connection: Connection, row: AnyRow) -> Claim | None:
        now = self._db.clock(connection)
        rests = row.state == CampaignState.RESTING
        if rests and not resting.reserve_try(connection, row.campaign_id, now, now + self.lease):
            return None
        half_open = circuit_breaker.tripped(connection) is not None
        if half_open:
            circuit_breaker.reserve(connection, now + self.lease)
        place = (row.campaign_id, row.number, row.fence, row.first_id, row.last_id)
        takeovers = row.takeovers + 1 if row.attempting else row.takeovers
        claim = Claim(*place, row.dry_run, half_open, row.merge_addresses, rests, row.errors, takeovers)
        ledger.fenced(connection, claim, state=BatchState.RUNNING, fence=claim.fence + 1)
        claim = replace(claim, fence=claim.fence + 1)
        self._mark_uncertain(connection, claim, row.attempting, row.pending, now, STOPPED_WORKER)
        return claim

    def _mark_uncertain(
        self, connection: Connection, claim: Claim, user_ids: Sequence[str], pending: int, now: int, reply: str
    ) -> None:
        """What was being attempted may have arrived; nobody knows."""
        lost = [self._uncertain_result(item, now, reply) for item in items_of(connection, claim.campaign_id, user_ids)]
        untried = pending - sum(result.item.status is None for result in lost)
        numbers = {"due_at": now + self.lease, "untried": untried, "takeovers": claim.takeovers}
        ledger.record(connection, claim, lost, [], now=now, **numbers)

    def _uncertain_result(self, item: WorkItem, now: int, reply: str) -> Result:
        uncertain_attempts = item.uncertain_attempts + 1
        due = uncertain_again(uncertain_attempts, now, policy=self._uncertain)
        return Result(item, DeliveryStatus.UNCERTAIN, item.attempts, uncertain_attempts, reply, due)

    def due_items(self, claim: Claim) -> list[WorkItem]:
        """Everyone of the batch who has no final outcome and is due, by id."""
        with self._db.read() as connection:
            return due_items(connection, claim, self._db.clock(connection))

    def extend(self, claim: Claim) -> float:
        """Hold the batch for another lease; `ledger.LeaseLost` when it is somebody else's by now."""
        with self._db.write(durable=False) as connection:
            since = boot_time()
            ledger.fenced(connection, claim, due_at=self._db.clock(connection) + self.lease)
        return since

    def verify_intent(self, claim: Claim, intent: Sequence[WorkItem]) -> None:
        """Raise `ledger.LeaseLost` unless the batch is held and `intent` is still the newest thing written to it."""
        mine = (Batch.campaign_id == claim.campaign_id, Batch.number == claim.number, Batch.fence == claim.fence)
        with self._db.read() as connection:
            attempting = connection.scalar(select(Batch.attempting).where(*mine))
        if attempting != [item.recipient.user_id for item in intent]:
            raise ledger.LeaseLost

    def checkpoint(
        self, claim: Claim, results: Sequence[Result], ahead: Sequence[WorkItem], untried: int
    ) -> Checkpoint:
        """Commit `results` and the intent to attempt `ahead`, less who unsubscribed meanwhile.

        `untried` is how many of `ahead` and after have no record. When the campaign no longer runs nobody is to be
        attempted. Raises `ledger.LeaseLost`, with nothing written.
        """
        with self._db.write() as connection:  # which may have taken long
            since, now = boot_time(), self._db.clock(connection)
            self._judge_campaign(connection, claim, results)
            state = connection.scalar(_STATE, {"campaign": claim.campaign_id})
            running = state == CampaignState.RUNNING or (claim.campaign_rests and state == CampaignState.RESTING)
            items, skipped = still_eligible(connection, claim, ahead) if running else ([], [])
            untried -= sum(result.item.status is None for result in skipped)
            intent = [item.recipient.user_id for item in items]
            self._record(connection, claim, [*results, *skipped], intent, now=now, untried=untried)
        return Checkpoint(since, now, items, running)

    def release(self, claim: Claim, results: Sequence[Result], untried: int, trouble: Trouble | None = None) -> int:
        """Commit the last `results` and give the batch back: to be gone on with, to be retried, or done.

        `trouble` is why it ended early, if it did: the transport's circuit breaker then opens, or the campaign rests
        alone; how often it did so in a row is returned. Raises `ledger.LeaseLost`.
        """
        with self._db.write() as connection:
            now = self._db.clock(connection)
            lock = select(Campaign.state).where(Campaign.id == claim.campaign_id).with_for_update()
            state = connection.scalar(lock)  # batches that end at the same moment queue here, so one sees the last end
            self._judge_campaign(connection, claim, results)
            self._record(connection, claim, results, [], now=now, untried=untried)
            rests = resting.settle(connection, claim, trouble, now, ended=not untried)
            ledger.give_back(connection, claim, state, now, more=bool(untried))
        return rests

    def abandon(self, claim: Claim, error: str) -> int:
        """Give the batch back after an unexpected error, and have its campaign rest; return how often it did so.

        Whoever was being attempted may have the message. Raises `ledger.LeaseLost`.
        """
        mine = (Batch.campaign_id == claim.campaign_id, Batch.number == claim.number)
        held = select(Batch.attempting, PENDING.label("pending")).where(*mine)
        with self._db.write() as connection:
            now = self._db.clock(connection)
            rests = resting.rest(connection, claim.campaign_id, Trouble(error=error), now, tried=claim.campaign_rests)
            row = connection.execute(held).one()
            self._mark_uncertain(connection, claim, row.attempting, row.pending, now, LOST_OUTCOME)
            state = connection.scalar(_STATE, {"campaign": claim.campaign_id})
            ledger.give_back(connection, claim, state, now, more=True)
        return rests

    def rest(self, campaign_id: str, error: str) -> int:
        """Have a campaign rest of which no batch could even be claimed; return how often it did so."""
        with self._db.write() as connection:
            now = self._db.clock(connection)
            behind = update(Batch).where(Batch.campaign_id == campaign_id, Batch.due_at <= now)
            rests = resting.rest(connection, campaign_id, Trouble(error=error), now, tried=True)
            connection.execute(behind.values(due_at=now + self.lease))  # whatever its state: others have their turn
        return rests

    def record_recovery(self, claim: Claim) -> None:
        """Somebody got an answer: the transport works, and the campaign's sender is taken."""
        with self._db.write() as connection:
            if claim.campaign_rests:
                resting.end(connection, claim.campaign_id, answered=True, ended=False)
            if claim.half_open:
                circuit_breaker.close(connection)

    def _judge_campaign(self, connection: Connection, claim: Claim, results: Sequence[Result]) -> None:
        """Look for one answer that everybody gets, before the next messages are decided on."""
        if any(result.status is DeliveryStatus.FAILED for result in results):  # the campaign's row before the batch's
            connection.execute(_STATE.with_for_update(), {"campaign": claim.campaign_id})
            same_refusals.count(connection, claim, results, self._same_refusals)

    def _record(
        self, connection: Connection, claim: Claim, results: Sequence[Result], intent: Sequence[str], **numbers: int
    ) -> None:
        numbers["takeovers"] = 0 if results else claim.takeovers  # who has outcomes has got on
        ledger.record(connection, claim, results, intent, due_at=numbers["now"] + self.lease, **numbers)
        if not claim.dry_run:
            outcomes = address_outcomes(results)
            refused_addresses.count(connection, claim.campaign_id, outcomes, numbers["now"], self._suppress_after)
        if any(result.status is DeliveryStatus.FAILED for result in results):
            ledger.pause_if_failing(connection, claim.campaign_id, self._max_failure_rate)
