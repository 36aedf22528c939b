"""`mailer status` and what it reads: the queue, the pace, open campaigns, what stops them, and what needs a person."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import insert, update

from mailer.campaigns import control
from mailer.campaigns.hold import hold, release
from mailer.campaigns.overview import KINDS, LONG, Overview, Waiting, for_a_person, look
from mailer.cli import main
from mailer.delivery import circuit_breaker
from mailer.delivery.circuit_breaker import Tripped
from mailer.settings.send_window import SendWindow
from mailer.storage.database import Database
from mailer.storage.models import Campaign, CampaignState, ScheduledTask
from mailer.storage.workers import Heartbeat
from tests.doc_pages import ROOT, codes, section, table
from tests.harness import MINUTE, START, Harness
from tests.service import BIN, Service
from transports.base import Status

QUIET = Overview(START, dict.fromkeys(KINDS, Waiting()), None, 0, (), None, {}, {}, {}, 0)


@pytest.fixture
def harness(db: Database, add_users: Callable[..., Any]) -> Harness:
    add_users(db, 25)
    return Harness(db)


def batches(seen: Overview) -> dict[str, int]:
    return {kind: waiting.batches for kind, waiting in seen.queue.items() if waiting.batches}


def test_database_without_campaigns_is_quiet(harness: Harness) -> None:
    assert look(harness.db) == QUIET
    assert for_a_person(QUIET, delivering=0) == []


def test_campaign_that_is_not_planned_is_open_and_is_work(harness: Harness) -> None:
    harness.accept()
    seen = look(harness.db)
    assert (seen.open, batches(seen)) == (1, {})
    (one,) = seen.campaigns
    assert (one.id, one.state, one.planned, one.left) == (harness.campaign_id, "accepted", 0, 0)
    assert for_a_person(seen, delivering=0) == ["there is work to do, and no worker was seen in the last minute"]
    assert for_a_person(seen, delivering=1) == []


def test_queue_counts_batches_and_recipients_by_what_they_wait_for(harness: Harness) -> None:
    harness.store.answer("user00012@example.com", Status.DEFERRED)
    harness.accept()
    harness.plan()
    assert look(harness.db).queue["due"] == Waiting(3, 25)
    assert look(harness.db).oldest_due_at == START
    harness.outbox.claim()
    harness.now += 1000
    assert batches(look(harness.db)) == {"due": 2, "in_hand": 1}
    harness.deliverer.run_next(lambda: False)
    assert batches(look(harness.db)) == {"due": 1, "in_hand": 1, "later": 1}
    control.pause(harness.db, harness.campaign_id)
    assert batches(look(harness.db)) == {"in_hand": 1, "held_up": 2}
    harness.now += harness.lease
    control.resume(harness.db, harness.campaign_id)
    harness.now += 10 * MINUTE
    assert batches(look(harness.db)) == {"due": 3}


def test_counts_of_a_campaign_are_those_of_its_progress(harness: Harness) -> None:
    harness.store.answer("user00003@example.com", Status.REFUSED)
    harness.store.answer("user00004@example.com", Status.DEFERRED)
    harness.accept()
    harness.plan()
    harness.deliverer.run_next(lambda: False)
    (one,) = look(harness.db).campaigns
    assert (one.planned, one.done, one.sent, one.left) == (25, 9, 8, 16)
    harness.run()
    assert look(harness.db).campaigns[0].left == 1
    harness.now += 10 * MINUTE
    harness.run()
    assert look(harness.db).campaigns == ()


def test_pace_follows_from_the_last_minutes(harness: Harness) -> None:
    harness.accept()
    harness.plan()
    assert (look(harness.db).per_minute, look(harness.db).campaigns[0].seconds_left) == (0, None)
    harness.now += MINUTE - START % MINUTE  # a minute begins
    harness.deliverer.run_next(lambda: False)
    harness.now += 2 * MINUTE - 1
    seen = look(harness.db)
    assert (seen.per_minute, seen.campaigns[0].seconds_left) == (5, 180)
    harness.deliverer.run_next(lambda: False)
    assert look(harness.db).campaigns[0].seconds_left == 30, "as fast as lately: ten in two minutes, and five more"
    hold(harness.db, "for how long, nobody knows")
    assert look(harness.db).campaigns[0].seconds_left is None
    release(harness.db)
    harness.now += 5 * MINUTE
    seen = look(harness.db)
    assert (seen.per_minute, seen.campaigns[0].seconds_left) == (0, None)


def test_pace_counts_a_campaign_that_has_just_ended(harness: Harness) -> None:
    harness.accept()
    harness.run()
    assert (look(harness.db).per_minute, look(harness.db).open) == (25, 0)


def test_due_batches_are_counted_by_priority(harness: Harness) -> None:
    harness.accept(dry_run=True)
    harness.accept()
    harness.plan()
    harness.plan()
    assert look(harness.db).due_by_priority == {"urgent": 1, "normal": 3}


def test_transport_that_is_away_calls_a_person_after_a_while(harness: Harness) -> None:
    with harness.db.write() as connection:
        circuit_breaker.trip(connection, "no route", START, half_open=False)
    seen = look(harness.db)
    assert (seen.breaker and seen.breaker.reason) == "no route"
    assert for_a_person(seen, delivering=1) == []
    harness.now += LONG
    assert for_a_person(look(harness.db), delivering=1) == ["the transport has not worked for 5 minutes: no route"]


QUOTA = "the quota of 5 messages a day for smtp relay is used up until 2026-06-02 00:00 UTC"


def test_quota_that_is_used_up_is_shown_and_calls_nobody(harness: Harness) -> None:
    harness.accept()
    harness.plan()
    with harness.db.write() as connection:
        circuit_breaker.trip(connection, QUOTA, START, half_open=False)
    harness.now += LONG
    seen = look(harness.db)
    assert [(one.state, one.reason) for one in seen.campaigns] == [("blocked", QUOTA)]
    assert for_a_person(seen, delivering=1) == []
    assert f"transport: {QUOTA}" in run(harness.db).stdout
    assert json.loads(run(harness.db, "--json").stdout)["transport"]["isPlanned"] is True


def test_window_that_is_closed_is_shown(harness: Harness) -> None:
    harness.accept()
    harness.plan()
    window = SendWindow.parse(f"{datetime.fromtimestamp(START / 1000 + 3600, UTC):%H:%M}-24:00 UTC")
    seen = look(harness.db, window)
    assert [(one.state, one.reason) for one in seen.campaigns] == [("running", window.waits(START))]
    assert str(window.waits(START)).startswith("waits for the send window until")
    assert seen.window == window.in_words(START)
    now = window.in_words(time.time() * 1000)
    env = {"MAILER_SEND_WINDOW": window.text}
    assert f"send window: {now}" in run(harness.db, **env).stdout
    assert json.loads(run(harness.db, "--json", **env).stdout)["sendWindow"] == now
    assert "send window" not in run(harness.db).stdout


def test_campaign_that_the_service_paused_calls_a_person_and_one_that_a_person_paused_does_not(
    harness: Harness,
) -> None:
    first, second = harness.accept(), harness.accept()
    harness.plan()
    harness.plan()
    control.pause(harness.db, first)
    with harness.db.write() as connection:
        why = {"state": CampaignState.PAUSED, "reason": "the sender was refused"}
        connection.execute(update(Campaign).where(Campaign.id == second).values(**why))
    seen = look(harness.db)
    assert {one.id: one.by_a_person for one in seen.campaigns} == {first: True, second: False}
    assert for_a_person(seen, delivering=1) == ["the service itself has paused a campaign"]


def test_resting_campaign_is_shown_and_calls_nobody(harness: Harness) -> None:
    harness.accept()
    harness.plan()
    harness.outbox.rest(harness.campaign_id, "odd")
    seen = look(harness.db)
    assert [(one.state, one.reason) for one in seen.campaigns] == [("resting", "odd")]
    assert batches(seen) == {"held_up": 3}
    assert for_a_person(seen, delivering=1) == []


@pytest.mark.parametrize(("failures", "told"), [(2, 0), (3, 1)])
def test_task_that_fails_again_and_again_calls_a_person(harness: Harness, failures: int, told: int) -> None:
    row = {"name": "sync x", "due_at": 1, "fence": 1, "failures": failures, "failed_at": 1, "error": "no"}
    with harness.db.write() as connection:
        connection.execute(insert(ScheduledTask).values(**row))
    wrong = for_a_person(look(harness.db), delivering=1)
    assert wrong == [f"sync x: failed {failures} times in a row: no"][:told]


def test_half_open_breaker_has_been_open_since_its_first_failure() -> None:
    seen = replace(QUIET, breaker=Tripped("no", START - LONG, 9, START))
    assert for_a_person(seen, delivering=1) == ["the transport has not worked for 5 minutes: no"]


def test_hold_is_shown_and_calls_nobody(sqlite_db: Database) -> None:
    hold(sqlite_db, "the relay is being moved")
    harness = Harness(sqlite_db)
    harness.accept(dry_run=True)
    harness.plan()
    seen = look(sqlite_db)
    assert seen.campaigns[0].state == "held"
    assert "the relay is being moved" in str(seen.campaigns[0].reason)
    assert (seen.hold and seen.hold.reason) == "the relay is being moved"
    assert for_a_person(seen, delivering=1) == []
    assert "sending: held since" in run(sqlite_db).stdout
    assert json.loads(run(sqlite_db, "--json").stdout)["hold"]["reason"] == "the relay is being moved"


# --- the command ------------------------------------------------------------------------------------------------------


def run(db: Database, *arguments: str, **settings: str) -> Result:
    return CliRunner(env={"MAILER_DATABASE_URL": db.url, **settings}).invoke(main, ["status", *arguments])


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailer.cli.commands.status.LOOK_SECONDS", 0.01)


def test_status_of_a_quiet_service_ends_with_0(sqlite_db: Database) -> None:
    done = run(sqlite_db)
    assert done.exit_code == 0
    assert "queue: 0 due, 0 later, 0 in hand, 0 held up" in done.stdout
    assert "transport: ok" in done.stdout


@pytest.fixture
def blocked(sqlite_db: Database, add_users: Callable[..., Any]) -> Harness:
    """A campaign to three that waits since the transport does not work."""
    add_users(sqlite_db, 3)
    harness = Harness(sqlite_db)
    harness.now = int(time.time() * 1000)
    harness.accept()
    harness.plan()
    with sqlite_db.write() as connection:
        circuit_breaker.trip(connection, "no route", harness.now, half_open=False)
    return harness


def test_status_shows_workers_and_campaigns(sqlite_db: Database, blocked: Harness) -> None:
    Heartbeat(sqlite_db, engine="local", role="worker", version="1.2.3", doing=lambda: "c batch 1").beat("w1")
    done = run(sqlite_db)
    assert done.exit_code == 0, done.output
    assert f"{os.uname().nodename}:{os.getpid()}" in done.stdout
    assert blocked.campaign_id in done.stdout
    assert "1 due (3 recipients)" in done.stdout
    assert "transport: open since" in done.stdout

    shown = json.loads(run(sqlite_db, "--json").stdout)
    assert shown["workers"][0]["doing"] == "c batch 1"
    assert shown["queue"]["due"] == {"batches": 1, "recipients": 3}
    assert shown["queue"]["inHand"] == {"batches": 0, "recipients": 0}
    assert (shown["campaigns"][0]["_id"], shown["campaigns"][0]["left"]) == (blocked.campaign_id, 3)
    assert (shown["transport"]["reason"], shown["transport"]["isOpen"]) == ("no route", True)
    assert shown["needsAPerson"] == []


def paths(value: Any, at: str = "") -> set[str]:
    """The fields of a JSON document: `a.b` for one in an object, `a[].b` for one in each of a list."""
    if isinstance(value, list):
        return {f"{at}[]"}.union(*(paths(one, f"{at}[]") for one in value))
    if not isinstance(value, dict):
        return {at}
    return {at}.union(*(paths(held, f"{at}.{name}" if at else name) for name, held in value.items()))


@pytest.mark.usefixtures("blocked")
def test_every_field_of_the_json_is_described_and_no_other(sqlite_db: Database) -> None:
    hold(sqlite_db, "the relay moves")
    Heartbeat(sqlite_db, engine="local", role="worker", version="1.2.3", doing=lambda: "").beat("w1")
    printed = json.loads(run(sqlite_db, "--json", MAILER_SEND_WINDOW="00:00-24:00 UTC").stdout)
    printed["dueByPriority"] = printed["failingTasks"] = None  # their names are no fields
    text = section(ROOT / "docs" / "reference" / "command-line.md", "What `mailer status --json` prints")
    described = {name for row in table(text, "field") for name in codes(row[0])}
    same = {f"queue.{kind}.{what}" for kind in ("later", "inHand", "heldUp") for what in ("batches", "recipients")}
    assert paths(printed) - {"", "workers", "campaigns", "queue", "lastDay", "needsAPerson"} - same == described


def test_looks_are_told_apart_in_a_pipe(sqlite_db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("mailer.cli.commands.status.time.sleep", sleep)
    looks = run(sqlite_db, "--watch").stdout.split("\n\n")
    assert [bool(re.match(r"at: \d{4}-\d\d-\d\dT[\d:]+Z\nengine: ", look)) for look in looks] == [True, True, False]


def test_status_ends_with_3_when_something_needs_a_person(sqlite_db: Database, add_users: Callable[..., Any]) -> None:
    add_users(sqlite_db, 3)
    Harness(sqlite_db).accept()
    done = run(sqlite_db, "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout)["needsAPerson"] == ["there is work to do, and no worker was seen in the last minute"]
    assert "Error: there is work to do" in done.stderr
    assert "needs a person: there is work to do" in run(sqlite_db).stdout


def test_database_that_cannot_be_read_ends_with_1(tmp_path: Path) -> None:
    (tmp_path / "mailer.db").write_bytes(b"no database" * 1000)
    done = CliRunner(env={"MAILER_DATABASE_URL": f"sqlite:///{tmp_path}/mailer.db"}).invoke(main, ["status"])
    assert done.exit_code == 1
    assert "Error: database: " in done.stderr


@pytest.mark.slow
def test_status_of_a_service_that_runs_and_of_one_that_is_gone(tmp_path: Path) -> None:
    """It shows the web's process; while it is watched a service ends, and is gone from the next look on."""
    service = Service(tmp_path, transport="memory:")
    command = [BIN / "mailer", "status", "--watch", "--json"]
    with service:
        watched = subprocess.Popen(command, cwd=tmp_path, env=service.environment, stdout=subprocess.PIPE, text=True)
        assert watched.stdout is not None
        while not (seen := json.loads(watched.stdout.readline()))["workers"]:
            pass
        service.stop()
        while json.loads(watched.stdout.readline())["workers"]:
            pass
    watched.send_signal(signal.SIGINT)
    watched.communicate()
    assert watched.returncode == 130
    assert [(one["role"], one["engine"], one["alive"]) for one in seen["workers"]] == [("web", "local", True)]
