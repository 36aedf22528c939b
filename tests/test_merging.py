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

SHARED = "desk@example.com"
# ann, dan and gil are at one desk, spelled in two ways; each batch of two has one of them
NAMES = ("ann", "bob", "cid", "dan", "eve", "fay", "gil", "hal")
PEOPLE = {name: f"{name}@example.com" for name in NAMES} | {"ann": SHARED, "dan": "Desk@example.com", "gil": SHARED}


@pytest.fixture
def road(db: Database) -> Harness:
    """Batches: ann and bob; cid to eve; fay to hal."""
    with db.write() as connection:
        rows = [user_row(n, id=name, email=email) for n, (name, email) in enumerate(PEOPLE.items())]
        connection.execute(insert(User), rows)
    return Harness(db, merge_addresses=True, batch_size=2, checkpoint=1)


def change(road: Harness, user_id: str, **values: object) -> None:
    with road.db.write() as connection:
        connection.execute(update(User).where(User.id == user_id).values(**values))


def add(road: Harness, user_id: str, email: str = SHARED) -> None:
    with road.db.write() as connection:
        connection.execute(insert(User), [user_row(9, id=user_id, email=email)])


def at_the_desk(road: Harness) -> list[str]:
    return [address for address in road.arrived() if address.lower() == SHARED]


def run(road: Harness) -> None:
    """To the end; the counts add up after every step."""
    while road.plan() or road.deliverer.run_next(lambda: False):
        now = road.progress()
        assert now.planned == now.pending + sum(road.counts().values()) - road.counts().get("pending", 0)
        assert examine(road.db) == []


def hold_back(road: Harness, number: int) -> None:
    """Deliver the other batches first."""
    with road.db.write() as connection:
        connection.execute(update(Batch).where(Batch.number == number).values(due_at=road.now + MINUTE))
    run(road)
    road.now += 2 * MINUTE


def test_users_who_share_an_address_get_one_message(road: Harness) -> None:
    road.accept()
    road.plan()
    assert (road.counts(), road.progress().planned) == ({"pending": 6}, 6)
    run(road)
    assert sorted(road.arrived()) == sorted({*PEOPLE.values()} - {"Desk@example.com"})
    assert (road.counts(), road.progress().planned) == ({"sent": 6}, 6)
    assert [name for name in PEOPLE if road.delivery(name) is None] == ["dan", "gil"]


@pytest.mark.parametrize("first", [1, 2])
def test_first_by_id_is_chosen_whichever_batch_comes_first(road: Harness, first: int) -> None:
    road.accept()
    road.plan()
    hold_back(road, 0)
    hold_back(road, first)
    run(road)
    assert (road.counts(), road.delivery("ann").status) == ({"sent": 6}, "sent")


def test_without_the_setting_each_user_gets_one(db: Database, road: Harness) -> None:
    off = Harness(db, batch_size=2)
    off.accept()
    run(off)
    assert (off.counts(), len(at_the_desk(off))) == ({"sent": 8}, 3)


@pytest.mark.parametrize("merge", [True, False])
def test_audience_agrees_with_the_plan(road: Harness, merge: bool) -> None:
    seen = measure(road.db, {}, merge=merge)
    assert (seen.count, len(seen.sample)) == ((6, 6) if merge else (8, 8))
    found = first_recipient(road.db, {"_id": {"$gte": "b"}})
    assert found is not None
    assert found.user_id == "bob"


@pytest.mark.parametrize("values", [{"active": False}, {"email": "new@example.com"}, {"email": None}], ids=str)
def test_first_who_may_be_written_to_is_chosen(road: Harness, values: dict[str, object]) -> None:
    change(road, "ann", **values)
    road.accept()
    run(road)
    assert road.delivery("dan").status == "sent"
    assert len(at_the_desk(road)) == 1


def test_first_who_matches_is_chosen(road: Harness) -> None:
    query = {"username": {"$in": ["bob", "dan", "gil"]}}
    assert measure(road.db, query, merge=True).count == 2
    road.accept(query)
    road.plan()
    assert road.progress().planned == 2
    run(road)
    assert road.counts() == {"sent": 2}
    assert road.delivery("dan").status == "sent"


@pytest.mark.parametrize("when", ["before any batch", "after the others' batches"])
def test_chosen_one_who_unsubscribes_is_skipped_and_nobody_takes_the_place(road: Harness, when: str) -> None:
    road.accept()
    road.plan()
    if when.startswith("after"):
        hold_back(road, 0)
    change(road, "ann", unsubscribed_at=road.now + 1)
    run(road)
    assert (road.counts(), road.progress().planned) == ({"sent": 5, "skipped": 1}, 6)
    assert at_the_desk(road) == []
    road.now += MINUTE
    road.accept()
    run(road)
    assert (road.counts(), at_the_desk(road)) == ({"sent": 5}, [])  # the wish holds for everybody at the desk


@pytest.mark.parametrize("gone", [{}, {"active": False}], ids=["still there", "inactive"])
@pytest.mark.parametrize("who", ["ann", "dan", "gil"])
@pytest.mark.parametrize("query", [{}, {"username": {"$in": ["ann", "bob"]}}], ids=["everybody", "without the others"])
def test_wish_of_one_holds_for_everybody_at_the_address(road: Harness, who: str, gone: dict, query: dict) -> None:
    change(road, who, unsubscribed_at=1, **gone)
    expected = 1 if query else 5
    assert measure(road.db, query, merge=True).count == expected
    first = first_recipient(road.db, query, merge=True)
    assert first is not None
    assert first.user_id == "bob"
    road.accept(query)
    run(road)
    assert (road.counts(), at_the_desk(road)) == ({"sent": expected}, [])
    off = Harness(road.db, batch_size=2)
    off.accept(query)
    run(off)
    assert sum(address.lower() == SHARED for address in off.arrived()) == (
        0 if query and who == "ann" else 1 if query else 2
    )


@pytest.mark.parametrize("who", ["dan", "gil"])
def test_wish_of_another_after_planning_has_the_chosen_one_skipped(road: Harness, who: str) -> None:
    road.accept()
    road.plan()
    change(road, who, unsubscribed_at=road.now + 1)
    run(road)
    assert (road.counts(), at_the_desk(road)) == ({"sent": 5, "skipped": 1}, [])
    assert road.delivery("ann").reply == "Somebody at the address has unsubscribed."


def test_who_subscribes_again_does_so_for_everybody_at_a_merged_address(road: Harness) -> None:
    for name in ("ann", "dan", "bob"):
        change(road, name, unsubscribed_at=1)
    assert resubscribe(road.db, "dan", merged=True)
    road.accept()
    run(road)
    assert (road.counts(), road.delivery("ann").status, road.delivery("bob")) == ({"sent": 5}, "sent", None)


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


def test_unsubscribing_after_the_message_sends_no_second_one(road: Harness) -> None:
    road.accept()
    road.plan()
    road.deliverer.run_next(lambda: False)
    change(road, "ann", unsubscribed_at=road.now + 1)
    run(road)
    assert len(at_the_desk(road)) == 1


@pytest.mark.parametrize("how", ["leaves", "moves", "no longer matches"])
def test_chosen_one_who_goes_leaves_the_place_to_the_next(road: Harness, how: str) -> None:
    road.accept({"roles": "user"})
    road.plan()
    gone = {
        "leaves": {"active": False},
        "moves": {"email": "ann@example.com"},
        "no longer matches": {"roles": "", "document": {}},
    }
    change(road, "ann", **gone[how])
    run(road)
    assert len(at_the_desk(road)) == 1
    assert road.delivery("dan").status == "sent"


def test_chosen_one_who_is_skipped_for_going_leaves_the_place_too(road: Harness) -> None:
    road.accept()
    road.plan()
    claim = road.outbox.claim()
    assert claim is not None
    todo = road.outbox.due_items(claim)
    change(road, "ann", active=False)
    road.outbox.checkpoint(claim, [], todo, len(todo))
    road.outbox.release(claim, [], 1)
    run(road)
    assert (road.delivery("ann").status, road.delivery("dan").status) == ("skipped", "sent")
    assert len(at_the_desk(road)) == 1


@pytest.mark.parametrize("how", ["leaves", "no longer matches"])
def test_chosen_one_who_goes_after_the_message_leaves_no_place(road: Harness, how: str) -> None:
    road.accept({"roles": "user"})
    road.plan()
    road.deliverer.run_next(lambda: False)
    change(road, "ann", **({"active": False} if how == "leaves" else {"roles": "", "document": {}}))
    run(road)
    assert (len(at_the_desk(road)), road.counts()) == (1, {"sent": 6})


@pytest.mark.parametrize("newcomer", ["aaa", "all", "dad", "zoe"])
@pytest.mark.parametrize("begun", [0, 1, 2])
def test_newcomer_changes_nothing_at_the_desk(road: Harness, newcomer: str, begun: int) -> None:
    road.accept()
    road.plan()
    for _ in range(begun):
        road.deliverer.run_next(lambda: False)
    add(road, newcomer)
    run(road)
    assert len(at_the_desk(road)) == 1


def test_who_comes_back_ahead_of_the_chosen_one_takes_nothing_away(road: Harness) -> None:
    change(road, "ann", active=False)
    road.accept()
    road.plan()
    road.deliverer.run_next(lambda: False)  # bob's, where ann would be
    change(road, "ann", active=True)
    run(road)
    assert len(at_the_desk(road)) == 1


@pytest.mark.parametrize(("answer", "chosen", "other"), [(Status.SENT, "cal", "dan"), (Status.DEFERRED, "dan", "cal")])
def test_who_comes_ahead_of_one_in_hand_sends_no_second_one(road: Harness, answer: Status, chosen, other) -> None:
    change(road, "ann", active=False)
    road.accept()
    road.plan()  # bob and cid, dan and eve, fay and hal
    hold_back(road, 1)
    claim = road.outbox.claim()
    assert claim is not None
    todo = road.outbox.due_items(claim)
    add(road, "cal")
    with road.db.write() as connection:
        connection.execute(update(Batch).where(Batch.number == 0).values(state="waiting", due_at=0))
    road.store.answer(SHARED, answer)
    run(road)
    in_hand = road.outbox.checkpoint(claim, [], todo, len(todo)).items
    road.outbox.release(claim, [Result(item, DeliveryStatus.SENT, 1, 0, "ok") for item in in_hand], 0)
    road.now += 2 * MINUTE
    run(road)
    assert (road.delivery(chosen).status, road.delivery(other).status) == ("sent", "skipped")
    assert road.delivery(other).reply == "Another user with the address has been written to."
    assert road.progress().planned == sum(road.counts().values()) == 7


def test_soft_failure_keeps_the_place(road: Harness) -> None:
    road.store.answer(SHARED, Status.DEFERRED)
    road.accept()
    run(road)
    assert road.counts() == {"sent": 5, "deferred": 1}
    road.now += 2 * MINUTE
    run(road)
    assert (road.counts(), len(at_the_desk(road))) == ({"sent": 6}, 1)


def test_refused_address_is_not_tried_through_another_user(road: Harness) -> None:
    road.store.answer(None, *[Status.REFUSED] * 2)
    road.accept()
    road.plan()
    run(road)
    assert road.counts() == {"failed": 2, "sent": 4}
    assert control.retry_failed(road.db, road.campaign_id) == 2
    run(road)
    assert (road.counts(), len(at_the_desk(road))) == ({"sent": 6}, 1)


def test_setting_changed_meanwhile_changes_only_what_is_planned_later(db: Database, road: Harness) -> None:
    road.accept()
    road.plan()
    off = Harness(db, batch_size=2)
    off.campaign_id = road.campaign_id
    run(off)
    assert (off.counts(), len(at_the_desk(off))) == ({"sent": 6}, 1)
    off.accept()
    off.plan()
    road.campaign_id = off.campaign_id
    run(road)
    assert road.counts() == {"sent": 8}


def test_dry_run_is_as_ever(road: Harness) -> None:
    add(road, "zed", "news@example.com")
    road.accept(dry_run=True)
    run(road)
    assert (road.arrived(), road.counts()) == (["news@example.com"], {"sent": 1})


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
    road = Harness(db, merge_addresses=True)
    db.clock = clock
    road.accept()
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
            assert any(road.progress().state in END_STATES for _ in attempts(60, pause=0.05))
        assert set(server.copies()) == desks
        assert len({message.message_id for message in server.kept()}) == len(desks)  # copies are of one user's message
    assert road.progress().planned == road.progress().sent == len(desks)
    with db.read() as connection:
        assert len(connection.scalars(select(Delivery.user_id)).all()) == len(desks)
