"""What takes too long is stopped, says so, and holds up nobody else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import requests
from sqlalchemy import Connection, insert, select, text

from mailer.api.guard import ConcurrencyLimit
from mailer.campaigns.planning import Planner
from mailer.errors import QueryTimeout, TooBusy
from mailer.selector import database_at
from mailer.storage.database import Database
from mailer.storage.models import Campaign, CampaignState, User
from tests.conftest import user_row
from tests.harness import Harness, Interrupted
from tests.service import ROOT, Service

ENDLESS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    "postgresql": "SELECT count(*) FROM generate_series(1, 10000000000)",
}
AddUsers = Callable[..., list[str]]


def run_endless(connection: Connection) -> None:
    connection.execute(text(ENDLESS[connection.dialect.name]))


def test_statement_is_stopped_at_its_limit(db: Database) -> None:
    with pytest.raises(QueryTimeout, match=r"longer than 0\.2 s"), db.read(limit=0.2) as connection:
        run_endless(connection)

    with db.read() as connection:  # the connection is fit for use, and has no limit any more
        assert connection.execute(text("SELECT 1")).scalar() == 1
        if connection.dialect.name == "postgresql":
            assert connection.execute(text("SHOW statement_timeout")).scalar() == "0"


def test_statement_within_its_limit_is_left_alone(db: Database) -> None:
    with db.read(limit=30) as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1


def test_other_errors_are_no_timeouts(db: Database) -> None:
    with pytest.raises(Exception, match="nowhere") as refusal, db.read(limit=30) as connection:
        connection.execute(text("SELECT * FROM nowhere"))
    assert not isinstance(refusal.value, QueryTimeout)


@pytest.mark.slow
def test_planner_that_is_slower_than_its_lease_keeps_it(db: Database, add_users: AddUsers) -> None:
    add_users(db, 3)
    harness = Harness(db)
    harness.accept()
    held_up, go_on = threading.Event(), threading.Event()

    def hold_up() -> None:
        held_up.set()
        assert go_on.wait(30)

    with closing(Interrupted(db, 2, hold_up)) as interrupted:
        slow = Planner(interrupted, 10, harness.lease)
        thread = threading.Thread(target=slow.plan_next)
        thread.start()
        assert held_up.wait(30)

        for _ in range(5):  # well past several leases
            harness.now += harness.lease // 2
            slow.heartbeat()
            assert not harness.plan(), "another planner took a campaign that was in hand"
        go_on.set()
        thread.join(30)

    assert harness.progress().state == CampaignState.RUNNING
    harness.run()
    assert harness.counts() == {"sent": 3}


def test_planner_that_died_loses_its_lease(db: Database, add_users: AddUsers) -> None:
    add_users(db, 3)
    harness = Harness(db)
    harness.accept()
    with db.write() as connection:
        row = {"state": CampaignState.PLANNING, "due_at": harness.now + harness.lease, "fence": 1}
        connection.execute(Campaign.__table__.update().values(**row))  # type: ignore[attr-defined]

    assert not harness.plan()
    harness.now += harness.lease
    assert harness.plan()


def slow_query() -> dict[str, object]:
    """One that takes long over the users below: nested arrays, which no estimate can know."""
    return {"items": {"$elemMatch": {"tags": {"$elemMatch": {"$regex": "nobody"}}}}}


def add_heavy_users(db: Database, count: int, first: int = 0) -> None:
    rows = [user_row(number) for number in range(first, first + count)]
    items = [{"tags": [f"tag{n}" for n in range(100)]} for _ in range(100)]
    for row in rows:
        row["document"] = {**row["document"], "items": items}  # type: ignore[dict-item]
    with db.write() as connection:
        connection.execute(insert(User), rows)


@pytest.mark.slow
def test_planning_past_its_limit_ends_with_the_reason(db: Database) -> None:
    add_heavy_users(db, 300)
    harness = Harness(db)
    harness.accept(slow_query())
    planner = Planner(db, 10, harness.lease, limit=0.05)
    states = []
    for _ in range(3):
        assert planner.plan_next()
        states.append(harness.progress().state)
        harness.now += 24 * 3600 * 1000

    assert states == [CampaignState.RESTING, CampaignState.RESTING, CampaignState.FAILED]
    assert "longer than 0.05 s" in (harness.progress().reason or "")
    assert not planner.plan_next()


@pytest.mark.ci
@pytest.mark.slow
def test_two_processes_plan_what_takes_longer_than_a_lease_once(database_url: str, tmp_path: Path) -> None:
    """Before, each was fenced off by the other as soon as its lease was over, for ever."""
    settings = {"lease_seconds": 5, "transport": "memory:", "planning_timeout": 100}
    with Service(tmp_path, workers=2, database_url=database_url, **settings) as service:
        before, more, took = 0, 150 if database_url.startswith("sqlite") else 700, 0.0
        while took <= settings["lease_seconds"]:  # on a fast machine, with twice as many users
            add_heavy_users(service.db, more, first=before)
            before = more = before + more
            headers = service.headers("user00000")
            begun = time.monotonic()
            campaign = service.finish(headers, service.post(headers, query=json.dumps(slow_query())), seconds=100)
            took = time.monotonic() - begun
        with service.db.read() as connection:
            claims = connection.scalar(select(Campaign.fence).where(Campaign.id == campaign["_id"]))
    assert (campaign["state"], campaign["planned"], claims) == ("completed", 0, 1)


@pytest.mark.slow
def test_audience_and_preview_that_take_too_long_are_503(database_url: str, tmp_path: Path) -> None:
    with Service(tmp_path, database_url=database_url, audience_timeout=1, transport="memory:") as service:
        add_heavy_users(service.db, 500)
        headers = service.headers("user00000")
        query = json.dumps(slow_query())
        asked = {"query": query}
        message = {"from": "a@example.com", "subject": "x", "body": "[unsubscribe]", "query": query}
        for path, payload in (("audience", asked), ("preview", message)):
            answer = requests.post(f"{service.url}/api/v1/mailer/{path}", json=payload, headers=headers, timeout=60)
            assert (answer.status_code, answer.json()["errorType"]) == (503, "error-query-timeout"), answer.text
            assert answer.headers["Retry-After"] == "30"
            assert "Ask for less" in answer.json()["error"]


@pytest.mark.slow
def test_looks_have_a_rate_of_their_own(tmp_path: Path, add_users: AddUsers) -> None:
    with Service(tmp_path, rate_limit="1/minute", audience_rate_limit="3/minute", transport="memory:") as service:
        add_users(service.db, 1)
        headers = service.headers("user00000")
        url = f"{service.url}/api/v1/mailer/audience"
        answers = [requests.post(url, json={}, headers=headers, timeout=60) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[0].headers["X-RateLimit-Limit"] == "3"
        assert service.post(headers).status_code == 200


def test_only_half_of_the_threads_look_at_once() -> None:
    limit = ConcurrencyLimit()
    limit.resize(2)
    with limit.slot(), limit.slot(), pytest.raises(TooBusy), limit.slot():
        pass
    with limit.slot(), limit.slot():
        pass


@pytest.mark.slow
def test_slow_looks_leave_threads_for_posts(tmp_path: Path) -> None:
    with Service(tmp_path, audience_timeout=2, audience_rate_limit="", transport="memory:") as service:
        add_heavy_users(service.db, 500)
        headers = service.headers("user00000")
        answers: list[int] = []

        def look() -> None:
            url = f"{service.url}/api/v1/mailer/audience"
            asked = {"query": json.dumps(slow_query())}
            answers.append(requests.post(url, json=asked, headers=headers, timeout=60).status_code)

        lookers = [threading.Thread(target=look) for _ in range(70)]
        for looker in lookers:
            looker.start()
        time.sleep(1)
        assert service.post(headers).status_code == 200
        for looker in lookers:
            looker.join(60)
    assert set(answers) == {503}


HOLD = """
import sys
from sqlalchemy import text
from mailer.selector import database_at
with database_at(sys.argv[1]).read() as connection:
    connection.execute(text("SELECT count(*) FROM generate_series(1, 10000000000)"))
"""


@pytest.mark.slow
def test_statement_does_not_outlive_its_process(postgresql_url: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, postgresql_url], cwd=ROOT)
    db = database_at(postgresql_url)
    name = postgresql_url.rpartition("/")[2]
    running = text("SELECT count(*) FROM pg_stat_activity WHERE datname = :name AND query LIKE '%generate_series(1%'")

    def count() -> int:
        with db.read() as connection:
            others = text(f"{running.text} AND pid <> pg_backend_pid()")
            return int(connection.execute(others, {"name": name}).scalar_one())

    until = time.monotonic() + 60
    while count() == 0 and time.monotonic() < until:
        time.sleep(0.1)
    assert count() == 1
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    while count() and time.monotonic() < until:
        time.sleep(0.2)
    assert count() == 0
    db.close()
