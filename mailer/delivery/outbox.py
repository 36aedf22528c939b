"""The outbox: workers claim a batch here, record their progress at checkpoints, and release the batch.

A worker takes a batch by moving its `due_at` to the end of a lease and raising its `fence`. Every later write names
that fence, so a worker that lost the lease can write nothing. A checkpoint is one commit: the outcomes of the messages
just sent and the user ids about to be attempted. After a kill -9 the recipients with those ids are uncertain, and no
others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sqlalchemy import Connection, bindparam, select

from mailer.audience.overlapping_batches import own
from mailer.delivery import due_batch, ledger, resting, same_refusals, turns
from mailer.delivery.checkpoints import permission
from mailer.delivery.checkpoints.outcomes import counted
from mailer.delivery.minutes import RecordedOutcomes, recording
from mailer.delivery.retry import uncertain_result
from mailer.delivery.trouble import Trouble, is_the_campaigns
from mailer.delivery.worklist import (
    Checkpoint,
    Claim,
    Result,
    Unclaimable,
    WorkItem,
    address_outcomes,
    due_items,
    items_of,
    user_ids,
)
from mailer.observer import UNOBSERVED, Observer
from mailer.pacing.admission import Admission
from mailer.storage.database import AnyRow, Database
from mailer.storage.dialects import Statement
from mailer.storage.lease import boot_time
from mailer.storage.models import Batch, Campaign, DeliveryStatus
from mailer.storage.notifications import announce_work
from mailer.suppression import refused_addresses

_STATE = select(Campaign.state).where(Campaign.id == bindparam("campaign"))
_LOCKED_STATE = Statement(lambda _kind: _STATE.with_for_update(key_share=True))

NOBODY = user_ids([])
STOPPED_WORKER = "The worker stopped while it was sending this message."
LOST_OUTCOME = "The outcome was lost in an unexpected error."


class Outbox:
    """Batches and deliveries in the database. `lease` is in ms; `observer` is told which outcomes were recorded.

    The other arguments are the settings of that name.
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
        admission: Admission | None = None,
        observer: Observer = UNOBSERVED,
    ) -> None:
        self._db = db
        self._recording = partial(recording, db, observer)
        self._uncertain = uncertain
        self._max_failure_rate = max_failure_rate
        self._suppress_after = suppress_after
        self._same_refusals = same_refusals
        self._admission = admission or Admission()
        self.lease = lease

    def claim(self) -> Claim | None:
        """Take the batch whose turn it is; return None if none is due. Whom a dead worker was attempting is uncertain.

        Raises `Unclaimable`.
        """
        with self._db.read() as connection:
            choices = due_batch.choices(connection, self._db.clock(connection), self._admission)
        for choice in choices:
            try:
                with self._recording() as (connection, outcomes):
                    now = self._db.clock(connection)
                    row = due_batch.lock(connection, choice, now, self._admission)
                    claim = due_batch.take(connection, row, choice, now, self.lease, self._admission) if row else None
                    if row and claim and row.attempting:
                        self._mark_uncertain(connection, claim, row, now, STOPPED_WORKER, outcomes)
            except Exception as error:
                if is_the_campaigns(error):
                    raise Unclaimable(choice.campaign_id) from error
                raise
            if claim is not None:
                return claim
        return None

    def _mark_uncertain(
        self,
        connection: Connection,
        claim: Claim,
        row: due_batch.Due | AnyRow,
        now: int,
        reply: str,
        outcomes: RecordedOutcomes,
    ) -> None:
        """Record deliveries as uncertain whose attempts were not recorded: their messages may have arrived."""
        items = items_of(connection, claim.campaign_id, row.attempting)
        lost = [uncertain_result(item, now, reply, policy=self._uncertain) for item in items]
        untried = row.pending - sum(result.item.status is None for result in lost)
        outcomes.add(claim.campaign_id, now, {DeliveryStatus.UNCERTAIN: len(lost)})
        kept = {"lease": self.lease, "untried": untried, "takeovers": claim.takeovers}
        ledger.record(connection, claim, lost, NOBODY, now=now, **kept)

    def turn_is_over(self, claim: Claim) -> bool:
        """Whether the batch should be given back before its end, since another campaign's turn has come."""
        with self._db.read() as connection:
            if due_batch.alone(connection, claim):
                return False
            return due_batch.turn_is_over(connection, claim, self._db.clock(connection), self._admission)

    def work_is_due(self) -> bool:
        """Whether there is something to plan or to deliver."""
        with self._db.read() as connection:
            return due_batch.work_is_due(connection, self._db.clock(connection), self._admission)

    def next_slot(self) -> float | None:
        """The seconds until a batch may be claimed that only waits for a slot of its domain; None: there is none."""
        with self._db.read() as connection:
            return due_batch.next_slot(connection, self._db.clock(connection), self._admission)

    def due_items(self, claim: Claim) -> list[WorkItem]:
        """Return everyone in the batch who has no final outcome and is due, ordered by user id.

        Where only so many messages may go to the batch's domain, it is one more than they, if there are so many.
        """
        with self._db.read() as connection:
            return self._own(connection, claim, None if claim.room is None else claim.room + 1)

    def _own(self, connection: Connection, claim: Claim, limit: int | None) -> list[WorkItem]:
        mine = own(connection, claim) if claim.overlaps else None
        return due_items(connection, claim, self._db.clock(connection), mine=mine, limit=limit)

    def extend(self, claim: Claim) -> float:
        """Extend the lease, and return a time before it was extended, in seconds of `boot_time`.

        Raises `ledger.LeaseLost`.
        """
        with self._db.write(durable=False) as connection:
            since = boot_time()
            ledger.fenced(connection, claim, due_at=self._db.clock(connection) + self.lease)
        return since

    def verify_intent(self, claim: Claim, intent: Sequence[WorkItem]) -> None:
        """Raise `ledger.LeaseLost` unless the claim holds the batch and `intent` is still what is on record for it."""
        mine = ledger.LEASES.mine((claim.campaign_id, claim.number), claim.fence)
        with self._db.read() as connection:
            attempting = connection.scalar(select(Batch.attempting).where(mine))
        if attempting != [item.recipient.user_id for item in intent]:
            raise ledger.LeaseLost

    def checkpoint(
        self, claim: Claim, results: Sequence[Result], ahead: Sequence[WorkItem], untried: int
    ) -> Checkpoint:
        """Commit `results` and the intent to attempt `ahead`, without those who may not be written to any more.

        `untried` is how many recipients without a record are left, `ahead` among them. When the campaign no longer
        runs or sending is held, nobody is to be attempted. Raises `ledger.LeaseLost`; then nothing was written.
        """
        with self._recording() as (connection, outcomes):  # waiting for this may take long: the time is taken after it
            since, now = boot_time(), self._db.clock(connection)
            same_refusals.judge(connection, claim, results, self._same_refusals)
            ids = user_ids(ahead)
            may = permission.ask(connection, claim, ahead, ids, now, self._admission)
            intent = ids if may.items is ahead else user_ids(may.items)
            untried -= may.gone + sum(result.item.status is None for result in may.skipped)
            self._record(connection, claim, [*results, *may.skipped], intent, outcomes, now=now, untried=untried)
        return Checkpoint(since, now, may.items, may.running)

    def release(self, claim: Claim, results: Sequence[Result], untried: int, trouble: Trouble | None = None) -> int:
        """Commit the last `results` and give the batch back: to be continued, to be retried, or done.

        `trouble` is what ended it early; it opens the transport's circuit breaker or makes the campaign rest. Returns
        how often in a row the campaign has rested; 0: it does not rest. Raises `ledger.LeaseLost`.
        """
        with self._recording() as (connection, outcomes):
            now = self._db.clock(connection)
            # batches that end together wait here, so one sees that all have
            [state] = _LOCKED_STATE.row(connection, {"campaign": claim.campaign_id})
            same_refusals.judge(connection, claim, results, self._same_refusals)
            self._record(connection, claim, results, NOBODY, outcomes, now=now, untried=untried)
            more = bool(untried or (claim.overlaps and self._own(connection, claim, 1)))
            rests = resting.settle(connection, claim, trouble, now, ended=not more)
            skipped = ledger.give_back(connection, claim, state, now, more=more)
            outcomes.add(claim.campaign_id, now, {DeliveryStatus.SKIPPED: skipped})
            turns.settle(connection, claim, now)
        return rests

    def abandon(self, claim: Claim, error: str) -> int:
        """Give the batch back after an unexpected error and have its campaign rest; return how often in a row it has.

        Recipients who were being attempted become uncertain: they may have the message. Raises `ledger.LeaseLost`.
        """
        with self._recording() as (connection, outcomes):
            now = self._db.clock(connection)
            rests = resting.rest(connection, claim.campaign_id, Trouble(error=error), now, tried=claim.campaign_rests)
            row = connection.execute(due_batch.IN_HAND, {"campaign": claim.campaign_id, "number": claim.number}).one()
            self._mark_uncertain(connection, claim, row, now, LOST_OUTCOME, outcomes)
            state = connection.scalar(_STATE, {"campaign": claim.campaign_id})
            skipped = ledger.give_back(connection, claim, state, now, more=True)
            outcomes.add(claim.campaign_id, now, {DeliveryStatus.SKIPPED: skipped})
        return rests

    def rest(self, campaign_id: str, error: str) -> int:
        """Have a campaign rest because its next batch cannot be claimed; return how often in a row it has rested."""
        with self._db.write() as connection:
            now = self._db.clock(connection)
            return resting.rest_unclaimed(connection, campaign_id, error, now, now + self.lease)

    def record_recovery(self, claim: Claim) -> None:
        """Record that a recipient got a reply: close the breaker, and let a campaign that rested go on."""
        with self._db.write() as connection:
            resting.settle(connection, claim, None, self._db.clock(connection), ended=False, answered=True)
            announce_work(connection)

    def _record(
        self,
        connection: Connection,
        claim: Claim,
        results: Sequence[Result],
        intent: str,
        outcomes: RecordedOutcomes,
        *,
        now: int,
        untried: int,
    ) -> None:
        counts = counted(results)
        outcomes.add(claim.campaign_id, now, counts)
        # outcomes show that this process did not die while sending, so the count of those that did begins anew
        kept = {"lease": self.lease, "untried": untried, "takeovers": 0 if results else claim.takeovers}
        ledger.record(connection, claim, results, intent, now=now, **kept)
        if not claim.dry_run:
            said = address_outcomes(results)
            refused_addresses.count(connection, claim.campaign_id, said, now, self._suppress_after)
        if DeliveryStatus.FAILED in counts:
            ledger.pause_if_failing(connection, claim.campaign_id, self._max_failure_rate)
