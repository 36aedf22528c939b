"""Whose turn it is: shares by priority and caller, nobody waits without end, and a claim stays one short query."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.exc import OperationalError

from app import build
from mailer.campaigns import control
from mailer.campaigns.accept import accept
from mailer.campaigns.draft import Draft
from mailer.campaigns.planning import SMALL
from mailer.delivery import due_batch
from mailer.delivery.attempt import CHECKPOINT_SECONDS
from mailer.delivery.turns import TURN, TurnWatch
from mailer.delivery.worklist import Claim
from mailer.selector import database_at
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.dialects import on_driver
from mailer.storage.models import Batch, BatchState, Campaign, DeliveryStatus, Priority, Turn, User
from tests.databases import migrated_sqlite, sqlite_work
from tests.harness import Harness
from tests.killable import attempts
from tests.smtp_servers import running_aiosmtpd
from transports import from_url
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
        self.deliverer._turns._may_ask = lambda: True  # type: ignore[method-assign]  # at every checkpoint

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


@pytest.mark.parametrize(("pair", "times"), [((BULK, NORMAL), 8), ((NORMAL, URGENT), 8), ((BULK, BULK), 1)])
def test_priorities_share_the_time_by_their_prices(
    callers: Callers, pair: tuple[Priority, Priority], times: int
) -> None:
    one, other = (callers.post(str(number), priority) for number, priority in enumerate(pair))

    found = Counter(callers.claims(3 * (times + 1)))

    assert found[one] in (3, 4)
    assert found[other] in (3 * times - 1, 3 * times)


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


@pytest.mark.parametrize(
    ("priority", "callers_of_it", "longest"), [(NORMAL, 1000, 40), (NORMAL, 3, 40), (URGENT, 1000, 200)]
)
def test_stream_of_small_campaigns_does_not_keep_a_large_one_away(
    callers: Callers, priority: Priority, callers_of_it: int, longest: int
) -> None:
    """Also if each is a newcomer's: they have used nothing, and the large one much."""
    large = callers.post("large", BULK)
    turns = callers.claims(1)
    waiting = False
    for number in range(3 * longest):
        if not waiting:
            callers.post(f"caller {number % callers_of_it}", priority)
        claim = callers.outbox.claim()
        assert claim is not None
        turns.append(claim.campaign_id)
        waiting = claim.campaign_id == large
        callers.now += 1000
        callers.outbox.release(claim, [], int(waiting))
        if not waiting:
            control.cancel(callers.db, claim.campaign_id)

    waits = [len(list(turn)) for campaign_id, turn in groupby(turns, lambda one: one == large) if not campaign_id]
    assert max(waits) <= longest
    assert turns.count(large) <= len(turns) / 5  # and they are in front all the same


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


def test_who_waits_for_few_slots_stands_aside_for_whom_they_are_due_to(callers: Callers) -> None:
    callers.post("large", BULK)
    large = callers.outbox.claim()
    assert large is not None
    assert not callers.outbox.others_first(large)
    small = callers.post("small", NORMAL)
    with callers.db.write() as connection:  # it has one batch, as a small one has
        connection.execute(update(Batch).where(Batch.campaign_id == small, Batch.number > 0).values(state="done"))
    assert not callers.outbox.others_first(None)  # it is the small one that would be claimed

    claim = callers.outbox.claim()
    assert claim is not None
    assert claim.campaign_id == small
    callers.now += 1000
    assert callers.outbox.others_first(large)
    assert callers.outbox.others_first(None)
    assert not callers.outbox.others_first(claim)

    callers.post("new", NORMAL, plan=False)
    assert not callers.outbox.others_first(None)  # it may be a small one
    callers.plan()
    callers.now += 60_000  # whoever holds the batch seems to have died
    assert not callers.outbox.others_first(large)


def test_equals_wait_for_each_others_slots_only_while_they_have_used_more(callers: Callers) -> None:
    callers.post("a", BULK)
    first, second = callers.outbox.claim(), callers.outbox.claim()
    callers.post("b", BULK)
    other = callers.outbox.claim()
    assert first is not None
    assert second is not None
    assert other is not None

    assert not callers.outbox.others_first(first)
    callers.now += 1500
    assert callers.outbox.others_first(first)
    callers.outbox.release(first, [], 1)
    callers.outbox.release(second, [], 1)
    assert not callers.outbox.others_first(other)


def sent_by(folder: Path) -> list[str]:
    """The campaign of each message that was written, in order."""
    index = folder / "out" / "index.ndjson"
    return (
        [json.loads(line)["id"].partition(".")[0] for line in index.read_text().splitlines()] if index.exists() else []
    )


@pytest.mark.slow
def test_dry_run_has_one_of_the_next_slots_however_many_threads_wait_for_them(
    tmp_path: Path, add_users: Callable[..., Any]
) -> None:
    transport = f"file:{tmp_path}/out?rate=4/second"
    url = migrated_sqlite(tmp_path / "mailer.db")
    services = build(Settings(url, secret_key=("k" * 40,), transport=transport, workers=16, batch_size=20))
    add_users(services.db, 1000)
    text = ("", "news@example.com", "Hi", "[unsubscribe]", {})
    accept(services.db, "large", Draft(*text, dry_run=False, priority=BULK))
    services.engine.start()
    for _ in attempts(20):
        if len(sent_by(tmp_path)) > 4:
            break
    ahead = []
    for number in range(3):
        before = len(sent_by(tmp_path))
        dry_run = accept(services.db, f"small {number}", Draft(*text, dry_run=True)).campaign_id
        services.engine.wake()
        for _ in attempts(20):
            if dry_run in sent_by(tmp_path):
                break
        ahead.append(sent_by(tmp_path).index(dry_run) - before)
    services.engine.stop(20)
    services.db.close()

    assert max(ahead) <= 10  # four may go before a thread has noticed, and each of the others has one try


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


SLOW_START = 0.3  # seconds


class SlowStart(MemoryTransport):
    """Needs more than the time of a checkpoint before it draws its first message."""

    def send(self, messages: Iterable[Message]) -> Iterator[Outcome]:
        """As usual, but later."""
        time.sleep(SLOW_START)
        yield from super().send(messages)


def test_checkpoint_ends_when_its_time_is_over(
    sqlite_db: Database, add_users: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is not drawn by then stays due, and is not taken for drawn."""
    assert CHECKPOINT_SECONDS == 1
    monkeypatch.setattr("mailer.delivery.attempt.CHECKPOINT_SECONDS", 0.3)
    add_users(sqlite_db, 8)
    harness = Harness(sqlite_db, checkpoint=8)
    take, checkpoints = harness.store.take, []
    write = harness.outbox.checkpoint
    harness.outbox.checkpoint = lambda *given: checkpoints.append(len(given[1])) or write(*given)  # type: ignore[assignment, func-returns-value, method-assign]
    harness.store.take = lambda message: (time.sleep(0.1), take(message))[1]  # type: ignore[method-assign]
    harness.accept()
    harness.run()

    assert len(harness.arrived()) == 8
    assert checkpoints[0] == 0
    assert all(1 <= recorded <= 4 for recorded in checkpoints[1:])
    assert harness.counts() == {"sent": 8}


@pytest.mark.slow
def test_transport_that_needs_long_to_begin_gets_on_all_the_same(
    sqlite_db: Database, add_users: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailer.delivery.attempt.CHECKPOINT_SECONDS", 0.1)
    add_users(sqlite_db, 2)
    harness = Harness(sqlite_db, SlowStart())
    harness.store = harness.deliverer._transport.store  # type: ignore[attr-defined]
    harness.accept()
    harness.run()

    assert harness.counts() == {"sent": 2}


@pytest.fixture
def sink() -> Iterator[Any]:
    """An SMTP server that takes everything."""
    with running_aiosmtpd() as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("act", ["pause", "cancel", "unsubscribe"])
def test_slow_rate_does_not_delay_what_a_person_wants(
    sqlite_db: Database, add_users: Callable[..., Any], sink: Any, act: str
) -> None:
    """The second message waits for its slot; whoever may not get it any more by then does not."""
    add_users(sqlite_db, 2)
    harness = Harness(sqlite_db, from_url(f"smtp://127.0.0.1:{sink.port}?rate=1 per 3 seconds"))
    campaign_id = harness.accept()
    harness.plan()
    worker = threading.Thread(target=harness.deliverer.run_next, args=(lambda: False,))
    worker.start()
    for _ in attempts(20):
        if harness.counts() == {"pending": 1, "sent": 1}:  # recorded within a second, while the next one waits
            break
    began = time.monotonic()
    if act == "unsubscribe":
        with sqlite_db.write() as connection:
            connection.execute(update(User).values(unsubscribed_at=1))
    else:
        getattr(control, act)(sqlite_db, campaign_id)
    worker.join(10)

    assert not worker.is_alive()
    assert len(sink.recorder.recipients) == 1
    assert harness.counts() == ({"sent": 1, "skipped": 1} if act == "unsubscribe" else {"pending": 1, "sent": 1})
    assert time.monotonic() - began < 3 + 10


def test_of_several_threads_one_asks_at_a_time() -> None:
    asked: list[str] = []
    watch = TurnWatch(lambda claim: bool(asked.append(claim.campaign_id)) or True)
    claims = [Claim(name, 0, 1, "a", "z", dry_run=False, half_open=False) for name in "abc"]

    assert [watch.is_over(claim) for claim in claims] == [True, False, False]
    assert asked == ["a"]


@pytest.mark.parametrize("testing", ["half_open", "campaign_rests"])
def test_who_tries_out_whether_sending_works_does_not_give_way(testing: str) -> None:
    watch = TurnWatch(lambda _claim: True)
    claim = Claim("a", 0, 1, "a", "z", dry_run=False, half_open=False)

    assert not watch.is_over(replace(claim, **{testing: True}))
    assert watch.is_over(claim)


def test_database_that_is_away_ends_no_turn() -> None:
    def ask(_claim: Claim) -> bool:
        raise OperationalError("SELECT", None, Exception("away"))

    assert not TurnWatch(ask).is_over(Claim("a", 0, 1, "a", "z", dry_run=False, half_open=False))


def fill(db: Database, campaigns: int, batches: int, *, due: int) -> None:
    """That many campaigns of many callers, each with so many batches that are `due` then."""
    campaign = {"sender_name": "", "sender": "a@b.org", "subject": "s", "body": "[unsubscribe]", "query": {}}
    campaign |= {"dry_run": False, "created_at": 1, "started_at": 1, "due_at": 1, "fence": 0, "state": "running"}
    batch = {"first_id": "a", "last_id": "b", "state": "waiting", "due_at": due, "fence": 0, "attempting": []}
    batch |= {"planned": 500, **dict.fromkeys(DeliveryStatus, 0)}
    ids = [f"campaign{number:04d}" for number in range(campaigns)]
    with db.write() as connection:
        owned = [{**campaign, "id": one, "caller_id": f"c{n % 50}", "priority": "bulk"} for n, one in enumerate(ids)]
        connection.execute(insert(Campaign), owned)
        connection.execute(
            insert(Batch), [{**batch, "campaign_id": one, "number": n} for one in ids for n in range(batches)]
        )
        connection.execute(insert(Turn), [{"caller_id": f"c{n}", "priority": "bulk", "used": n} for n in range(50)])


IN_TURN = {"now": 5, "base": 0, "urgent_only": False, "domains": json.dumps([""])}


def test_claim_looks_at_no_more_batches_than_it_needs(tmp_path: Path) -> None:
    """Ten times the batches cost nothing, and campaigns that all wait for later one probe each."""
    work = {}
    for campaigns, batches, due in ((100, 5, 1), (100, 50, 1), (100, 50, 9), (200, 50, 9)):
        place = tmp_path / f"{campaigns} {batches} {due}"
        place.mkdir()
        with closing(database_at(migrated_sqlite(place / "mailer.db"))) as db:
            fill(db, campaigns, batches, due=due)
            with db.read() as connection:
                work[campaigns, batches, due] = sqlite_work(connection, due_batch._in_turn("sqlite").params(IN_TURN))

    assert work[100, 50, 1] <= 1.1 * work[100, 5, 1]
    assert work[100, 50, 9] <= 2 * work[100, 50, 1]
    assert work[200, 50, 9] <= 2.5 * work[100, 50, 9]


@pytest.mark.slow
def test_postgresql_looks_at_no_more_batches_than_it_needs(postgresql_url: str) -> None:
    with closing(database_at(postgresql_url)) as db:
        fill(db, 100, 50, due=1)
        text, constants = due_batch._IN_TURN._make("postgresql")
        with db.read() as connection:
            found = on_driver(connection, f"EXPLAIN (ANALYZE, TIMING OFF) {text}", {**constants, **IN_TURN})
            plan = "\n".join(line for (line,) in found)

    assert "Seq Scan on batches" not in plan
    assert re.search(r"ix_batches_domain_due on batches.*rows=1 loops=20\)", plan), plan
