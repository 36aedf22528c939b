"""Any order of events, by hypothesis: workers that die, freeze and wake, people, a failing transport and the clock.

After every step the records agree with each other and with what arrived. How often each state was seen is printed; that
each can be entered at all is a test.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from pathlib import Path
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
from sqlalchemy import insert, select, text, update

from mailer.campaigns import control, hold
from mailer.campaigns.invariants import examine
from mailer.campaigns.progress import CANCELLING, progress
from mailer.campaigns.stops import BLOCKED, HELD
from mailer.delivery.ledger import LeaseLost
from mailer.delivery.minutes import minutes
from mailer.delivery.outbox import Checkpoint
from mailer.delivery.worklist import Claim, Result
from mailer.errors import InvalidState
from mailer.messages.template import delivery_id
from mailer.selector import database_at
from mailer.storage.database import Database
from mailer.storage.models import Batch, Campaign, CampaignState, Delivery, DeliveryStatus, User
from tests.conftest import user_row
from tests.databases import KINDS, PostgreSQL, migrated_sqlite
from tests.drills import rounds
from tests.harness import MINUTE, Harness
from transports.base import About, Message, Outcome, Status, TransportUnavailable

USERS = [f"user{number:05d}" for number in range(14)]
ANSWERS = (Status.SENT, Status.DEFERRED, Status.DEFERRED, Status.REFUSED, Status.UNCERTAIN)
WANTED = {*CampaignState, HELD, BLOCKED, CANCELLING, *(f"delivery {status}" for status in DeliveryStatus)}
FINAL = {DeliveryStatus.SENT, DeliveryStatus.FAILED, DeliveryStatus.SKIPPED}
ENDED = {CampaignState.COMPLETED, CampaignState.COMPLETED_WITH_ISSUES, CampaignState.CANCELLED}
STOPPED = {CampaignState.PAUSED, CampaignState.CANCELLED, CampaignState.FAILED}
# what SQLite itself sees of the outcomes, inside the transactions that write them; a person's decision is none
SEEN = """
CREATE TABLE seen (campaign_id TEXT, minute INTEGER, status TEXT);
CREATE TRIGGER seen_first AFTER INSERT ON deliveries BEGIN
    INSERT INTO seen VALUES (new.campaign_id, new.updated_at / 60000 * 60000, new.status);
END;
CREATE TRIGGER seen_again AFTER UPDATE OF status ON deliveries WHEN NOT (new.status = 'deferred' AND new.attempts = 0)
BEGIN
    INSERT INTO seen VALUES (new.campaign_id, new.updated_at / 60000 * 60000, new.status);
END;
"""
entered: Counter[str] = Counter()
numbers = st.integers(0, len(USERS) - 1)


class Killed(BaseException):
    """The worker is gone in the middle of a send."""


class Mailing(RuleBasedStateMachine):
    """The service, with what must be true beside it."""

    database: Callable[[], AbstractContextManager[Database]]
    kind: str

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.db = self.stack.enter_context(self.database())
        self.ids: list[str] = []
        self.frozen: list[tuple[Claim, list[Result], int]] = []
        self.finals: dict[tuple[str, str], str] = {}
        self.allowed: Counter[tuple[str, str]] = Counter()  # copies that a person has allowed beyond two
        self.unsubscribed: set[str] = set()
        self.held = False
        self.last_message: int | None = None
        self.breaks: list[int] = []  # after how many messages the transport raises what it must not, each time

    @initialize(policy=st.sampled_from(["retry", "hold"]), rate=st.sampled_from([0.2, 1.0]))
    def start(self, policy: str, rate: float) -> None:
        self.harness = Harness(self.db, uncertain=policy, batch_size=5, checkpoint=2, max_failure_rate=rate)
        self.take = self.harness.transport.send
        self.harness.transport.send = self.send  # type: ignore[method-assign]
        self.accept(dry_run=False, then="planned")

    def send(self, messages: Iterable[Message]) -> Iterator[Outcome]:
        """The memory transport, watched: who has unsubscribed gets nothing, nor anyone while all that is stopped."""

        left = self.breaks.pop(0) if self.breaks else None

        def watched() -> Iterator[Message]:
            nonlocal left
            for message in messages:
                campaign_id = message.id.partition(".")[0]
                assert message.recipient.partition("@")[0] not in self.unsubscribed
                assert self.state(campaign_id) not in STOPPED
                assert not self.held
                if self.last_message == 0:
                    raise Killed
                if left is not None:
                    left -= 1
                    if left < 0:
                        self.last_drawn(message)
                if self.last_message is not None:
                    self.last_message -= 1
                yield message

        yield from self.take(watched())

    def last_drawn(self, message: Message) -> None:
        """It may have been sent before the transport broke."""
        raise RuntimeError(f"the transport broke at {message.id}")

    @rule(dry_run=st.booleans(), then=st.sampled_from(["planned", "planner dies", "nothing"]))
    def accept(self, dry_run: bool, then: str) -> None:
        if len(self.ids) < 3:
            self.ids.append(self.harness.accept(dry_run=dry_run))
        if then == "planned":
            self.harness.plan()
        elif then == "planner dies":
            self.harness.die_planning()

    @rule()
    def plan(self) -> None:
        self.harness.plan()

    @rule(answers=st.lists(st.sampled_from(ANSWERS), max_size=5), stop_after=st.none() | st.integers(0, 2))
    def work(self, answers: list[Status], stop_after: int | None) -> None:
        """Run the batch that is due; with `stop_after`, be told to stop after so many checkpoints."""
        self.harness.store.answer(None, *answers)
        asked = iter(range(100))
        self.harness.deliverer.run_next(lambda: stop_after is not None and next(asked) >= stop_after)

    @rule(messages=st.integers(0, 6))
    def work_and_die(self, messages: int) -> None:
        """Run the batch that is due and be killed after so many messages, if there are as many."""
        self.last_message = messages
        with suppress(Killed):
            self.harness.deliverer.run_next(lambda: False)
        self.last_message = None

    @rule(messages=st.integers(0, 2), then=st.sampled_from([control.pause, control.cancel, None]))
    def work_and_freeze(self, messages: int, then: Any) -> None:
        """Claim the batch that is due, attempt some and stand still, while a person may act on the campaign."""
        claim = self.harness.outbox.claim()
        if claim is None:
            return
        todo = self.harness.outbox.due_items(claim)
        checkpoint = self.harness.outbox.checkpoint(claim, [], todo[:2], sum(item.status is None for item in todo))
        results = self.attempt(claim, checkpoint, messages)
        attempted = {result.item.recipient.user_id for result in results}
        rest = [*checkpoint.items, *todo[2:]]
        untried = sum(item.status is None and item.recipient.user_id not in attempted for item in rest)
        self.frozen.append((claim, results, untried))
        if then:
            with suppress(InvalidState):
                then(self.db, claim.campaign_id)

    def attempt(self, claim: Claim, checkpoint: Checkpoint, count: int) -> list[Result]:
        results = []
        for item in checkpoint.items[:count]:
            recipient = item.recipient
            message = Message(delivery_id(claim.campaign_id, recipient.user_id), "n@x.org", recipient.address, b"")
            with suppress(TransportUnavailable):
                if self.harness.store.take(message).status is Status.SENT:
                    results.append(Result(item, DeliveryStatus.SENT, item.attempts + 1, item.uncertain_attempts, "ok"))
        return results

    @precondition(lambda self: self.frozen)
    @rule(write=st.sampled_from(["extend", "checkpoint", "release"]), late=st.booleans())
    def wake(self, write: str, late: bool) -> None:
        """The frozen worker goes on where it was: its writes count only if nobody has taken over."""
        claim, results, untried = self.frozen.pop(0)
        if late:
            self.harness.now += self.harness.lease
            self.harness.deliverer.run_next(lambda: False)
        before, taken_over = self.everything(), self.fence(claim) != claim.fence
        try:
            if write == "extend":
                self.harness.outbox.extend(claim)
            elif write == "checkpoint":
                self.harness.outbox.checkpoint(claim, results, [], untried)
            else:
                self.harness.outbox.release(claim, results, untried)
        except LeaseLost:
            assert taken_over
            assert self.everything() == before
        else:
            assert not taken_over

    def state(self, campaign_id: str) -> str | None:
        with self.db.read() as connection:
            return connection.scalar(select(Campaign.state).where(Campaign.id == campaign_id))

    def fence(self, claim: Claim) -> int | None:
        mine = (Batch.campaign_id == claim.campaign_id, Batch.number == claim.number)
        with self.db.read() as connection:
            return connection.scalar(select(Batch.fence).where(*mine))

    def everything(self) -> Any:
        with self.db.read() as connection:
            return connection.execute(select(Delivery).order_by(Delivery.campaign_id, Delivery.user_id)).all()

    @rule(minutes=st.sampled_from([0.05, 0.5, 1.1, 2, 6, 20, 90, 800]))
    def time_passes(self, minutes: float) -> None:
        self.harness.now += int(minutes * MINUTE)

    @rule(number=numbers, times=st.integers(1, 9))
    def mailbox_is_full(self, number: int, times: int) -> None:
        self.harness.store.answer(f"{USERS[number]}@example.com", *[Status.DEFERRED] * times)

    @rule(messages=st.integers(0, 4))
    def transport_fails(self, messages: int) -> None:
        self.harness.store.fail_after(messages)

    @rule(times=st.integers(1, 8), about=st.sampled_from([About.SENDER, About.SENDER, About.RATE, About.MAILBOX]))
    def somebody_is_to_blame(self, times: int, about: About) -> None:
        self.harness.store.answer(None, *[Status.REFUSED] * times, about=about)

    @rule(times=st.integers(1, 4), messages=st.integers(0, 2))
    def transport_breaks(self, times: int, messages: int) -> None:
        """The next sends raise what they must not, after so many messages."""
        self.breaks = [messages] * times

    @rule()
    def transport_recovers(self) -> None:
        self.harness.store.recover()

    @rule(number=numbers, back=st.booleans())
    def unsubscribes_or_back(self, number: int, back: bool) -> None:
        user_id = USERS[number]
        (self.unsubscribed.discard if back else self.unsubscribed.add)(user_id)
        since = None if back else self.harness.now
        with self.db.write() as connection:
            connection.execute(update(User).where(User.id == user_id).values(unsubscribed_at=since))

    @precondition(lambda self: self.ids)
    @rule(action=st.sampled_from([control.pause, control.resume, control.resume, control.cancel]), data=st.data())
    def action(self, action: Any, data: st.DataObject) -> None:
        with suppress(InvalidState):
            action(self.db, data.draw(st.sampled_from(self.ids)))

    @rule(release=st.booleans())
    def hold_or_release(self, release: bool) -> None:
        """An operator stops all sending, or lets it go on; claims that are frozen meanwhile are still held."""
        self.held = not release
        if release:
            hold.release(self.db)
        else:
            hold.hold(self.db, "an operator")
            assert not self.harness.deliverer.run_next(lambda: False)

    @precondition(lambda self: self.ids)
    @rule(uncertain=st.booleans(), data=st.data())
    def retry_failed(self, uncertain: bool, data: st.DataObject) -> None:
        self.try_again(data.draw(st.sampled_from(self.ids)), uncertain=uncertain)

    def try_again(self, campaign_id: str, *, uncertain: bool) -> None:
        with suppress(InvalidState):
            control.retry_failed(self.db, campaign_id, uncertain=uncertain)
            self.finals = {
                (campaign, user): status
                for (campaign, user), status in self.finals.items()
                if campaign != campaign_id or status != DeliveryStatus.FAILED
            }
            self.allowed.update({(campaign_id, user_id): 2 for user_id in USERS})

    @invariant()
    def records_agree_with_each_other(self) -> None:
        assert examine(self.db) == []
        for campaign_id in self.ids:
            now = progress(self.db, campaign_id)
            assert now.pending >= 0
            entered[now.state] += 1

    @invariant()
    def minutes_say_what_was_seen(self) -> None:
        if self.kind != "sqlite":  # a lent database goes back as it was, without triggers
            return
        with self.db.read() as connection:
            query = text("SELECT campaign_id, minute, status, count(*) FROM seen GROUP BY 1, 2, 3")
            seen = {(campaign_id, minute, status): n for campaign_id, minute, status, n in connection.execute(query)}
        told = {
            (campaign_id, one.minute, status.value): getattr(one, status)
            for campaign_id in self.ids
            for one in minutes(self.db, campaign_id, after=None, count=100_000)
            for status in DeliveryStatus
        }
        assert {key: count for key, count in told.items() if count} == seen

    @invariant()
    def records_agree_with_what_arrived(self) -> None:
        arrived = Counter(message.id for message in self.harness.store.messages)
        for delivery in self.everything():
            key = (delivery.campaign_id, delivery.user_id)
            copies = arrived[delivery_id(*key)]
            entered[f"delivery {delivery.status}"] += 1
            assert delivery.status != DeliveryStatus.SENT or copies >= 1
            assert copies <= 2 + self.allowed[key]
            assert copies <= 1 or self.allowed[key] or delivery.uncertain_attempts
            assert self.finals.get(key, delivery.status) == delivery.status
            if delivery.status in FINAL:
                self.finals[key] = delivery.status

    def teardown(self) -> None:
        """Once nothing is in the way any more, everything comes to its end."""
        if not hasattr(self, "harness"):
            return
        self.hold_or_release(release=True)
        self.harness.store.recover()
        self.harness.store.forget_answers()
        self.breaks = []
        for campaign_id in self.ids:
            with suppress(InvalidState):
                control.resume(self.db, campaign_id)
            if self.state(campaign_id) == CampaignState.FAILED:
                self.try_again(campaign_id, uncertain=True)
        for _ in range(60):
            self.harness.run()
            self.harness.now += 60 * MINUTE
            ends = [progress(self.db, campaign_id) for campaign_id in self.ids]
            for paused in (end for end in ends if end.state == CampaignState.PAUSED):
                control.resume(self.db, paused.id)
            if all(end.state in ENDED for end in ends):
                break
        for campaign_id in self.ids:
            end = progress(self.db, campaign_id)
            assert end.state in ENDED
            assert end.state == CampaignState.CANCELLED or end.pending == 0
        self.records_agree_with_each_other()
        self.minutes_say_what_was_seen()
        self.records_agree_with_what_arrived()
        self.stack.close()


@contextmanager
def on_sqlite() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        url = migrated_sqlite(Path(folder) / "mailer.db")
        with closing(sqlite3.connect(Path(folder) / "mailer.db")) as connection:
            connection.executescript(SEEN)
        yield url


@pytest.fixture(params=KINDS)
def mailing(request: pytest.FixtureRequest, postgresql: PostgreSQL) -> type[Mailing]:
    """The machine, each of whose walks has a database of users to begin with."""
    lend = on_sqlite if request.param == "sqlite" else postgresql.migrated

    @contextmanager
    def database() -> Iterator[Database]:
        with lend() as url, closing(database_at(url)) as db:
            with db.write() as connection:
                connection.execute(insert(User), [user_row(number) for number in range(len(USERS))])
            yield db

    entered.clear()
    return type("Mailing", (Mailing,), {"database": staticmethod(database), "kind": request.param})


@pytest.mark.slow
@pytest.mark.drill
def test_any_order_of_events_keeps_the_promises(mailing: type[Mailing], capsys: pytest.CaptureFixture[str]) -> None:
    examples = rounds(12, 400) if mailing.kind == "sqlite" else rounds(3, 100)
    limits = settings(max_examples=examples, stateful_step_count=40, deadline=None)
    limits = settings(limits, suppress_health_check=list(HealthCheck), derandomize=True)
    run_state_machine_as_test(mailing, settings=limits)
    with capsys.disabled():
        print(
            "\nhow often each state was seen:", ", ".join(f"{state} {count}" for state, count in entered.most_common())
        )


def test_every_state_can_be_entered(mailing: type[Mailing]) -> None:
    walk = mailing()
    walk.start("hold", 1.0)
    first = walk.harness.campaign_id
    steps: list[tuple[Callable[..., None], Any]] = [
        (walk.work, {"answers": [Status.DEFERRED, Status.REFUSED, Status.UNCERTAIN], "stop_after": None}),
        (walk.transport_fails, {"messages": 0}),
        (walk.work, {"answers": [], "stop_after": None}),
        (walk.transport_recovers, {}),
        (walk.accept, {"dry_run": False, "then": "nothing"}),
        (walk.accept, {"dry_run": False, "then": "planner dies"}),
        (walk.unsubscribes_or_back, {"number": 13, "back": False}),
        (walk.time_passes, {"minutes": 0.5}),
        (walk.hold_or_release, {"release": False}),
        (walk.work, {"answers": [], "stop_after": None}),
        (walk.hold_or_release, {"release": True}),
        (walk.work_and_freeze, {"messages": 1, "then": control.pause}),
        (lambda: control.cancel(walk.db, first), {}),
        (walk.wake, {"write": "release", "late": False}),
    ]
    for step, arguments in steps:
        step(**arguments)
        walk.records_agree_with_each_other()
        walk.minutes_say_what_was_seen()
        walk.records_agree_with_what_arrived()
    walk.accept(dry_run=True, then="planned")
    walk.harness.store.answer(None, Status.REFUSED)
    walk.work([], None)
    walk.transport_breaks(9, 0)
    for passing in (2, 6, 0.05):
        for _ in range(3):
            walk.plan()
            walk.work([], None)
            walk.records_agree_with_each_other()
            walk.minutes_say_what_was_seen()
        walk.time_passes(passing)
    walk.teardown()
    assert WANTED - set(entered) == set()
