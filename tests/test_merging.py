"""One message for an address that users share: whom it is for, whatever happens meanwhile; on both databases."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from mailer.audience.preview import first_recipient, measure
from mailer.audience.shared_addresses import merged_audience
from mailer.campaigns import control
from mailer.campaigns.invariants import examine
from mailer.delivery.worklist import Result
from mailer.storage.database import Database
from mailer.storage.models import Batch, Delivery, DeliveryStatus, User
from mailer.suppression.unsubscribes import resubscribe
from tests.conftest import user_row
from tests.databases import sqlite_work
from tests.harness import MINUTE, Harness
from tests.killable import Trap, Worker, attempts, settings_for
from tests.recording_smtp import recording_smtp
from tests.service import END_STATES
from transports.base import Status

pytestmark = pytest.mark.slow

SHARED = "desk@example.com"
# ann, dan and gil are at one desk, spelled in two ways; each batch of two has one of them
NAMES = ("ann", "bob", "cid", "dan", "eve", "fay", "gil", "hal")
PEOPLE = {name: f"{name}@example.com" for name in NAMES} | {"ann": SHARED, "dan": "Desk@example.com", "gil": SHARED}


@pytest.fixture
def harness(db: Database) -> Harness:
    """Batches: ann and bob; cid to eve; fay to hal."""
    with db.write() as connection:
        rows = [user_row(n, id=name, email=email) for n, (name, email) in enumerate(PEOPLE.items())]
        connection.execute(insert(User), rows)
    return Harness(db, merge_addresses=True, batch_size=2, checkpoint=1)


def change(harness: Harness, user_id: str, **values: object) -> None:
    with harness.db.write() as connection:
        connection.execute(update(User).where(User.id == user_id).values(**values))


def add(harness: Harness, user_id: str, email: str = SHARED) -> None:
    with harness.db.write() as connection:
        connection.execute(insert(User), [user_row(9, id=user_id, email=email)])


def at_the_desk(harness: Harness) -> list[str]:
    return [address for address in harness.arrived() if address.lower() == SHARED]


def run(harness: Harness) -> None:
    """To the end; the counts add up after every step."""
    while harness.plan() or harness.deliverer.run_next(lambda: False):
        now = harness.progress()
        assert now.planned == now.pending + sum(harness.counts().values()) - harness.counts().get("pending", 0)
        assert examine(harness.db) == []


def hold_back(harness: Harness, number: int) -> None:
    """Deliver the other batches first."""
    with harness.db.write() as connection:
        connection.execute(update(Batch).where(Batch.number == number).values(due_at=harness.now + MINUTE))
    run(harness)
    harness.now += 2 * MINUTE


def test_users_who_share_an_address_get_one_message(harness: Harness) -> None:
    harness.accept()
    harness.plan()
    assert (harness.counts(), harness.progress().planned) == ({"pending": 6}, 6)
    run(harness)
    assert sorted(harness.arrived()) == sorted({*PEOPLE.values()} - {"Desk@example.com"})
    assert (harness.counts(), harness.progress().planned) == ({"sent": 6}, 6)
    assert [name for name in PEOPLE if harness.delivery(name) is None] == ["dan", "gil"]


@pytest.mark.parametrize("first", [1, 2])
def test_first_by_id_is_chosen_whichever_batch_comes_first(harness: Harness, first: int) -> None:
    harness.accept()
    harness.plan()
    hold_back(harness, 0)
    hold_back(harness, first)
    run(harness)
    assert (harness.counts(), harness.delivery("ann").status) == ({"sent": 6}, "sent")


def test_without_the_setting_each_user_gets_one(db: Database, harness: Harness) -> None:
    off = Harness(db, batch_size=2)
    off.accept()
    run(off)
    assert (off.counts(), len(at_the_desk(off))) == ({"sent": 8}, 3)


@pytest.mark.parametrize("merge", [True, False])
def test_audience_agrees_with_the_plan(harness: Harness, merge: bool) -> None:
    seen = measure(harness.db, {}, merge=merge)
    assert (seen.count, len(seen.sample)) == ((6, 6) if merge else (8, 8))
    found = first_recipient(harness.db, {"_id": {"$gte": "b"}})
    assert found is not None
    assert found.user_id == "bob"


@pytest.mark.parametrize("values", [{"active": False}, {"email": "new@example.com"}, {"email": None}], ids=str)
def test_first_who_may_be_written_to_is_chosen(harness: Harness, values: dict[str, object]) -> None:
    change(harness, "ann", **values)
    harness.accept()
    run(harness)
    assert harness.delivery("dan").status == "sent"
    assert len(at_the_desk(harness)) == 1


def test_first_who_matches_is_chosen(harness: Harness) -> None:
    query = {"username": {"$in": ["bob", "dan", "gil"]}}
    assert measure(harness.db, query, merge=True).count == 2
    harness.accept(query)
    harness.plan()
    assert harness.progress().planned == 2
    run(harness)
    assert harness.counts() == {"sent": 2}
    assert harness.delivery("dan").status == "sent"


@pytest.mark.parametrize("when", ["before any batch", "after the others' batches"])
def test_chosen_one_who_unsubscribes_is_skipped_and_nobody_takes_the_place(harness: Harness, when: str) -> None:
    harness.accept()
    harness.plan()
    if when.startswith("after"):
        hold_back(harness, 0)
    change(harness, "ann", unsubscribed_at=harness.now + 1)
    run(harness)
    assert (harness.counts(), harness.progress().planned) == ({"sent": 5, "skipped": 1}, 6)
    assert at_the_desk(harness) == []
    harness.now += MINUTE
    harness.accept()
    run(harness)
    assert (harness.counts(), at_the_desk(harness)) == ({"sent": 5}, [])  # the wish holds for everybody at the desk


@pytest.mark.parametrize("gone", [{}, {"active": False}], ids=["still there", "inactive"])
@pytest.mark.parametrize("who", ["ann", "dan", "gil"])
@pytest.mark.parametrize("query", [{}, {"username": {"$in": ["ann", "bob"]}}], ids=["everybody", "without the others"])
def test_wish_of_one_holds_for_everybody_at_the_address(harness: Harness, who: str, gone: dict, query: dict) -> None:
    change(harness, who, unsubscribed_at=1, **gone)
    expected = 1 if query else 5
    assert measure(harness.db, query, merge=True).count == expected
    first = first_recipient(harness.db, query, merge=True)
    assert first is not None
    assert first.user_id == "bob"
    harness.accept(query)
    run(harness)
    assert (harness.counts(), at_the_desk(harness)) == ({"sent": expected}, [])
    off = Harness(harness.db, batch_size=2)
    off.accept(query)
    run(off)
    assert sum(address.lower() == SHARED for address in off.arrived()) == (
        0 if query and who == "ann" else 1 if query else 2
    )


@pytest.mark.parametrize("who", ["dan", "gil"])
def test_wish_of_another_after_planning_has_the_chosen_one_skipped(harness: Harness, who: str) -> None:
    harness.accept()
    harness.plan()
    change(harness, who, unsubscribed_at=harness.now + 1)
    run(harness)
    assert (harness.counts(), at_the_desk(harness)) == ({"sent": 5, "skipped": 1}, [])
    assert harness.delivery("ann").reply == "Somebody at the address has unsubscribed."


def test_who_subscribes_again_does_so_for_everybody_at_a_merged_address(harness: Harness) -> None:
    for name in ("ann", "dan", "bob"):
        change(harness, name, unsubscribed_at=1)
    assert resubscribe(harness.db, "dan", merged=True)
    harness.accept()
    run(harness)
    assert (harness.counts(), harness.delivery("ann").status, harness.delivery("bob")) == ({"sent": 5}, "sent", None)


def test_work_of_planning_grows_with_the_users_however_many_share_an_address(sqlite_db: Database) -> None:
    """With a look at the others of the address for each of them it would be quadratic."""
    work = []
    for first in (0, 400):
        with sqlite_db.write() as connection:
            rows = [user_row(first + n, email=SHARED) for n in range(400)]
            rows += [user_row(first + n, id=f"left{first + n}", unsubscribed_at=1) for n in range(9)]
            connection.execute(insert(User), rows)
        with sqlite_db.read() as connection:
            work.append(sqlite_work(connection, select(User.id).where(merged_audience({}))))
    assert work[1] < 2.6 * work[0]


def test_unsubscribing_after_the_message_sends_no_second_one(harness: Harness) -> None:
    harness.accept()
    harness.plan()
    harness.deliverer.run_next(lambda: False)
    change(harness, "ann", unsubscribed_at=harness.now + 1)
    run(harness)
    assert len(at_the_desk(harness)) == 1


@pytest.mark.parametrize("how", ["leaves", "moves", "no longer matches"])
def test_chosen_one_who_goes_leaves_the_place_to_the_next(harness: Harness, how: str) -> None:
    harness.accept({"roles": "user"})
    harness.plan()
    gone = {
        "leaves": {"active": False},
        "moves": {"email": "ann@example.com"},
        "no longer matches": {"roles": "", "document": {}},
    }
    change(harness, "ann", **gone[how])
    run(harness)
    assert len(at_the_desk(harness)) == 1
    assert harness.delivery("dan").status == "sent"


def test_chosen_one_who_is_skipped_for_going_leaves_the_place_too(harness: Harness) -> None:
    harness.accept()
    harness.plan()
    claim = harness.outbox.claim()
    assert claim is not None
    todo = harness.outbox.due_items(claim)
    change(harness, "ann", active=False)
    harness.outbox.checkpoint(claim, [], todo, len(todo))
    harness.outbox.release(claim, [], 1)
    run(harness)
    assert (harness.delivery("ann").status, harness.delivery("dan").status) == ("skipped", "sent")
    assert len(at_the_desk(harness)) == 1


@pytest.mark.parametrize("how", ["leaves", "no longer matches"])
def test_chosen_one_who_goes_after_the_message_leaves_no_place(harness: Harness, how: str) -> None:
    harness.accept({"roles": "user"})
    harness.plan()
    harness.deliverer.run_next(lambda: False)
    change(harness, "ann", **({"active": False} if how == "leaves" else {"roles": "", "document": {}}))
    run(harness)
    assert (len(at_the_desk(harness)), harness.counts()) == (1, {"sent": 6})


@pytest.mark.parametrize("newcomer", ["aaa", "all", "dad", "zoe"])
@pytest.mark.parametrize("begun", [0, 1, 2])
def test_newcomer_changes_nothing_at_the_desk(harness: Harness, newcomer: str, begun: int) -> None:
    harness.accept()
    harness.plan()
    for _ in range(begun):
        harness.deliverer.run_next(lambda: False)
    add(harness, newcomer)
    run(harness)
    assert len(at_the_desk(harness)) == 1


def test_who_comes_back_ahead_of_the_chosen_one_takes_nothing_away(harness: Harness) -> None:
    change(harness, "ann", active=False)
    harness.accept()
    harness.plan()
    harness.deliverer.run_next(lambda: False)  # bob's, where ann would be
    change(harness, "ann", active=True)
    run(harness)
    assert len(at_the_desk(harness)) == 1


@pytest.mark.parametrize(("answer", "chosen", "other"), [(Status.SENT, "cal", "dan"), (Status.DEFERRED, "dan", "cal")])
def test_who_comes_ahead_of_one_in_hand_sends_no_second_one(harness: Harness, answer: Status, chosen, other) -> None:
    change(harness, "ann", active=False)
    harness.accept()
    harness.plan()  # bob and cid, dan and eve, fay and hal
    hold_back(harness, 1)
    claim = harness.outbox.claim()
    assert claim is not None
    todo = harness.outbox.due_items(claim)
    add(harness, "cal")
    with harness.db.write() as connection:
        connection.execute(update(Batch).where(Batch.number == 0).values(state="waiting", due_at=0))
    harness.store.answer(SHARED, answer)
    run(harness)
    in_hand = harness.outbox.checkpoint(claim, [], todo, len(todo)).items
    harness.outbox.release(claim, [Result(item, DeliveryStatus.SENT, 1, 0, "ok") for item in in_hand], 0)
    harness.now += 2 * MINUTE
    run(harness)
    assert (harness.delivery(chosen).status, harness.delivery(other).status) == ("sent", "skipped")
    assert harness.delivery(other).reply == "Another user with the address has been written to."
    assert harness.progress().planned == sum(harness.counts().values()) == 7


def test_soft_failure_keeps_the_place(harness: Harness) -> None:
    harness.store.answer(SHARED, Status.DEFERRED)
    harness.accept()
    run(harness)
    assert harness.counts() == {"sent": 5, "deferred": 1}
    harness.now += 2 * MINUTE
    run(harness)
    assert (harness.counts(), len(at_the_desk(harness))) == ({"sent": 6}, 1)


def test_refused_address_is_not_tried_through_another_user(harness: Harness) -> None:
    harness.store.answer(None, *[Status.REFUSED] * 2)
    harness.accept()
    harness.plan()
    run(harness)
    assert harness.counts() == {"failed": 2, "sent": 4}
    assert control.retry_failed(harness.db, harness.campaign_id) == 2
    run(harness)
    assert (harness.counts(), len(at_the_desk(harness))) == ({"sent": 6}, 1)


def test_setting_changed_meanwhile_changes_only_what_is_planned_later(db: Database, harness: Harness) -> None:
    harness.accept()
    harness.plan()
    off = Harness(db, batch_size=2)
    off.campaign_id = harness.campaign_id
    run(off)
    assert (off.counts(), len(at_the_desk(off))) == ({"sent": 6}, 1)
    off.accept()
    off.plan()
    harness.campaign_id = off.campaign_id
    run(harness)
    assert harness.counts() == {"sent": 8}


def test_dry_run_is_as_ever(harness: Harness) -> None:
    add(harness, "zed", "news@example.com")
    harness.accept(dry_run=True)
    run(harness)
    assert (harness.arrived(), harness.counts()) == (["news@example.com"], {"sent": 1})


@pytest.mark.slow
@pytest.mark.parametrize(
    "trap", [Trap("outcome", "after", 5), Trap("checkpoint", "after", 3), Trap("release", "before", 2)], ids=str
)
def test_killed_worker_has_no_second_user_written_to(db: Database, tmp_path: Path, trap: Trap) -> None:
    luck = random.Random(str(trap))
    with db.write() as connection:
        rows = [user_row(n, email=f"desk{luck.randrange(15)}@example.com") for n in range(60)]
        connection.execute(insert(User), rows)
    desks = {str(row["email"]) for row in rows}
    clock = db.clock
    harness = Harness(db, merge_addresses=True)
    db.clock = clock
    harness.accept()
    with recording_smtp(tmp_path) as server:
        settings = settings_for(
            tmp_path, server.url, database_url=db.url, merge_addresses=True, batch_size=5, checkpoint=2
        )
        with Worker(settings, trap) as doomed:
            assert doomed.wait() == -signal.SIGKILL
        assert examine(db) == []
        with db.write() as connection:
            connection.execute(update(Batch).where(Batch.state == "running").values(due_at=0))
        with Worker(settings):
            assert any(harness.progress().state in END_STATES for _ in attempts(60, pause=0.05))
        assert set(server.copies()) == desks
        assert len({message.message_id for message in server.kept()}) == len(desks)  # copies are of one user's message
    assert harness.progress().planned == harness.progress().sent == len(desks)
    with db.read() as connection:
        assert len(connection.scalars(select(Delivery.user_id)).all()) == len(desks)
