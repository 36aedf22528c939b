"""What has ended is forgotten by itself: in small steps, by one process of all, and whatever ends that process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import OperationalError

from app import build, create_app
from mailer.campaigns import control, retention
from mailer.campaigns.retention import PERIOD, purging, retention_task
from mailer.selector import database_at
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import (
    Campaign,
    Delivery,
    IdempotencyKey,
    RateLimit,
    RefusedAddress,
    ScheduledTask,
    User,
    Wish,
)
from mailer.storage.periodic_task import Stopped
from mailer.storage.steps import small_steps
from mailer.storage.steps.small_steps import delete_in_steps, run_steps
from mailer.storage.steps.stepwise_task import StepwiseTask
from tests.harness import Died, Harness, Interrupted
from transports.base import Status

DAY = 24 * 60 * 60_000
USERS = 35
STEP = 10


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "STEP", STEP)
    monkeypatch.setattr(small_steps, "STEP", STEP)


@pytest.fixture
def ended(db: Database, add_users: Any) -> Harness:
    """A campaign to 35 that ended two days ago, one of them refused."""
    add_users(db, USERS)
    harness = Harness(db)
    harness.store.answer("user00001@example.com", Status.REFUSED)
    harness.accept(key="k")
    harness.run()
    harness.now += 2 * DAY
    return harness


def task(harness: Harness, db: Database | None = None, days: int = 1) -> StepwiseTask:
    return retention_task(db or harness.db, days * DAY, harness.lease)


def with_text(db: Database) -> int:
    """How many deliveries still have an address or a reply."""
    with db.read() as connection:
        kept = (Delivery.address.is_not(None)) | (Delivery.reply != "")
        return int(connection.scalar(select(func.count()).where(kept)) or 0)


def body(harness: Harness) -> str | None:
    with harness.db.read() as connection:
        return connection.scalar(select(Campaign.body).where(Campaign.id == harness.campaign_id))


def test_it_is_off_unless_it_is_set() -> None:
    assert Settings().retention is None


def test_what_is_too_old_is_forgotten_once_an_hour(ended: Harness) -> None:
    counts = ended.counts()

    done = task(ended).run_when_due(threading.Event())

    assert done == {"deliveries": USERS, "campaigns": 1, "idempotency_keys": 1}
    assert (with_text(ended.db), body(ended), ended.counts()) == (0, "", counts)
    record = task(ended).record()
    assert record is not None
    assert (record.result, record.done_at, record.error) == (done, ended.now, None)
    assert task(ended).run_when_due(threading.Event()) is None
    ended.now += PERIOD
    assert task(ended).run_when_due(threading.Event()) == {}


def test_each_step_is_a_short_transaction(ended: Harness) -> None:
    steps = list(purging(ended.db, DAY))

    assert steps[:5] == [{"deliveries": STEP}] * 3 + [{"deliveries": 5}, {"campaigns": 1}]


def test_small_campaigns_are_forgotten_together(db: Database, add_users: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "TOGETHER", 3)
    add_users(db, 4)
    harness = Harness(db)
    for number in range(10):
        harness.accept(query={"_id": {"$in": ["user00000", "user00001"][: number % 3]}})
    harness.run()
    harness.now += 2 * DAY

    steps = list(purging(db, DAY))

    assert [step["campaigns"] for step in steps] == [3, 3, 3, 1]
    assert (sum(step["deliveries"] for step in steps), with_text(db)) == (9, 0)
    assert list(purging(db, DAY)) == []


def test_as_many_small_ones_go_together_as_fit_a_step(db: Database, add_users: Any) -> None:
    add_users(db, 4)
    harness = Harness(db)
    for _ in range(6):
        harness.accept()
    harness.run()
    harness.now += 2 * DAY

    assert list(purging(db, DAY)) == [{"deliveries": 8, "campaigns": 2}] * 3  # STEP is 10


def test_small_campaign_that_somebody_has_locked_is_left_for_later(postgresql_url: str, add_users: Any) -> None:
    with closing(database_at(postgresql_url)) as db:
        add_users(db, 2)
        harness = Harness(db)
        first = harness.accept()
        harness.accept()
        harness.run()
        harness.now += 2 * DAY
        with db.write() as held:
            held.execute(select(Campaign.id).where(Campaign.id == first).with_for_update())
            assert list(purging(db, DAY)) == [{"deliveries": 2, "campaigns": 1}]
        assert list(purging(db, DAY)) == [{"deliveries": 2, "campaigns": 1}]


def test_rows_are_deleted_in_steps_in_one_pass(db: Database) -> None:
    with db.write() as connection:
        rows = [{"caller_id": f"c{n % 3}", "key": f"k{n:02d}", "created_at": n} for n in range(50)]
        connection.execute(insert(IdempotencyKey), [row | {"fingerprint": "", "campaign_id": ""} for row in rows])
        connection.execute(insert(RateLimit), [{"key": f"{n}", "hits": 1, "expires_at": n} for n in range(21)])

    gone = [step["idempotency_keys"] for step in delete_in_steps(db, IdempotencyKey, IdempotencyKey.created_at < 25)]
    assert gone == [10, 10, 5]
    assert run_steps(delete_in_steps(db, RateLimit, RateLimit.expires_at < 99)) == {"rate_limits": 21}

    with db.read() as connection:
        assert sorted(connection.scalars(select(IdempotencyKey.created_at))) == list(range(25, 50))


def test_who_must_not_be_written_to_stays_so(ended: Harness) -> None:
    wish = {"kind": "address", "value": "left@example.com", "unsubscribed_at": 1, "kept_at": 1, "kept_by": "x"}
    address = {"campaigns": 3, "campaign_ids": "a b c", "reply": "550 no", "rule": "", "refused_at": 1}
    addresses = [{"address": "gone@example.com", "suppressed_at": 5, **address}]
    addresses.append({"address": "blocked@example.com", "suppressed_at": 5, "blocked_at": 5, **address})
    with ended.db.write() as connection:
        connection.execute(update(User).where(User.id == "user00003").values(unsubscribed_at=1))
        connection.execute(insert(Wish), [{**wish, "source": "list"}])
        for row in addresses:
            connection.execute(insert(RefusedAddress), [row])

    def kept() -> list[Any]:
        suppressed = select(RefusedAddress.__table__).where(RefusedAddress.suppressed_at.is_not(None))
        with ended.db.read() as connection:
            return [connection.execute(q).all() for q in (select(Wish.__table__), select(User.__table__), suppressed)]

    before = kept()
    task(ended).run_when_due(threading.Event())

    assert kept() == before
    assert len(before[2]) == 2


def test_campaigns_that_have_not_ended_or_not_long_ago_stay(ended: Harness) -> None:
    first, began = ended.campaign_id, ended.now
    ended.accept()
    ended.plan()
    for _ in range(2):
        ended.deliverer.run_next(lambda: False)
    unfinished = ended.campaign_id
    ended.now += 99 * DAY
    control.pause(ended.db, unfinished)

    assert (task(ended).run_when_due(threading.Event()) or {})["campaigns"] == 1

    assert body(ended)
    assert with_text(ended.db) == 20
    control.resume(ended.db, unfinished)
    ended.run()
    assert ended.counts() == {"sent": USERS}
    ended.campaign_id = first
    assert body(ended) == ""
    assert began < ended.now


def test_run_that_is_stopped_goes_on_elsewhere_at_once(ended: Harness) -> None:
    stopping = threading.Event()

    def stop_soon() -> Iterator[dict[str, int]]:
        for step in purging(ended.db, DAY):
            stopping.set()
            yield step

    with pytest.raises(Stopped):
        StepwiseTask(ended.db, "retention", stop_soon, lease=ended.lease, period=PERIOD).run_when_due(stopping)
    assert (with_text(ended.db), bool(body(ended))) == (USERS - STEP, True)

    done = task(ended).run_when_due(threading.Event())

    assert (done or {})["deliveries"] == USERS - STEP
    assert (with_text(ended.db), body(ended)) == (0, "")


@pytest.mark.parametrize("write", [3, 5, 7])
def test_run_that_is_killed_goes_on_elsewhere_after_its_lease(ended: Harness, write: int) -> None:
    def die() -> None:
        raise Died

    with closing(Interrupted(ended.db, write, die)) as dying, pytest.raises(Died):
        task(ended, dying).run_when_due(threading.Event())
    assert task(ended).run_when_due(threading.Event()) is None
    assert body(ended) == "" or write < 7

    ended.now += ended.lease
    assert task(ended).run_when_due(threading.Event()) is not None

    assert (with_text(ended.db), body(ended)) == (0, "")


def test_campaign_that_begins_again_meanwhile_is_left_alone(ended: Harness) -> None:
    steps = purging(ended.db, DAY)
    next(steps)
    assert control.retry_failed(ended.db, ended.campaign_id) == 1

    assert run_steps(steps)["campaigns"] == 0

    assert body(ended)
    assert with_text(ended.db) >= USERS - STEP
    ended.run()
    assert ended.counts()["sent"] + ended.counts().get("failed", 0) == USERS


def test_failure_is_recorded_and_tried_again(ended: Harness) -> None:
    def failing() -> Iterator[dict[str, int]]:
        yield {"deliveries": 1}
        raise OperationalError("UPDATE", None, Exception("disk full"))

    failing_task = StepwiseTask(ended.db, "retention", failing, lease=ended.lease, period=PERIOD)
    with pytest.raises(OperationalError):
        failing_task.run_when_due(threading.Event())

    assert failing_task.trouble() == "failed, 1 in a row"
    ended.now += 60_000
    assert task(ended).run_when_due(threading.Event()) is not None
    assert task(ended).trouble() is None


def test_service_has_the_task_and_shows_its_trouble(ended: Harness) -> None:
    settings = Settings(database_url=ended.db.url, secret_key=("k" * 40,), transport="memory:", retention=90 * 86_400)
    app = create_app(settings)
    services = app.extensions["mailer"]
    with closing(services.db):
        assert app.test_client().get("/readyz").json["retention"] == "ok"
        with services.db.write() as connection:
            row = {"name": retention.TASK, "due_at": 1, "fence": 1, "failures": 3, "failed_at": 1, "error": "disk full"}
            connection.execute(insert(ScheduledTask), [row])
        shown = app.test_client().get("/readyz").json
    assert shown["retention"] == "failed, 3 in a row"
    assert "retention: failed, 3 in a row" in shown["warnings"]


def test_service_without_the_setting_has_no_such_task(database_url: str) -> None:
    services = build(Settings(database_url=database_url, secret_key=("k" * 40,), transport="memory:"))
    services.db.close()
    assert "retention" not in services.tasks
