"""How an audience is cut into batches, and how little is read for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from mailer.audience.conditions import suppressed_audience
from mailer.selector import database_at
from mailer.storage.database import Database
from mailer.storage.models import Batch, RefusedAddress, User
from tests.conftest import user_row
from tests.databases import sqlite_work
from tests.harness import START, Harness

USERS = 12
QUERY = {"roles": "user", "createdAt": {"$gte": {"$date": 0}}}
AddUsers = Callable[..., list[str]]


def cut(harness: Harness) -> list[tuple[str, str, int]]:
    with harness.db.read() as connection:
        columns = (Batch.first_id, Batch.last_id, Batch.planned)
        rows = connection.execute(
            select(*columns).where(Batch.campaign_id == harness.campaign_id).order_by(Batch.number)
        )
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
    harness = Harness(db, batch_size=size, merge_addresses=merge)
    harness.accept({**QUERY, "_id": {"$ne": "user00011"}})
    assert harness.plan()
    assert cut(harness) == chunks([user_id for user_id in ids[:-1] if user_id != "user00003"], size)


@pytest.mark.parametrize("merge", [False, True], ids=["each", "merged"])
def test_audience_of_nobody_has_no_batch(db: Database, add_users: AddUsers, merge: bool) -> None:
    add_users(db, 2, unsubscribed_at=5)
    harness = Harness(db, merge_addresses=merge)
    harness.accept(QUERY)
    assert harness.plan()
    assert (cut(harness), harness.progress().state) == ([], "completed")


def read_bytes() -> int:
    """How many bytes this process has read, of files and all else."""
    return int(Path("/proc/self/io").read_text().split()[1])


def test_planning_reads_little_of_the_directory(sqlite_db: Database, add_users: AddUsers) -> None:
    """What the audience is found by is in an index; the documents of its members are not read."""
    add_users(sqlite_db, 1000, name="x" * 3000)
    sqlite_db.close()
    file = Path(sqlite_db.url.removeprefix("sqlite:///"))
    with closing(database_at(sqlite_db.url)) as db:  # which has no pages in memory yet
        harness = Harness(db, batch_size=100)
        harness.accept(QUERY)
        before = read_bytes()
        harness.plan()
        assert read_bytes() - before < file.stat().st_size / 10
    assert harness.progress().planned == 1000


def test_work_of_finding_the_suppressed_does_not_grow_with_the_directory(
    sqlite_db: Database, add_users: AddUsers
) -> None:
    work = []
    suppress(sqlite_db, "user00003@example.com")
    suppressed = select(func.count()).select_from(User).where(suppressed_audience(QUERY))
    for prefix in ("user", "more"):
        with sqlite_db.write() as connection:
            connection.execute(insert(User), [user_row(n, id=f"{prefix}{n:05d}") for n in range(1000)])
        with sqlite_db.read() as connection:
            assert connection.scalar(suppressed) == 1
            work.append(sqlite_work(connection, suppressed))
    assert work[1] <= work[0] + 1
