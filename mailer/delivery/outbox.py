"""The outbox: workers claim a batch here, record their progress at checkpoints, and release the batch.

A worker takes a batch by moving its `due_at` to the end of a lease and raising its `fence`. Every later write names
that fence, so a worker that lost the lease can write nothing. A checkpoint is one commit: the outcomes of the messages
just sent and the user ids about to be attempted. After a kill -9 the recipients with those ids are uncertain, and no
others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

from sqlalchemy import Connection, bindparam, select, update

from mailer.delivery import circuit_breaker, due_batch, ledger, resting, same_refusals, turns
from mailer.delivery.minutes import RecordedOutcomes, recording
from mailer.delivery.retry import uncertain_again
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
    still_eligible,
)
from mailer.observer import UNOBSERVED, Observer
from mailer.storage.database import AnyRow, Database
from mailer.storage.lease import boot_time
from mailer.storage.models import Batch, BatchState, Campaign, CampaignState, DeliveryStatus, Priority
from mailer.storage.notifications import announce_work
from mailer.suppression import refused_addresses

# built once: every checkpoint runs it
_STATE = select(Campaign.state).where(Campaign.id == bindparam("campaign"))

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
        observer: Observer = UNOBSERVED,
    ) -> None:
        self._db = db
        self._recording = partial(recording, db, observer)
        self._uncertain = uncertain
        self._max_failure_rate = max_failure_rate
        self._suppress_after = suppress_after
        self._same_refusals = same_refusals
        self.lease = lease

    def claim(self) -> Claim | None:
        """Take the batch whose turn it is; return None if none is due. Whom a dead worker was attempting is uncertain.

        Raises `Unclaimable`.
        """
        with self._db.read() as connection:
            choices = due_batch.choices(connection, self._db.clock(connection))
        for choice in choices:
            try:
                with self._recording() as (connection, outcomes):
                    now = self._db.clock(connection)
                    row = due_batch.lock(connection, choice, now)
                    claim = self._take(connection, row, choice.base, now, outcomes) if row else None
            except Exception as error:
                if is_the_campaigns(error):
                    raise Unclaimable(choice.campaign_id) from error
                raise
            if claim is not None:
                return claim
        return None

    def _take(
        self, connection: Connection, row: AnyRow, base: int, now: int, outcomes: RecordedOutcomes
    ) -> Claim | None:
        rests = row.state == CampaignState.RESTING
        if rests and not resting.reserve_try(connection, row.campaign_id, now, now + self.lease):
            return None
        half_open = circuit_breaker.tripped(connection) is not None
        if half_open:
            circuit_breaker.reserve(connection, now + self.lease)
        key = (row.campaign_id, row.number)
        fence = ledger.LEASES.take(connection, key, row.fence, now + self.lease, state=BatchState.RUNNING)
        takeovers = row.takeovers + 1 if row.attempting else row.takeovers
        priority = Priority(row.priority)
        turns.pay(connection, row.caller_id, priority, base)
        place = (*key, fence, row.first_id, row.last_id)
        state = (row.dry_run, half_open, row.merge_addresses, rests, row.errors, takeovers)
        claim = Claim(*place, *state, row.caller_id, priority, now)
        self._mark_uncertain(connection, claim, row, now, STOPPED_WORKER, outcomes)
        return claim

    def _mark_uncertain(
        self, connection: Connection, claim: Claim, row: AnyRow, now: int, reply: str, outcomes: RecordedOutcomes
    ) -> None:
        """Record deliveries as uncertain whose attempts were not recorded: their messages may have arrived."""
        items = items_of(connection, claim.campaign_id, row.attempting)
        lost = [self._uncertain_result(item, now, reply) for item in items]
        untried = row.pending - sum(result.item.status is None for result in lost)
        outcomes.add(claim.campaign_id, now, {DeliveryStatus.UNCERTAIN: len(lost)})
        kept = {"lease": self.lease, "untried": untried, "takeovers": claim.takeovers}
        ledger.record(connection, claim, lost, [], now=now, **kept)

    def _uncertain_result(self, item: WorkItem, now: int, reply: str) -> Result:
        uncertain_attempts = item.uncertain_attempts + 1
        due = uncertain_again(uncertain_attempts, now, policy=self._uncertain)
        return Result(item, DeliveryStatus.UNCERTAIN, item.attempts, uncertain_attempts, reply, due)

    def turn_is_over(self, claim: Claim) -> bool:
        """Whether the batch should be given back before its end, since another campaign's turn has come."""
        with self._db.read() as connection:
            return due_batch.turn_is_over(connection, claim, self._db.clock(connection))

    def due_items(self, claim: Claim) -> list[WorkItem]:
        """Return everyone in the batch who has no final outcome and is due, ordered by user id."""
        with self._db.read() as connection:
            return due_items(connection, claim, self._db.clock(connection))

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
        runs, nobody is to be attempted. Raises `ledger.LeaseLost`; then nothing was written.
        """
        with self._recording() as (connection, outcomes):  # waiting for this may take long: the time is taken after it
            since, now = boot_time(), self._db.clock(connection)
            same_refusals.judge(connection, claim, results, self._same_refusals)
            state = connection.scalar(_STATE, {"campaign": claim.campaign_id})
            running = state == CampaignState.RUNNING or (claim.campaign_rests and state == CampaignState.RESTING)
            items, skipped = still_eligible(connection, claim, ahead) if running else ([], [])
            untried -= sum(result.item.status is None for result in skipped)
            intent = [item.recipient.user_id for item in items]
            self._record(connection, claim, [*results, *skipped], intent, outcomes, now=now, untried=untried)
        return Checkpoint(since, now, items, running)

    def release(self, claim: Claim, results: Sequence[Result], untried: int, trouble: Trouble | None = None) -> int:
        """Commit the last `results` and give the batch back: to be continued, to be retried, or done.

        `trouble` is what ended it early; it opens the transport's circuit breaker or makes the campaign rest. Returns
        how often in a row the campaign has rested; 0: it does not rest. Raises `ledger.LeaseLost`.
        """
        with self._recording() as (connection, outcomes):
            now = self._db.clock(connection)
            lock = select(Campaign.state).where(Campaign.id == claim.campaign_id).with_for_update(key_share=True)
            state = connection.scalar(lock)  # batches that end together wait here, so one sees that all have
            same_refusals.judge(connection, claim, results, self._same_refusals)
            self._record(connection, claim, results, [], outcomes, now=now, untried=untried)
            rests = resting.settle(connection, claim, trouble, now, ended=not untried)
            skipped = ledger.give_back(connection, claim, state, now, more=bool(untried))
            outcomes.add(claim.campaign_id, now, {DeliveryStatus.SKIPPED: skipped})
            turns.settle(connection, claim, now)
        return rests

    def abandon(self, claim: Claim, error: str) -> int:
        """Give the batch back after an unexpected error and have its campaign rest; return how often in a row it has.

        Recipients who were being attempted become uncertain: they may have the message. Raises `ledger.LeaseLost`.
        """
        mine = (Batch.campaign_id == claim.campaign_id, Batch.number == claim.number)
        held = select(Batch.attempting, due_batch.PENDING.label("pending")).where(*mine)
        with self._recording() as (connection, outcomes):
            now = self._db.clock(connection)
            rests = resting.rest(connection, claim.campaign_id, Trouble(error=error), now, tried=claim.campaign_rests)
            row = connection.execute(held).one()
            self._mark_uncertain(connection, claim, row, now, LOST_OUTCOME, outcomes)
            state = connection.scalar(_STATE, {"campaign": claim.campaign_id})
            skipped = ledger.give_back(connection, claim, state, now, more=True)
            outcomes.add(claim.campaign_id, now, {DeliveryStatus.SKIPPED: skipped})
        return rests

    def rest(self, campaign_id: str, error: str) -> int:
        """Have a campaign rest because its next batch cannot be claimed; return how often in a row it has rested."""
        with self._db.write() as connection:
            now = self._db.clock(connection)
            behind = update(Batch).where(Batch.campaign_id == campaign_id, Batch.due_at <= now)
            rests = resting.rest(connection, campaign_id, Trouble(error=error), now, tried=True)
            connection.execute(behind.values(due_at=now + self.lease))  # in any case, so that others get their turn
        return rests

    def record_recovery(self, claim: Claim) -> None:
        """Record that a recipient got a reply: close the breaker, and let a campaign that rested go on."""
        with self._db.write() as connection:
            if claim.campaign_rests:
                resting.end(connection, claim.campaign_id, answered=True, ended=False)
            if claim.half_open:
                circuit_breaker.close(connection)
            announce_work(connection)

    def _record(
        self,
        connection: Connection,
        claim: Claim,
        results: Sequence[Result],
        intent: Sequence[str],
        outcomes: RecordedOutcomes,
        *,
        now: int,
        untried: int,
    ) -> None:
        outcomes.add(claim.campaign_id, now, Counter(result.status for result in results))
        # outcomes show that this process did not die while sending, so the count of those that did begins anew
        kept = {"lease": self.lease, "untried": untried, "takeovers": 0 if results else claim.takeovers}
        ledger.record(connection, claim, results, intent, now=now, **kept)
        if not claim.dry_run:
            said = address_outcomes(results)
            refused_addresses.count(connection, claim.campaign_id, said, now, self._suppress_after)
        if any(result.status is DeliveryStatus.FAILED for result in results):
            ledger.pause_if_failing(connection, claim.campaign_id, self._max_failure_rate)
