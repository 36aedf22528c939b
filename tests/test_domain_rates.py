"""Rates of single recipients' domains: batches of their own, which are passed over while their domain has no slot."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from mailer.campaigns import invariants
from mailer.campaigns.control import retry_failed
from mailer.errors import ConfigError
from mailer.pacing.domain_slots import DomainSlots
from mailer.settings import Settings, domain_rates
from mailer.storage.database import Database, database_time
from mailer.storage.models import Batch, BatchState, Delivery, User
from tests.conftest import user_row
from tests.harness import Harness, Interrupted
from tests.test_rate import excess
from transports import About, Status

RATES = (("gmail.com", 100.0), ("outlook.com", 200.0))  # ms between two messages: five and two in a group


def people(db: Database, *domains: str) -> list[str]:
    """A user at each of these domains in turn; returns their addresses."""
    rows = [user_row(number, email=f"u{number}@{domain}") for number, domain in enumerate(domains)]
    with db.write() as connection:
        connection.execute(insert(User), rows)
    return [str(row["email"]) for row in rows]


def move(db: Database, number: int, domain: str | None) -> None:
    email = None if domain is None else f"u{number}@{domain}"
    with db.write() as connection:
        connection.execute(update(User).where(User.id == f"user{number:05d}").values(email=email))


def batches(db: Database) -> list[tuple[Any, ...]]:
    columns = (Batch.number, Batch.domain, Batch.first_id, Batch.last_id, Batch.planned)
    with db.read() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(Batch.number))]


def paced(db: Database, **settings: Any) -> Harness:
    return Harness(db, domain_rates=RATES, **settings)


def finish(harness: Harness, seconds: int = 60) -> None:
    """Let the time pass until all is sent; the invariants hold after every batch."""
    ends = harness.now + seconds * 1000
    while harness.progress().finished_at is None and harness.now < ends:
        if not harness.deliverer.run_next(lambda: False):
            harness.now += 50
        harness.now += 50
        harness.check()
    assert invariants.examine(harness.db) == []


@pytest.fixture(autouse=True)
def _no_naps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailer.delivery.deliverer.NAP_SECONDS", 0.0)


@pytest.mark.parametrize("merge", [False, True])
def test_domains_get_batches_of_their_own(db: Database, merge: bool) -> None:
    people(db, *["gmail.com", "a.example", "outlook.com", "GMAIL.com", "mail.gmail.com", "notgmail.com"] * 5)
    harness = paced(db, merge_addresses=merge)
    harness.accept()
    harness.plan()

    assert batches(db) == [
        (0, "", "user00001", "user00019", 10),
        (1, "", "user00022", "user00029", 5),
        (2, "gmail.com", "user00000", "user00027", 10),
        (3, "outlook.com", "user00002", "user00026", 5),
    ]


def test_planning_without_such_people_makes_no_empty_batches(db: Database) -> None:
    people(db, *["a.example"] * 12)
    harness = paced(db)
    harness.accept()
    harness.plan()

    assert [row[1:] for row in batches(db)] == [("", "user00000", "user00009", 10), ("", "user00010", "user00011", 2)]


def test_domain_without_a_slot_holds_up_nobody(db: Database) -> None:
    addresses = people(db, *["gmail.com", "a.example"] * 20)
    harness = paced(db)
    harness.accept()
    harness.plan()
    while harness.deliverer.run_next(lambda: False) and len(harness.arrived()) < 25:
        harness.check()

    arrived = harness.arrived()  # at one moment: one group of the domain, and everybody else
    assert [one for one in arrived if "gmail" in one] == [one for one in addresses if "gmail" in one][:5]
    assert len([one for one in arrived if "a.example" in one]) == 20
    assert harness.outbox.claim() is None
    assert harness.outbox.next_slot() == pytest.approx(0.5)

    harness.now += 500
    harness.deliverer.run_next(lambda: False)
    assert len(harness.arrived()) == 30
    finish(harness)
    assert sorted(harness.arrived()) == sorted(addresses)


def test_other_campaign_goes_on_while_a_domain_waits(db: Database) -> None:
    people(db, *["gmail.com"] * 30)
    harness = paced(db)
    harness.accept({"username": {"$gt": "user00002"}})
    harness.plan()
    harness.deliverer.run_next(lambda: False)
    assert harness.outbox.claim() is None

    move(db, 0, "a.example")
    harness.accept({"username": {"$lt": "user00001"}})
    harness.plan()
    harness.deliverer.run_next(lambda: False)

    assert harness.arrived()[-1] == "u0@a.example"
    assert harness.progress().state == "completed"


def test_rate_is_kept_over_two_workers(db: Database) -> None:
    addresses = people(db, *["gmail.com"] * 60)
    one, two = paced(db), paced(db)
    one.accept()
    one.plan()
    two.campaign_id = one.campaign_id
    times: list[float] = []
    for tick in range(200):
        one.now = two.now = 1_700_000_000_000 + tick * 37
        worker = (one, two)[tick % 2]
        before = len(worker.arrived())
        worker.deliverer.run_next(lambda: False)
        times += [one.now / 1000] * (len(worker.arrived()) - before)

    assert sorted(one.arrived() + two.arrived()) == sorted(addresses)
    assert excess(times, 10.0) <= 5 + 1  # a group at once, and what a worker that comes late may catch up on
    assert max(times) - min(times) <= 60 / 10.0
    assert {len(one.arrived()) > 10, len(two.arrived()) > 10} == {True}
    one.check()


@pytest.mark.slow
def test_soft_failure_is_tried_again_at_the_pace_of_its_domain(db: Database) -> None:
    addresses = people(db, *["gmail.com"] * 12, "a.example")
    harness = paced(db)
    for address in addresses[:12]:
        harness.store.answer(address, Status.DEFERRED, about=About.MAILBOX)
    harness.accept()
    harness.plan()
    finish(harness, seconds=10)
    assert harness.counts() == {"sent": 1, "deferred": 12}

    harness.now += 120_000
    before = harness.now
    finish(harness)

    assert harness.counts() == {"sent": 13}
    assert harness.now - before >= 1000


def test_failures_are_tried_again_by_their_own_batches(db: Database) -> None:
    addresses = people(db, *["gmail.com", "a.example"] * 10)
    harness = paced(db, max_failure_rate=1.0)
    for address in addresses[:6]:
        harness.store.answer(address, Status.REFUSED, about=About.ADDRESS)
    harness.accept()
    harness.plan()
    finish(harness)
    assert harness.counts() == {"sent": 14, "failed": 6}

    assert retry_failed(db, harness.campaign_id) == 6
    harness.check()
    finish(harness)

    assert harness.counts() == {"sent": 20}
    assert sorted(harness.arrived()) == sorted(addresses)


@pytest.mark.ci
@pytest.mark.slow
@pytest.mark.parametrize("to", ["gmail.com", "a.example", "outlook.com", None])
@pytest.mark.parametrize("since", ["gmail.com", "a.example", "outlook.com"])
@pytest.mark.parametrize("after", [0, 3])
def test_nobody_who_changes_the_address_is_lost_or_written_to_twice(
    sqlite_db: Database, since: str, to: str | None, after: int
) -> None:
    people(sqlite_db, *[since, "gmail.com", "a.example", "outlook.com"] * 5)
    harness = paced(sqlite_db, batch_size=4)
    harness.accept()
    harness.plan()
    for _ in range(after):
        harness.deliverer.run_next(lambda: False)
        harness.now += 100

    for number in (0, 8, 16):
        move(sqlite_db, number, to)
    finish(harness)

    locals_ = [address.partition("@")[0] for address in harness.arrived()]
    assert len(locals_) == len(set(locals_))
    wanted = {f"u{number}" for number in range(20)}
    missing = wanted - set(locals_)
    assert missing <= ({"u0", "u8", "u16"} if to is None else set())
    assert harness.progress().state == "completed"


@pytest.mark.parametrize("write", range(1, 14))
def test_address_that_changes_between_two_writes_of_a_batch_is_no_gap(sqlite_db: Database, write: int) -> None:
    """While one batch is in hand, its people change places with those of the other."""
    people(sqlite_db, *["gmail.com", "a.example"] * 4)
    harness = paced(sqlite_db)
    harness.accept()
    harness.plan()

    def swap() -> None:
        for number in range(8):
            move(sqlite_db, number, "a.example" if number % 2 == 0 else "gmail.com")

    interrupted = Interrupted(sqlite_db, write, swap)
    harness.outbox._db = interrupted
    harness.outbox._recording.keywords.clear()
    finish(harness)
    interrupted.close()

    assert sorted(address.partition("@")[0] for address in harness.arrived()) == [f"u{n}" for n in range(8)]


def test_two_batches_in_hand_send_to_nobody_twice(db: Database) -> None:
    """A user moves to the domain after the ordinary batch has begun to send to them."""
    people(db, *["a.example", "gmail.com"] * 3)
    harness = paced(db)
    harness.accept()
    harness.plan()
    domain = harness.outbox.claim()
    ordinary = harness.outbox.claim()
    assert domain is not None
    assert ordinary is not None
    assert (domain.domain, ordinary.domain) == ("gmail.com", "")
    first = harness.outbox.due_items(ordinary)
    sending = harness.outbox.checkpoint(ordinary, [], first, 3).items
    assert [item.recipient.user_id for item in sending] == ["user00000", "user00002", "user00004"]

    move(db, 2, "gmail.com")
    moved = [item.recipient.user_id for item in harness.outbox.due_items(domain)]
    assert moved == ["user00001", "user00003", "user00005"]
    harness.outbox.release(ordinary, [], 3)
    later = [item.recipient.user_id for item in harness.outbox.due_items(domain)]

    assert later == ["user00001", "user00002", "user00003", "user00005"]


def test_batches_of_a_domain_that_has_no_rate_any_more_are_sent_like_all(db: Database) -> None:
    people(db, *["gmail.com"] * 30)
    harness = paced(db)
    harness.accept()
    harness.plan()

    later = Harness(db)
    later.campaign_id = harness.campaign_id
    later.run()

    assert later.counts() == {"sent": 30}


def test_dead_worker_of_a_domain_leaves_nobody_behind(db: Database) -> None:
    people(db, *["gmail.com"] * 12)
    harness = paced(db)
    harness.accept()
    harness.plan()
    claim = harness.outbox.claim()
    assert claim is not None
    harness.outbox.checkpoint(claim, [], harness.outbox.due_items(claim)[:3], 12)

    harness.now += harness.lease + 1
    finish(harness)

    assert harness.counts() == {"sent": 12}  # of whom three may have got it twice
    with db.read() as connection:
        assert connection.scalars(select(Batch.state).distinct()).all() == [BatchState.DONE]
        assert set(connection.scalars(select(Delivery.batch))) <= {0, 1}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("gmail.com", "Not a domain and its rate such as gmail.com=20/second: 'gmail.com'"),
        ("gmail=20/second", "Not a domain"),
        ("@gmail.com=20/second", "Not a domain"),
        ("*.gmail.com=20/second", "Not a domain"),
        ("gmail.com=often", "'often' is not a rate such as 50/second, for gmail.com"),
        ("gmail.com=0/second", "not a rate"),
        ("gmail.com=1/second, GMAIL.COM=2/second", "gmail.com is named twice"),
    ],
)
def test_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, text: str, problem: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILER_DOMAIN_RATES", text)
    with pytest.raises(ConfigError, match=r"^MAILER_DOMAIN_RATES: ") as refused:
        Settings.from_env()
    assert problem in str(refused.value)


def test_rates_are_read() -> None:
    assert domain_rates.parse("gmail.com=20/second, Bücher.example = 30/minute,") == (
        ("gmail.com", 50.0),
        ("xn--bcher-kva.example", 2000.0),
    )


@pytest.mark.slow
def test_real_time_passes_between_groups(db: Database) -> None:
    """Two workers in threads, which wait for slots by themselves, with other mail going out meanwhile."""
    people(db, *["gmail.com", "a.example"] * 12)
    workers = [paced(db, checkpoint=50), paced(db, checkpoint=50)]
    db.clock = database_time
    workers[0].accept()
    workers[0].plan()
    times: dict[str, float] = {}

    def deliver(worker: Harness) -> None:
        ends = time.monotonic() + 20
        while time.monotonic() < ends and len(times) < 24:
            worker.deliverer.run_next(lambda: False)
            times.update({one: time.monotonic() for one in worker.arrived() if one not in times})

    began = time.monotonic()
    threads = [threading.Thread(target=deliver, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(times) == 24
    domain = sorted(at for one, at in times.items() if "gmail" in one)
    # a group of five every half second, or as much earlier as a late worker may catch up on, and the clocks differ;
    # how late a busy machine notes it does not matter
    assert all(at - began >= number // 5 * 0.5 - 0.3 for number, at in enumerate(domain))
    assert max(at for one, at in times.items() if "a.example" in one) < domain[-1]


def test_worker_whose_time_is_old_takes_no_slots_twice(db: Database) -> None:
    """It read the time, waited for another worker's transaction, and finds a next slot that is further than a group."""
    people(db, "gmail.com")
    paced(db).accept()
    slots = DomainSlots(dict(RATES))
    now = 1_000_000
    with db.write() as connection:
        slots.register(connection, ["gmail.com"])
        assert slots.take(connection, "gmail.com", now) == 5
        assert [slots.take(connection, "gmail.com", now - late) for late in (0, 1, 40, 3000)] == [0] * 4
        assert slots.take(connection, "gmail.com", now - 3_600_000) == 5, "by a clock that was an hour ahead"
