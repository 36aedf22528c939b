"""Turns whatever happens: several callers, priorities and workers, in any order of events, on both databases.

Beside the service stands what must be true of it. While an account (a caller with one priority) waits, no other gets
much more of the delivery, at its price, than the accounts may be apart. Whoever has work gets it, and nobody else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, select

from mailer.campaigns import control
from mailer.campaigns.accept import accept
from mailer.campaigns.draft import Draft
from mailer.campaigns.invariants import examine
from mailer.delivery import circuit_breaker
from mailer.delivery.ledger import LeaseLost
from mailer.delivery.trouble import Trouble
from mailer.delivery.turns import COSTS, LEAST, TURN
from mailer.delivery.worklist import Claim
from mailer.errors import InvalidState
from mailer.storage.database import Database
from mailer.storage.models import Base, Batch, BatchState, Campaign, CampaignState, Priority
from tests.drills import rounds
from tests.harness import Harness

CALLERS = ("ann", "bob", "eve")
WORKERS = 3
CAMPAIGNS = 12
LONGEST = 1000  # ms of a checkpoint
APART = TURN * COSTS[Priority.BULK]  # by how much one account may be ahead of another that waits
# a turn ends with the checkpoint in which it should, so each worker may go on for one checkpoint too many
UNFAIR = APART + WORKERS * (TURN + LONGEST) * COSTS[Priority.BULK]

Account = tuple[str, Priority]
seen: Counter[str] = Counter()


def account_of(claim: Claim) -> Account:
    return claim.caller_id, claim.priority


class Turns(RuleBasedStateMachine):
    """Workers that claim, go on, give back and die; callers that post, pause and go on."""

    db: Database

    def __init__(self) -> None:
        super().__init__()
        with self.db.write() as connection:
            for table in reversed(Base.metadata.sorted_tables):
                if table.name != "users":
                    connection.execute(delete(table))
        self.harness = Harness(self.db, batch_size=4, checkpoint=2)
        self.workers: list[Claim | None] = [None] * WORKERS
        self.ids: list[str] = []
        self.passed: dict[Account, Counter[Account]] = {}  # what others got, priced, since this account waits
        self.overtaken: Counter[str] = Counter()  # turns of the account's other campaigns since this one waits

    @initialize(numbers=st.lists(st.integers(1, 3), min_size=len(CALLERS), max_size=len(CALLERS)))
    def start(self, numbers: list[int]) -> None:
        for caller, number in zip(CALLERS, numbers, strict=True):
            for _ in range(number):
                self.accept(caller, Priority.BULK if caller == "ann" else None, dry_run=False)

    @rule(caller=st.sampled_from(CALLERS), priority=st.none() | st.sampled_from(Priority), dry_run=st.booleans())
    def accept(self, caller: str, priority: Priority | None, dry_run: bool) -> None:
        if len(self.ids) < CAMPAIGNS:
            self.harness.now += 1  # ids begin with the time, so their order is the same in every run
            draft = Draft("", "news@example.com", "Hi", "[unsubscribe]", {}, dry_run, priority=priority)
            self.ids.append(accept(self.db, caller, draft).campaign_id)
            self.harness.plan()

    def claim(self, times: int) -> None:
        """Workers that have nothing to do take a batch each, if there is one."""
        for worker in [number for number, claim in enumerate(self.workers) if claim is None][:times]:
            work = self.with_work()
            claim = self.harness.outbox.claim()
            assert (claim.campaign_id in work) if claim else not work
            if claim is None:
                return
            self.workers[worker] = claim
            self.note_claim(claim, work)

    def note_claim(self, claim: Claim, work: dict[str, Account]) -> None:
        self.passed.pop(account_of(claim), None)
        del self.overtaken[claim.campaign_id]
        seen[claim.priority] += 1
        for campaign_id, account in work.items():
            if account == account_of(claim) and campaign_id != claim.campaign_id:
                self.overtaken[campaign_id] += 1

    @rule(workers=st.integers(1, WORKERS), ms=st.sampled_from([1, 25, 300, LONGEST, LONGEST]), times=st.integers(1, 9))
    def work(self, workers: int, ms: int, times: int) -> None:
        """Checkpoints pass. Each worker asks whether its turn is over, and then gives back and claims again."""
        self.claim(workers)
        for _ in range(times):
            self.harness.now += ms
            for worker, claim in enumerate(self.workers):
                if claim and self.harness.outbox.turn_is_over(claim):
                    assert set(self.with_work()) - {claim.campaign_id}
                    seen["given back"] += 1
                    self.give_back(worker)
                    self.claim(1)

    @precondition(lambda self: any(self.workers))
    @rule(
        worker=st.integers(0, WORKERS - 1),
        left=st.sampled_from([1, 1, 1, 0]),
        trouble=st.sampled_from([None, None, None, None, "sender", "transport"]),
    )
    def ends(self, worker: int, left: int, trouble: str | None) -> None:
        """A batch comes to its end, or meets trouble."""
        self.give_back(worker, left, Trouble(**{trouble: "no"}) if trouble else None)

    def give_back(self, worker: int, left: int = 1, trouble: Trouble | None = None) -> None:
        claim, self.workers[worker] = self.workers[worker], None
        if claim is None:
            return
        with suppress(LeaseLost):
            self.harness.outbox.release(claim, [], left, trouble)
        spent = max(self.harness.now - claim.claimed_at, LEAST) * COSTS[claim.priority]
        for others in self.passed.values():
            others[account_of(claim)] += spent

    @precondition(lambda self: any(self.workers))
    @rule(worker=st.integers(0, WORKERS - 1))
    def dies(self, worker: int) -> None:
        """Its batch is free again when its lease has ended."""
        self.workers[worker] = None

    @rule(minutes=st.sampled_from([0.1, 1, 2, 6]))
    def time_passes(self, minutes: float) -> None:
        """Nobody works meanwhile."""
        for worker in range(WORKERS):
            self.give_back(worker)
        self.harness.now += int(minutes * 60_000)

    @precondition(lambda self: self.ids)
    @rule(action=st.sampled_from([control.pause, *[control.resume] * 3, control.cancel]), data=st.data())
    def act(self, action: Callable[..., None], data: st.DataObject) -> None:
        with suppress(InvalidState):
            action(self.db, data.draw(st.sampled_from(self.ids)))

    def with_work(self) -> dict[str, Account]:
        """The campaigns of which a batch may be claimed now, and their accounts, worked out from the rows."""
        now = self.harness.now
        columns = (Campaign.id, Campaign.caller_id, Campaign.priority, Campaign.state, Campaign.due_at)
        query = select(*columns, Batch.state.label("batch"), Batch.due_at.label("batch_due"))
        with self.db.read() as connection:
            breaker = circuit_breaker.tripped(connection)
            rows = connection.execute(query.join(Batch, Batch.campaign_id == Campaign.id)).all()
        if breaker is not None and breaker.retry_at > now:
            return {}
        return {row.id: (row.caller_id, Priority(row.priority)) for row in rows if self.claimable(row, now)}

    def claimable(self, row: Any, now: int) -> bool:
        going = row.state == CampaignState.RUNNING or (row.state == CampaignState.RESTING and row.due_at <= now)
        over = row.state in (CampaignState.CANCELLED, CampaignState.FAILED)
        free = (going and row.batch == BatchState.WAITING) or ((going or over) and row.batch == BatchState.RUNNING)
        return bool(row.batch_due <= now and free)

    @invariant()
    def nobody_is_left_behind(self) -> None:
        work = self.with_work()
        accounts = set(work.values())
        self.passed = {account: self.passed.get(account, Counter()) for account in accounts}
        self.overtaken = Counter({one: self.overtaken[one] for one in work})
        for account, others in self.passed.items():
            unfair = {other: spent for other, spent in others.items() if spent > UNFAIR}
            assert not unfair, f"while {account} waited"
        assert all(times <= CAMPAIGNS * WORKERS for times in self.overtaken.values())

    def teardown(self) -> None:
        """Once nothing is in the way any more, everybody is served."""
        if not hasattr(self, "harness"):
            return
        for campaign_id in self.ids:
            with suppress(InvalidState):
                control.resume(self.db, campaign_id)
        for _ in range(20):
            for worker in range(WORKERS):
                self.give_back(worker)
            self.harness.now += 6 * 60_000
            self.harness.run()
        with self.db.read() as connection:
            left = connection.scalars(select(Campaign.id).where(Campaign.finished_at.is_(None))).all()
        assert left == []
        assert examine(self.db) == []


@pytest.mark.slow
@pytest.mark.drill
def test_everybodys_turn_comes_in_any_order_of_events(
    db: Database, add_users: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    add_users(db, 20)
    Turns.db = db
    seen.clear()
    sqlite = db.engine.dialect.name == "sqlite"
    limits = settings(max_examples=rounds(4 if sqlite else 2, 400), stateful_step_count=50, deadline=None)
    limits = settings(limits, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    run_state_machine_as_test(Turns, settings=limits)
    with capsys.disabled():
        print("\nturns:", ", ".join(f"{what} {count}" for what, count in sorted(seen.items())))
    assert set(seen) == {*Priority, "given back"}
