"""How an audience is cut into batches, and by which indexes SQLite finds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, func, insert, select

from mailer.audience.conditions import suppressed_audience
from mailer.storage.database import Database
from mailer.storage.models import Batch, RefusedAddress, User
from tests.conftest import user_row
from tests.harness import START, Harness

USERS = 12
QUERY = {"roles": "user", "createdAt": {"$gte": {"$date": 0}}}
AddUsers = Callable[..., list[str]]


def cut(road: Harness) -> list[tuple[str, str, int]]:
    with road.db.read() as connection:
        columns = (Batch.first_id, Batch.last_id, Batch.planned)
        rows = connection.execute(select(*columns).where(Batch.campaign_id == road.campaign_id).order_by(Batch.number))
        return [(row.first_id, row.last_id, row.planned) for row in rows]


def chunks(ids: list[str], size: int) -> list[tuple[str, str, int]]:
    parts = [ids[start : start + size] for start in range(0, len(ids), size)]
    return [(part[0], part[-1], len(part)) for part in parts]


def suppress(db: Database, *addresses: str) -> None:
    known = {"campaigns": 3, "campaign_ids": "a b c", "reply": "no", "refused_at": START, "suppressed_at": START}
    with db.write() as connection:
        connection.execute(insert(RefusedAddress), [{"address": address, **known} for address in addresses])


@pytest.mark.parametrize("merge", [False, True], ids=["each", "merged"])
@pytest.mark.parametrize("size", [1, 2, 3, USERS - 3, USERS - 2, USERS - 1, 1000])
def test_batches_are_the_audience_in_order(db: Database, add_users: AddUsers, size: int, merge: bool) -> None:
    ids = add_users(db, USERS)
    with db.write() as connection:
        bystander = user_row(0, id="aaa", email=None)
        connection.execute(insert(User), [bystander, {**user_row(0, id="user00005x"), "active": False}])
    suppress(db, "user00003@example.com")
    road = Harness(db, batch_size=size, merge_addresses=merge)
    road.accept({**QUERY, "_id": {"$ne": "user00011"}})
    assert road.plan()
    assert cut(road) == chunks([user_id for user_id in ids[:-1] if user_id != "user00003"], size)


@pytest.mark.parametrize("merge", [False, True], ids=["each", "merged"])
def test_audience_of_nobody_has_no_batch(db: Database, add_users: AddUsers, merge: bool) -> None:
    add_users(db, 2, unsubscribed_at=5)
    road = Harness(db, merge_addresses=merge)
    road.accept(QUERY)
    assert road.plan()
    assert (cut(road), road.progress().state) == ([], "completed")


@contextmanager
def explained(db: Database) -> Iterator[list[str]]:
    """How SQLite goes about each query meanwhile, a line a step."""
    steps: list[str] = []

    def explain(connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if statement.startswith(("SELECT", "WITH")):
            driver = connection.connection.driver_connection
            steps.extend(row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {statement}", values))

    event.listen(db.engine, "before_cursor_execute", explain)
    yield steps
    event.remove(db.engine, "before_cursor_execute", explain)


def test_planning_reads_nothing_but_its_index(sqlite_db: Database, add_users: AddUsers) -> None:
    add_users(sqlite_db, USERS)
    road = Harness(sqlite_db)
    road.accept(QUERY)
    with explained(sqlite_db) as steps:
        road.plan()
    of_users = {step for step in steps if " users " in step}
    assert of_users == {"SEARCH users USING COVERING INDEX ix_users_audience_sqlite (id>?)"}


def test_suppressed_are_found_by_their_addresses(sqlite_db: Database, add_users: AddUsers) -> None:
    add_users(sqlite_db, USERS)
    suppress(sqlite_db, "user00003@example.com")
    with explained(sqlite_db) as steps, sqlite_db.read() as connection:
        count = connection.scalar(select(func.count()).select_from(User).where(suppressed_audience(QUERY)))
    assert count == 1
    assert "SEARCH users USING INDEX ix_users_address (<expr>=?)" in steps
