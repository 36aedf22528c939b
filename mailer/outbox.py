"""The outbox: claim a batch, checkpoint it, release it. The only writer of batch and delivery state.

A batch is taken by pushing its `due_at` to the end of a lease and raising its `fence`; every later write names that
fence, so whoever lost the lease can write nothing. A checkpoint is one commit: the outcomes of the messages just
sent and the user ids about to be attempted. After a kill -9 those ids, and no others, are uncertain.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Boolean, Connection, Select, and_, bindparam, literal, or_, select

from mailer import blockage, ledger, refusals
from mailer.database import AnyRow, Database
from mailer.models import Batch, BatchState, Campaign, CampaignState, DeliveryStatus
from mailer.retry import uncertain_again
from mailer.worklist import Claim, Entry, Result, entries_of, open_entries, still_eligible

PENDING = Batch.planned - sum(ledger.COUNTERS.values(), start=literal(0))
CLAIMED = (
    *(Batch.campaign_id, Batch.number, Batch.fence, Batch.first_id, Batch.last_id, Batch.attempting),
    *(PENDING.label("pending"), Campaign.dry_run, Campaign.merge_addresses),
)


def _due_batch() -> Select[*tuple[Any, ...]]:
    left_over = and_(Campaign.state == CampaignState.CANCELLED, Batch.state == BatchState.RUNNING)
    wanted = or_(Campaign.state == CampaignState.RUNNING, left_over)  # what a dead worker left is still recorded
    states = Batch.state.in_([BatchState.WAITING, BatchState.RUNNING])
    due = and_(states, Batch.due_at <= bindparam("now"), wanted, bindparam("free", type_=Boolean))
    query = select(*CLAIMED).join(Campaign, Campaign.id == Batch.campaign_id).where(due)
    return query.order_by(Batch.due_at, Batch.campaign_id, Batch.number).limit(1)


# built once: every batch or checkpoint runs them
_DUE = _due_batch()
_DUE_LOCKED = _DUE.with_for_update(of=Batch, skip_locked=True)
_STATE = select(Campaign.state).where(Campaign.id == bindparam("campaign"))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the database said at a checkpoint: the time in ms, who may be attempted, whether the campaign still runs.

    The lease began at `since` (`boot_time`), or later.
    """

    since: float
    now: int
    entries: Sequence[Entry]
    running: bool


class Outbox:
    """Batches and deliveries on record. `lease` in milliseconds; `uncertain` is `retry` or `hold`.

    `suppress_after` so many campaigns that refused it, an address is not written to; 0: never.
    """

    def __init__(
        self,
        db: Database,
        *,
        lease: int,
        uncertain: str = "retry",
        max_failure_rate: float = 1.0,
        suppress_after: int = 0,
    ) -> None:
        self._db = db
        self._uncertain = uncertain
        self._max_failure_rate = max_failure_rate
        self._suppress_after = suppress_after
        self.lease = lease

    def claim(self) -> Claim | None:
        """Take the batch that is due first, or None. What a dead worker was attempting becomes `uncertain`."""
        with self._db.read() as connection:
            if connection.execute(_DUE, self._now_and_free(connection)).first() is None:
                return None
        with self._db.write() as connection:
            row = connection.execute(_DUE_LOCKED, self._now_and_free(connection)).one_or_none()
            return self._take(connection, row) if row else None

    def _now_and_free(self, connection: Connection) -> dict[str, Any]:
        now = self._db.clock(connection)
        trouble = blockage.current(connection)
        return {"now": now, "free": trouble is None or trouble.blocked_until <= now}

    def _take(self, connection: Connection, row: AnyRow) -> Claim:
        now = self._db.clock(connection)
        probe = blockage.current(connection) is not None
        if probe:
            blockage.reserve_probe(connection, now + self.lease)
        place = (row.campaign_id, row.number, row.fence, row.first_id, row.last_id)
        claim = Claim(*place, row.dry_run, probe, row.merge_addresses)
        ledger.fenced(connection, claim, state=BatchState.RUNNING, fence=claim.fence + 1)
        claim = replace(claim, fence=claim.fence + 1)
        lost = [self._doubt(entry, now) for entry in entries_of(connection, claim.campaign_id, row.attempting)]
        untried = row.pending - sum(result.entry.status is None for result in lost)
        ledger.record(connection, claim, lost, [], now=now, due_at=now + self.lease, untried=untried)
        return claim

    def _doubt(self, entry: Entry, now: int) -> Result:
        doubts = entry.doubts + 1
        due = uncertain_again(doubts, now, policy=self._uncertain)
        reply = "The worker stopped while it was sending this message."
        return Result(entry, DeliveryStatus.UNCERTAIN, entry.attempts, doubts, reply, due)

    def campaign(self, campaign_id: str) -> AnyRow:
        """What a campaign's messages are compiled from."""
        columns = (Campaign.id, Campaign.sender_name, Campaign.sender, Campaign.subject, Campaign.body)
        with self._db.read() as connection:
            return connection.execute(select(*columns).where(Campaign.id == campaign_id)).one()

    def open_entries(self, claim: Claim) -> list[Entry]:
        """Everyone of the batch who has no final outcome and is due, by id."""
        with self._db.read() as connection:
            return open_entries(connection, claim, self._db.clock(connection))

    def extend(self, claim: Claim) -> float:
        """Hold the batch for another lease; `ledger.LeaseLost` when it is somebody else's by now."""
        with self._db.write(durable=False) as connection:
            since = boot_time()
            ledger.fenced(connection, claim, due_at=self._db.clock(connection) + self.lease)
        return since

    def verify_intent(self, claim: Claim, intent: Sequence[Entry]) -> None:
        """Raise `ledger.LeaseLost` unless the batch is held and `intent` is still the newest thing written to it."""
        mine = (Batch.campaign_id == claim.campaign_id, Batch.number == claim.number, Batch.fence == claim.fence)
        with self._db.read() as connection:
            attempting = connection.scalar(select(Batch.attempting).where(*mine))
        if attempting != [entry.recipient.user_id for entry in intent]:
            raise ledger.LeaseLost

    def checkpoint(self, claim: Claim, results: Sequence[Result], ahead: Sequence[Entry], untried: int) -> Checkpoint:
        """Commit `results` and the intent to attempt `ahead`, less who unsubscribed meanwhile.

        `untried` is how many of `ahead` and after have no record. When the campaign no longer runs nobody is to be
        attempted. Raises `ledger.LeaseLost`, with nothing written.
        """
        with self._db.write() as connection:  # which may have taken long
            since, now = boot_time(), self._db.clock(connection)
            state = connection.scalar(_STATE, {"campaign": claim.campaign_id})
            running = state == CampaignState.RUNNING
            entries, skipped = still_eligible(connection, claim, ahead) if running else ([], [])
            untried -= sum(result.entry.status is None for result in skipped)
            intent = [entry.recipient.user_id for entry in entries]
            self._record(connection, claim, [*results, *skipped], intent, now=now, untried=untried)
        return Checkpoint(since, now, entries, running)

    def release(self, claim: Claim, results: Sequence[Result], untried: int, trouble: str | None = None) -> None:
        """Commit the last `results` and give the batch back: to be gone on with, to be retried, or done.

        `trouble` is why the transport failed, if it did: it is then blocked for everybody. Raises `ledger.LeaseLost`.
        """
        with self._db.write() as connection:
            now = self._db.clock(connection)
            lock = select(Campaign.state).where(Campaign.id == claim.campaign_id).with_for_update()
            state = connection.scalar(lock)  # batches that end at the same moment queue here, so one sees the last end
            self._record(connection, claim, results, [], now=now, untried=untried)
            if trouble is not None:
                blockage.block(connection, trouble, now, probe=claim.probe)
            elif claim.probe:
                blockage.lift(connection)
            due = None if state == CampaignState.CANCELLED else now if untried else ledger.next_due(connection, claim)
            if due is not None:
                ledger.fenced(connection, claim, state=BatchState.WAITING, due_at=due)
                return
            if state == CampaignState.CANCELLED:
                ledger.end_open(connection, claim, now)
            ledger.fenced(connection, claim, state=BatchState.DONE)
            ledger.complete_campaign(connection, claim.campaign_id, now)

    def lift_blockage(self) -> None:
        """The transport answered a probe."""
        with self._db.write() as connection:
            blockage.lift(connection)

    def _record(
        self, connection: Connection, claim: Claim, results: Sequence[Result], intent: Sequence[str], **numbers: int
    ) -> None:
        ledger.record(connection, claim, results, intent, due_at=numbers["now"] + self.lease, **numbers)
        refusals.count(connection, claim, results, numbers["now"], self._suppress_after)
        if any(result.status is DeliveryStatus.FAILED for result in results):
            ledger.pause_if_failing(connection, claim.campaign_id, self._max_failure_rate)


def boot_time() -> float:
    """Seconds by this machine's clock, which goes on while the process is stopped or the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
