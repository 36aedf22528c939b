"""The outbox: workers claim a batch here, record their progress at checkpoints, and release the batch.

A worker takes a batch by moving its `due_at` to the end of a lease and raising its `fence`. Every later write names
that fence, so a worker that lost the lease can write nothing. A checkpoint is one commit: the outcomes of the messages
just sent and the user ids about to be attempted. After a kill -9 the flight record says whom that leaves uncertain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from sqlalchemy import Connection, bindparam, select

from mailer.audience.overlapping_batches import own
from mailer.delivery import due_batch, ledger, resting, same_refusals, turns
from mailer.delivery.checkpoints import frequency_cap, permission, reach, taking
from mailer.delivery.checkpoints.journaled import journal_sent
from mailer.delivery.checkpoints.recipients import due_items
from mailer.delivery.checkpoints.records import Records
from mailer.delivery.flight.half import new_number
from mailer.delivery.flight.recorder import NOBODY, Recorder, Recorders
from mailer.delivery.flight.settlement import LOST_OUTCOME, STOPPED_WORKER, Left, settled
from mailer.delivery.minutes import RecordedOutcomes, recording
from mailer.delivery.trouble import Trouble, is_the_campaigns
from mailer.delivery.worklist import Checkpoint, Claim, Result, Unclaimable, WorkItem, user_ids
from mailer.interception.rules import EVERYBODY, Interception
from mailer.observer import UNOBSERVED, Observer
from mailer.pacing.admission import Admission
from mailer.settings.per_person import FrequencyCap
from mailer.storage.database import AnyRow, Database
from mailer.storage.dialects import Statement
from mailer.storage.lease import boot_time
from mailer.storage.models import Batch, Campaign, DeliveryStatus
from mailer.storage.notifications import announce_work

_STATE = select(Campaign.state).where(Campaign.id == bindparam("campaign"))
_LOCKED_STATE = Statement(lambda _kind: _STATE.with_for_update(key_share=True))


class Outbox:
    """Batches and deliveries in the database. `lease` is in ms; `observer` is told which outcomes were recorded.

    `recorders` write the flight records. `batch_ended` is called in the transaction that gives a batch back, at a time
    in ms since 1970. `cap` is `MAILER_MAX_PER_PERSON`, `bounces` whether they are read. The others are settings.
    """

    def __init__(
        self,
        db: Database,
        *,
        lease: int,
        uncertain: str = "retry",
        max_failure_rate: float = 1.0,
        suppress_after: int = 0,
        bounces: bool = False,
        same_refusals: int = 0,
        admission: Admission | None = None,
        recorders: Recorders | None = None,
        interception: Interception = EVERYBODY,
        observer: Observer = UNOBSERVED,
        batch_ended: Callable[[Connection, int], None] = lambda *_: None,
        cap: FrequencyCap | None = None,
    ) -> None:
        self._db, self._interception, mine = db, interception, not interception.redirect_to
        self._recording, self._cap = partial(recording, db, observer), cap if mine else None
        self._records = Records(lease, max_failure_rate, suppress_after, about_addresses=mine, bounces=bounces)
        self._uncertain, self._same_refusals, self._batch_ended = uncertain, same_refusals, batch_ended
        self.lease, self._admission, self._recorders = lease, admission or Admission(), recorders or Recorders()

    def claim(self) -> Claim | None:
        """Take the batch whose turn it is; return None if none is due.

        What a dead worker was attempting goes on record. Raises `Unclaimable`.
        """
        recorder = self._recorders.fresh()
        with self._db.read() as connection:
            choices = due_batch.choices(connection, self._db.clock(connection), self._admission)
        for choice in choices:
            try:
                with self._recording() as (connection, outcomes):
                    now = self._db.clock(connection)
                    row = taking.lock(connection, choice, now, self._admission)
                    claim = self._take(connection, row, choice, now, recorder, outcomes) if row else None
            except Exception as error:
                if is_the_campaigns(error):
                    raise Unclaimable(choice.campaign_id) from error
                raise
            if claim:
                recorder.keep()
                return claim
        return None

    def _take(
        self,
        connection: Connection,
        row: taking.Due,
        choice: due_batch.Choice,
        now: int,
        recorder: Recorder,
        outcomes: RecordedOutcomes,
    ) -> Claim | None:
        number = new_number()
        claim = taking.take(connection, row, choice, now, self.lease, self._admission, checkpoint=number)
        if claim is None:
            return None
        nobody = recorder.write(claim, number=number)
        if not row.attempting:
            return claim
        place = (row.campaign_id, row.number, row.fence, row.checkpoint)
        left = Left(STOPPED_WORKER, self._recorders.places_left(*place), nobody)
        theirs = claim if claim.version == 1 else replace(claim, version=0)  # nobody knows which text they had in hand
        return replace(self._settle(connection, theirs, row, now, outcomes, left), version=claim.version)

    def _settle(
        self,
        connection: Connection,
        claim: Claim,
        row: taking.Due | AnyRow,
        now: int,
        outcomes: RecordedOutcomes,
        left: Left,
    ) -> Claim:
        """Record what came of the attempts that were not recorded, as far as it is known; else they are uncertain."""
        claim, results, untried = settled(connection, claim, row, now, left, policy=self._uncertain)
        journal_sent(self._db, claim, results)
        self._records.write(connection, claim, results, left.next, outcomes, now=now, untried=untried)
        return claim

    def turn_is_over(self, claim: Claim) -> bool:
        """Whether the batch should be given back before its end, since another campaign's turn has come."""
        with self._db.read() as connection:
            return due_batch.turn_is_over(connection, claim, self._db.clock(connection), self._admission)

    def others_first(self, claim: Claim | None) -> bool:
        """Whether another worker has a batch that goes before `claim`, or before what would be claimed next (None)."""
        with self._db.read() as connection:
            return due_batch.others_first(connection, claim, self._db.clock(connection), self._admission)

    def work_is_due(self) -> bool:
        """Whether there is something to plan or to deliver."""
        with self._db.read() as connection:
            return due_batch.work_is_due(connection, self._db.clock(connection), self._admission)

    def next_slot(self) -> float | None:
        """The seconds until a batch may be claimed that only waits for a slot of its domain; None: there is none."""
        with self._db.read() as connection:
            return due_batch.next_slot(connection, self._db.clock(connection), self._admission)

    def due_items(self, claim: Claim) -> list[WorkItem]:
        """Return everyone in the batch who is due and not served, by user id; at most one more than has room."""
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
        recorder = self._recorders.mine()
        journal_sent(self._db, claim, results)
        with self._recording() as (connection, outcomes):  # waiting for this may take long: the time is taken after it
            frequency_cap.wait_in_line(connection, claim, self._cap)
            since, now = boot_time(), self._db.clock(connection)
            same_refusals.judge(connection, claim, results, self._same_refusals, now)
            ids = user_ids(ahead)
            may = permission.ask(connection, claim, ahead, ids, now, self._admission)
            may = reach.within(connection, claim, may, results, self._interception)
            may = frequency_cap.within(connection, claim, may, now, self._cap)
            intent = recorder.write(claim, ids if may.items is ahead else user_ids(may.items), len(may.items))
            untried -= may.gone + sum(result.item.status is None for result in may.skipped)
            self._records.write(connection, claim, [*results, *may.skipped], intent, outcomes, now=now, untried=untried)
        recorder.keep()
        return Checkpoint(since, now, may.items, may.running, intent.places)

    def release(self, claim: Claim, results: Sequence[Result], untried: int, trouble: Trouble | None = None) -> int:
        """Commit the last `results` and give the batch back: to be continued, to be retried, or done.

        `trouble` is what ended it early; it opens the transport's circuit breaker or makes the campaign rest. Returns
        how often in a row the campaign has rested; 0: it does not rest. Raises `ledger.LeaseLost`.
        """
        journal_sent(self._db, claim, results)
        with self._recording() as (connection, outcomes):
            now = self._db.clock(connection)
            # batches that end together wait here, so one sees that all have
            [state] = _LOCKED_STATE.row(connection, {"campaign": claim.campaign_id})
            same_refusals.judge(connection, claim, results, self._same_refusals, now)
            self._records.write(connection, claim, results, NOBODY, outcomes, now=now, untried=untried)
            more = bool(untried or (claim.overlaps and self._own(connection, claim, 1)))
            rests = resting.settle(connection, claim, trouble, now, ended=not more)
            skipped = ledger.give_back(connection, claim, state, now, more=more)
            outcomes.add(claim.campaign_id, now, {DeliveryStatus.SKIPPED: skipped})
            turns.settle(connection, claim, now)
            self._batch_ended(connection, now)
        self._recorders.mine().wipe()
        return rests

    def abandon(self, claim: Claim, error: str) -> int:
        """Give the batch back after an unexpected error and have its campaign rest; return how often in a row it has.

        Recipients who were being attempted become uncertain: they may have the message. Raises `ledger.LeaseLost`.
        """
        with self._recording() as (connection, outcomes):
            now = self._db.clock(connection)
            rests = resting.rest(connection, claim.campaign_id, Trouble(error=error), now, tried=claim.campaign_rests)
            row = connection.execute(due_batch.IN_HAND, {"campaign": claim.campaign_id, "number": claim.number}).one()
            self._settle(connection, claim, row, now, outcomes, Left(LOST_OUTCOME))
            [state] = _LOCKED_STATE.row(connection, {"campaign": claim.campaign_id})
            skipped = ledger.give_back(connection, claim, state, now, more=True)
            outcomes.add(claim.campaign_id, now, {DeliveryStatus.SKIPPED: skipped})
        self._recorders.mine().wipe()
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
