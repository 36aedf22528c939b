"""Whose turn it is: shares by priority and caller, nobody waits without end, and a claim stays one short query."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

import pytest
from sqlalchemy import select, update

from mailer.campaigns import control
from mailer.campaigns.accept import accept
from mailer.campaigns.draft import Draft
from mailer.campaigns.planning import SMALL
from mailer.delivery.turns import TURN
from mailer.storage.database import Database
from mailer.storage.models import Batch, BatchState, Campaign, Priority
from tests.harness import Harness
from transports.base import Message, Outcome
from transports.memory import MemoryTransport

URGENT, NORMAL, BULK = Priority.URGENT, Priority.NORMAL, Priority.BULK


class Timed(MemoryTransport):
    """Takes a message each `ms` milliseconds of the harness's time."""

    harness: Harness
    ms = 100

    def send(self, messages: Iterable[Message]) -> Iterator[Outcome]:
        """As usual, and time passes."""
        for message in messages:
            self.harness.now += self.ms
            yield self.store.take(message)


class Callers(Harness):
    """A harness with campaigns of several callers, over a transport that takes time."""

    def __init__(self, db: Database, **settings: Any) -> None:
        super().__init__(db, **{"batch_size": 20, "checkpoint": 10, **settings})
        self.timed = Timed(self.store)
        self.timed.harness = self
        self.deliver_through(self.timed)
        self.deliverer._ask.may = lambda: True  # type: ignore[method-assign]  # at every checkpoint

    def post(self, caller: str, priority: Priority | None = None, *, dry_run: bool = False, plan: bool = True) -> str:
        """A campaign to everybody."""
        draft = Draft("", "news@example.com", "Hi", "[unsubscribe]", {}, dry_run, priority=priority)
        campaign_id = accept(self.db, caller, draft).campaign_id
        if plan:
            assert self.plan()
        return campaign_id

    def served(self) -> list[str]:
        """The campaign of each message that arrived, in order."""
        return [message.id.partition(".")[0] for message in self.store.messages]

    def shares(self, names: dict[str, str]) -> Counter[str]:
        """How many messages each caller got; `names` are the callers by campaign."""
        return Counter(names[campaign_id] for campaign_id in self.served())

    def claims(self, count: int, took: int = TURN) -> list[str]:
        """Claim and give back so often, each time after `took` ms; the campaigns."""
        found = []
        for _ in range(count):
            claim = self.outbox.claim()
            assert claim is not None
            found.append(claim.campaign_id)
            self.now += took
            self.outbox.release(claim, [], 1)
        return found


@pytest.fixture
def callers(db: Database, add_users: Callable[..., Any]) -> Callers:
    """Campaigns to a hundred users, five batches each."""
    add_users(db, 100)
    return Callers(db)


def test_caller_with_many_campaigns_gets_no_more_than_one_with_one(callers: Callers) -> None:
    names = {callers.post("many"): "many" for _ in range(6)} | {callers.post("one"): "one"}

    while callers.shares(names)["one"] < 100:
        assert callers.deliverer.run_next(lambda: False)

    assert callers.shares(names)["many"] <= 120


def test_campaigns_of_one_caller_take_turns(callers: Callers) -> None:
    ids = [callers.post("one") for _ in range(3)]

    assert Counter(callers.claims(9)) == dict.fromkeys(ids, 3)


@pytest.mark.parametrize(("other", "times"), [(NORMAL, 8), (URGENT, 64)])
def test_priorities_share_the_time_by_their_prices(callers: Callers, other: Priority, times: int) -> None:
    bulk, better = callers.post("a", BULK), callers.post("b", other)

    found = Counter(callers.claims(3 * (times + 1)))

    assert found[bulk] in (3, 4)
    assert found[better] >= 3 * times - 1


def test_short_turns_pay_for_what_they_took(callers: Callers) -> None:
    """Of two equal callers, one whose turns end early gets as much time, and so more turns."""
    first, second = callers.post("a", BULK), callers.post("b", BULK)
    spent: Counter[str] = Counter()
    for _ in range(60):
        claim = callers.outbox.claim()
        assert claim is not None
        took = 200 if claim.campaign_id == first else 1000
        callers.now += took
        spent[claim.campaign_id] += took
        callers.outbox.release(claim, [], 1)

    assert abs(spent[first] - spent[second]) <= TURN + 200


def test_nothing_is_saved_up_by_waiting(callers: Callers) -> None:
    old, busy = callers.post("old"), callers.post("busy")
    callers.claims(2)
    control.pause(callers.db, old)
    callers.claims(50)
    control.resume(callers.db, old)

    found = callers.claims(20)

    assert 9 <= found.count(old) <= 11
    assert 9 <= found.count(busy) <= 11


def test_new_caller_comes_next_whatever_the_others_have_used(callers: Callers) -> None:
    for number in range(5):
        callers.post(f"caller {number}", BULK)
    callers.claims(23)
    new = callers.post("new", NORMAL)

    assert callers.claims(1) == [new]


def test_small_campaign_takes_the_next_checkpoint_of_a_large_one(callers: Callers) -> None:
    large = callers.post("large", BULK)
    small: list[str] = []
    take = callers.store.take

    def while_the_large_one_is_sent(message: Message) -> Outcome:
        if len(callers.store.messages) == 3:
            small.append(callers.post("small", NORMAL, plan=False))
        return take(message)

    callers.store.take = while_the_large_one_is_sent  # type: ignore[method-assign]
    callers.run()

    assert callers.served()[:10] == [large] * 10  # the checkpoint in hand, which took a second
    assert callers.served()[10:80] == small * 70
    assert callers.served()[80:110].count(large) == 10  # nor does the small one keep the large one away


def test_dry_run_goes_before_everything(callers: Callers) -> None:
    callers.post("a", NORMAL)
    callers.claims(3)
    dry_run = callers.post("a", BULK, dry_run=True)

    assert callers.claims(1) == [dry_run]


def test_equals_swap_after_a_second_and_not_at_every_checkpoint(db: Database, add_users: Callable[..., Any]) -> None:
    add_users(db, 100)
    callers = Callers(db, batch_size=100)
    callers.timed.ms = 25  # a checkpoint takes a quarter of a second
    ids = {callers.post("a", BULK), callers.post("b", BULK)}

    callers.run()

    assert [len(list(turn)) for _, turn in groupby(callers.served())] == [40, 40, 40, 40, 20, 20]
    assert set(callers.served()[:80]) == ids


def test_who_is_alone_keeps_its_batch(callers: Callers) -> None:
    callers.timed.ms = 5000
    callers.post("a", BULK)
    paused = callers.post("b", NORMAL)
    control.pause(callers.db, paused)

    callers.deliverer.run_next(lambda: False)

    assert len(callers.served()) == 20


def test_campaign_that_waits_to_be_planned_has_the_batch_given_back(callers: Callers) -> None:
    callers.post("a", NORMAL)
    callers.post("b", BULK, plan=False)

    callers.deliverer.run_next(lambda: False)

    assert len(callers.served()) == 10
    with callers.db.read() as connection:
        assert set(connection.scalars(select(Batch.state))) == {BatchState.WAITING}


def test_with_several_workers_a_small_campaign_takes_one(callers: Callers) -> None:
    large = callers.post("large", BULK)
    claims = [callers.outbox.claim() for _ in range(4)]
    assert [claim and claim.campaign_id for claim in claims] == [large] * 4
    callers.now += 100
    small = callers.post("small", NORMAL)
    with callers.db.write() as connection:  # it has one batch, as a small one has
        connection.execute(update(Batch).where(Batch.campaign_id == small, Batch.number > 0).values(state="done"))

    giving_way = []
    for claim in claims:
        assert claim is not None
        if callers.outbox.turn_is_over(claim):
            giving_way.append(claim)
            callers.outbox.release(claim, [], 1)
            taken = callers.outbox.claim()
            assert taken is not None
            assert taken.campaign_id == small

    assert giving_way == claims[:1]


@pytest.mark.parametrize(("recipients", "expected"), [(SMALL, NORMAL), (SMALL + 1, BULK)])
def test_size_decides_the_priority_unless_it_is_given(
    sqlite_db: Database, add_users: Callable[..., Any], recipients: int, expected: Priority
) -> None:
    add_users(sqlite_db, recipients)
    callers = Callers(sqlite_db, batch_size=500)
    ids = [callers.post("a", given) for given in (None, *Priority)] + [callers.post("a", BULK, dry_run=True)]

    with sqlite_db.read() as connection:
        found = dict(connection.execute(select(Campaign.id, Campaign.priority)).all())
    assert [found[one] for one in ids] == [expected, *Priority, URGENT]
