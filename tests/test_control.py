"""Actions on a campaign: over the API, on the command line, and what they leave on record."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import delete, insert, select, update

from app import create_app
from mailer.callers.tokens import Tokens
from mailer.campaigns import control
from mailer.campaigns.deliveries import DeliveryRecord, Wanted
from mailer.campaigns.export import COLUMNS, cells, records
from mailer.campaigns.invariants import examine
from mailer.campaigns.retention import Purged, purge, purgeable
from mailer.cli import main
from mailer.delivery import circuit_breaker
from mailer.errors import InvalidState
from mailer.files.exports import neutral, write_csv, write_ndjson
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import Batch, BatchState, Campaign, CampaignState, Delivery, DeliveryStatus
from tests.databases import migrated_sqlite
from tests.harness import MINUTE, START, Harness, planned_for_25
from tests.service import BIN, Service
from tests.terminal import Terminal
from transports.base import About, Status

pytestmark = pytest.mark.slow

DAY = 24 * 60 * MINUTE
CAMPAIGNS = "/api/v1/mailer/campaigns"
ACTIONS = ("pause", "resume", "cancel", "retry-failed")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    """The web app, its engine not started."""
    made = create_app(Settings(database_url=migrated_sqlite(tmp_path / "mailer.db"), secret_key=("k" * 40,)))
    yield made
    made.extensions["mailer"].db.close()


@pytest.fixture
def harness(app: Flask, add_users: Callable[..., list[str]]) -> Harness:
    """The harness over the app's database, with a campaign of 25 planned."""
    return planned_for_25(app.extensions["mailer"].db, add_users)


@pytest.fixture
def act_on(app: Flask, harness: Harness) -> Callable[..., Any]:
    """Take an action of the campaign as a user; gives status and answer."""
    client: FlaskClient = app.test_client()
    tokens: dict[str, str] = {}

    def act(action: str, *, user_id: str = "user00000", campaign_id: str | None = None, query: str = "") -> Any:
        if user_id not in tokens:
            tokens[user_id] = Tokens(harness.db).create(user_id, ("send-mail",))
        headers = {"X-User-Id": user_id, "X-Auth-Token": tokens[user_id]}
        path = f"{CAMPAIGNS}/{campaign_id or harness.campaign_id}/{action}{query}"
        answer = client.open(path, method="GET" if action == "export" else "POST", headers=headers)
        return answer.status_code, answer.get_json() if answer.is_json else answer.get_data(as_text=True)

    return act


def test_pause_resume_and_cancel_show_the_campaign_as_it_is_then(harness: Harness, act_on: Callable[..., Any]) -> None:
    status, answer = act_on("pause")
    assert (status, answer["success"], answer["campaign"]["state"]) == (200, True, "paused")
    assert answer["campaign"]["reason"] == "paused by a person"
    assert act_on("pause")[0] == 200  # again changes nothing
    harness.run()
    assert harness.arrived() == []
    assert act_on("resume")[1]["campaign"]["state"] == "running"
    harness.deliverer.run_next(lambda: False)
    answer = act_on("cancel")[1]["campaign"]
    assert (answer["state"], answer["sent"], answer["pending"]) == ("cancelled", 10, 15)
    assert answer["finishedAt"] is not None
    harness.run()
    assert len(harness.arrived()) == 10
    assert examine(harness.db) == []


@pytest.mark.parametrize("action", ACTIONS)
def test_action_of_a_campaign_that_is_not_the_callers_is_not_found(act_on: Callable[..., Any], action: str) -> None:
    for answer in (act_on(action, user_id="user00001"), act_on(action, campaign_id="0123456789abcdef01234567")):
        assert (answer[0], answer[1]["errorType"]) == (404, "error-not-found")


@pytest.mark.parametrize("action", ACTIONS)
def test_action_needs_credentials(app: Flask, harness: Harness, action: str) -> None:
    answer = app.test_client().post(f"{CAMPAIGNS}/{harness.campaign_id}/{action}")
    assert answer.status_code == 401


ENDED = (CampaignState.COMPLETED, CampaignState.COMPLETED_WITH_ISSUES, CampaignState.CANCELLED)
BEGUN = (CampaignState.RUNNING, CampaignState.RESTING, CampaignState.PAUSED)
ALLOWED = {
    "pause": BEGUN,
    "resume": (CampaignState.PAUSED, CampaignState.RESTING),
    "cancel": (CampaignState.ACCEPTED, CampaignState.PLANNING, *BEGUN),
    "retry-failed": (CampaignState.COMPLETED_WITH_ISSUES, CampaignState.FAILED, *BEGUN),
}


@pytest.mark.parametrize("state", CampaignState)
@pytest.mark.parametrize("action", ACTIONS)
def test_action_works_in_some_states_and_is_refused_in_the_others(
    harness: Harness, act_on: Callable[..., Any], action: str, state: CampaignState
) -> None:
    with harness.db.write() as connection:
        connection.execute(update(Campaign).values(state=state))
    status, answer = act_on(action)
    if state in ALLOWED[action]:
        assert status == 200
    else:
        assert (status, answer["errorType"], answer["details"]) == (409, "error-invalid-state", {"state": state})
        with harness.db.read() as connection:
            assert connection.scalar(select(Campaign.state)) == state


def test_cancel_while_a_checkpoint_is_in_hand_shows_cancelling_until_it_ends(harness: Harness) -> None:
    claim = harness.outbox.claim()
    assert claim is not None
    items = harness.outbox.due_items(claim)
    harness.outbox.checkpoint(claim, [], items[:3], 10)
    control.cancel(harness.db, harness.campaign_id)
    assert harness.progress().state == "cancelling"
    assert harness.outbox.checkpoint(claim, [], items[3:6], 10).running is False
    harness.outbox.release(claim, [], 10)
    assert harness.progress().state == "cancelled"
    assert examine(harness.db) == []


def test_what_a_dead_worker_attempted_is_uncertain_after_cancel_and_sent_no_more(db: Database, add_users) -> None:
    add_users(db, 25)
    harness = Harness(db)
    harness.accept()
    harness.plan()
    claim = harness.outbox.claim()
    assert claim is not None
    harness.outbox.checkpoint(claim, [], harness.outbox.due_items(claim)[:3], 10)
    control.cancel(db, harness.campaign_id)
    harness.now += harness.lease
    harness.run()
    assert (harness.progress().state, harness.counts(), harness.arrived()) == (
        "cancelled",
        {"uncertain": 3, "pending": 22},
        [],
    )
    assert harness.delivery("user00000").due_at is None
    assert examine(db) == []


def test_cancel_skips_who_waited_for_another_attempt(db: Database, add_users) -> None:
    add_users(db, 25)
    harness = Harness(db)
    harness.store.answer("user00001@example.com", Status.DEFERRED)
    harness.store.answer("user00012@example.com", Status.DEFERRED)
    harness.store.answer("user00013@example.com", Status.UNCERTAIN)
    harness.accept()
    harness.plan()
    harness.deliverer.run_next(lambda: False)
    held = harness.outbox.claim()
    assert held is not None
    control.cancel(db, harness.campaign_id)
    harness.outbox.release(held, [], 10)
    assert harness.counts() == {"sent": 9, "skipped": 1, "pending": 15}
    assert harness.delivery("user00001").status == "skipped"
    assert examine(db) == []


@pytest.mark.parametrize("meanwhile", ["another planner", "cancel"])
def test_planner_that_wakes_up_late_changes_nothing(db: Database, add_users, meanwhile: str) -> None:
    add_users(db, 25)
    harness = Harness(db)
    harness.accept()

    def stand_still() -> None:
        if meanwhile == "cancel":
            control.cancel(db, harness.campaign_id)
        else:
            harness.now += harness.lease
            harness.run()

    harness.plan_interrupted(stand_still)
    harness.run()
    assert harness.progress().state == ("cancelled" if meanwhile == "cancel" else "completed")
    assert len(harness.arrived()) == (0 if meanwhile == "cancel" else 25)
    assert examine(db) == []


def test_blocked_is_shown_with_the_transports_reason_while_it_lasts(harness: Harness) -> None:
    harness.store.fail_after(2, "relay is down")
    harness.run()
    assert (harness.progress().state, harness.progress().reason) == ("blocked", "memory: relay is down")
    harness.store.recover()
    harness.now += 6000
    harness.run()
    assert (harness.progress().state, harness.progress().reason) == ("completed", None)


def test_open_breaker_that_nobody_tries_any_more_does_not_keep_the_service_from_being_ready(
    app: Flask, harness: Harness
) -> None:
    def transport() -> str:
        return str(app.test_client().get("/readyz").get_json()["transport"])

    harness.store.fail_after(2, "relay is down")
    harness.run()
    assert transport() == "memory: relay is down"
    control.cancel(harness.db, harness.campaign_id)
    harness.now += 4000
    assert transport() == "memory: relay is down"
    harness.now += 2000
    assert transport() == "ok"


def test_half_open_breaker_opens_for_longer_when_the_transport_connects_but_cannot_send(
    db: Database, add_users
) -> None:
    add_users(db, 5)
    harness = Harness(db)
    harness.accept()
    harness.plan()
    harness.transport.check = lambda: None  # it logs in, and then the sender is refused
    harness.store.fail_after(0, "sender refused")
    steps = []
    for _ in range(4):
        harness.deliverer.run_next(lambda: False)
        with db.read() as connection:
            breaker = circuit_breaker.tripped(connection)
        assert breaker is not None
        steps.append((breaker.failures, breaker.retry_at - harness.now))
        harness.now = breaker.retry_at
    assert steps == [(1, 5000), (2, 15_000), (3, 30_000), (4, 60_000)]
    harness.store.recover()
    harness.run()
    assert harness.counts() == {"sent": 5}
    with db.read() as connection:
        assert circuit_breaker.tripped(connection) is None


def test_resumed_knowing_of_its_failures_a_campaign_is_not_paused_for_them_again(db: Database, add_users) -> None:
    add_users(db, 300)
    harness = Harness(db, batch_size=50, checkpoint=50)
    harness.store.answer(None, *[Status.REFUSED] * 300, about=About.ADDRESS)
    harness.accept()
    harness.run()
    assert (harness.progress().state, harness.progress().failed) == ("paused", 100)
    control.resume(db, harness.campaign_id)
    assert "MAILER_MAX_FAILURE_RATE" in str(harness.progress().reason)
    harness.run()
    assert (harness.progress().state, harness.counts()) == ("completed_with_issues", {"failed": 300})


def test_retry_failed_runs_a_completed_campaign_again(db: Database, add_users) -> None:
    add_users(db, 25)
    harness = Harness(db)
    for number in (3, 4, 17):
        harness.store.answer(f"user{number:05d}@example.com", Status.REFUSED)
    harness.store.answer("user00018@example.com", *[Status.UNCERTAIN] * 2)
    harness.accept()
    harness.run()
    assert harness.counts() == {"sent": 21, "failed": 3, "uncertain": 1}
    harness.now += 2 * DAY
    assert control.retry_failed(db, harness.campaign_id) == 3
    assert (harness.progress().state, harness.counts()) == ("running", {"sent": 21, "deferred": 3, "uncertain": 1})
    assert examine(db) == []
    harness.store.answer("user00003@example.com", Status.DEFERRED)  # two days later still a first attempt
    harness.run()
    assert harness.counts() == {"sent": 23, "deferred": 1, "uncertain": 1}
    harness.now += 2 * MINUTE
    harness.run()
    assert (harness.progress().state, harness.counts()) == ("completed_with_issues", {"sent": 24, "uncertain": 1})
    assert control.retry_failed(db, harness.campaign_id, uncertain=True) == 1
    harness.run()
    assert (harness.progress().state, harness.counts()) == ("completed", {"sent": 25})
    assert len(harness.arrived()) == 24 + 2 + 1
    with pytest.raises(InvalidState):
        control.retry_failed(db, harness.campaign_id)


def test_retry_failed_skips_who_has_unsubscribed_since(db: Database, add_users) -> None:
    from mailer.storage.models import User

    add_users(db, 5)
    harness = Harness(db)
    harness.store.answer("user00003@example.com", Status.REFUSED)
    harness.accept()
    harness.run()
    with db.write() as connection:
        connection.execute(update(User).where(User.id == "user00003").values(unsubscribed_at=harness.now))
    control.retry_failed(db, harness.campaign_id)
    harness.run()
    assert (harness.progress().state, harness.counts()) == ("completed", {"sent": 4, "skipped": 1})


def test_retry_failed_while_a_batch_is_held_keeps_the_counts(db: Database, add_users) -> None:
    add_users(db, 25)
    harness = Harness(db)
    harness.store.answer("user00003@example.com", Status.REFUSED)
    harness.accept()
    harness.plan()
    harness.deliverer.run_next(lambda: False)
    held = harness.outbox.claim()
    assert held is not None
    assert control.retry_failed(db, harness.campaign_id) == 1
    assert examine(db) == []
    harness.outbox.release(held, [], 10)
    harness.run()
    assert (harness.progress().state, harness.counts()) == ("completed", {"sent": 25})


def test_retry_failed_over_the_api_says_how_many(harness: Harness, act_on: Callable[..., Any]) -> None:
    harness.store.answer("user00003@example.com", Status.REFUSED)
    harness.store.answer("user00004@example.com", *[Status.UNCERTAIN] * 2)
    harness.run()
    status, answer = act_on("retry-failed")
    assert (status, answer["retried"], answer["campaign"]["deferred"]) == (200, 1, 1)
    assert act_on("retry-failed", query="?uncertain=true")[1]["retried"] == 1
    assert act_on("retry-failed", query="?uncertain=perhaps")[0] == 400


BREAKAGES: dict[str, Any] = {
    "its counters are not those of its deliveries": lambda: update(Batch).where(Batch.number == 0).values(sent=8),
    "it has more outcomes than were planned": lambda: update(Batch).where(Batch.number == 0).values(planned=9),
    "a counter is below zero": lambda: update(Batch).where(Batch.number == 1).values(failed=-1),
    "it overlaps with another batch": lambda: update(Batch).where(Batch.number == 1).values(first_id="user00009"),
    "it is held by nobody and has messages being attempted": lambda: (
        update(Batch).where(Batch.number == 1).values(attempting=["user00011"])
    ),
    "it is done and has outcomes missing": lambda: update(Batch).where(Batch.number == 2).values(state=BatchState.DONE),
    "it is done and has a delivery that is to be tried again": lambda: (
        update(Batch).where(Batch.number == 0).values(state=BatchState.DONE)
    ),
    "a delivery belongs to no batch": lambda: delete(Batch).where(Batch.number == 0),
    "a final delivery is to be tried again": lambda: update(Delivery).where(Delivery.status == "sent").values(due_at=1),
    "a deferred delivery is never to be tried again": lambda: (
        update(Delivery).where(Delivery.status == "deferred").values(due_at=None)
    ),
    "a recipient may have had more copies than are allowed": lambda: update(Delivery).values(uncertain_attempts=3),
    "it is not planned yet and has batches": lambda: update(Campaign).values(state=CampaignState.PLANNING),
    "it is completed and has a batch that is not done": lambda: update(Campaign).values(state=CampaignState.COMPLETED),
    "it is cancelled and has a batch that waits": lambda: update(Campaign).values(state=CampaignState.CANCELLED),
    "it is running and has no batch left to run": lambda: update(Batch).values(state=BatchState.DONE),
    "it is over and has no end on record": lambda: update(Campaign).values(state=CampaignState.CANCELLED),
    "it has an end on record and is not over": lambda: update(Campaign).values(finished_at=1),
}


@pytest.mark.parametrize("problem", BREAKAGES)
def test_doctor_names_what_is_wrong(db: Database, add_users, problem: str) -> None:
    add_users(db, 25)
    harness = Harness(db)
    harness.store.answer("user00003@example.com", Status.DEFERRED)
    harness.accept()
    harness.plan()
    harness.deliverer.run_next(lambda: False)
    assert examine(db) == []
    with db.write() as connection:
        connection.execute(BREAKAGES[problem]())
    found = examine(db)
    assert problem in {finding.problem for finding in found}
    assert {finding.campaign_id for finding in found} == {harness.campaign_id}


def test_doctor_on_the_command_line(harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILER_DATABASE_URL", harness.db.url)
    monkeypatch.setenv("MAILER_SECRET_KEY", "k" * 40)
    monkeypatch.chdir(tmp_path)
    well = CliRunner().invoke(main, ["doctor"])
    assert (well.exit_code, well.stdout) == (0, "all is well\n")
    with harness.db.write() as connection:
        connection.execute(update(Batch).where(Batch.number == 1).values(sent=2))
    ill = CliRunner().invoke(main, ["doctor"])
    assert ill.exit_code == 1
    assert ill.stdout == f"campaign {harness.campaign_id} batch 1: its counters are not those of its deliveries\n"
    assert ill.stderr == "Error: 1 things are wrong\n"
    assert json.loads(CliRunner().invoke(main, ["doctor", "--json"]).stdout)[0]["batch"] == 1


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_cell_that_starts_a_formula_is_neutralised(cell: str) -> None:
    record = DeliveryRecord(cell, cell, "sent", 1, cell, START, None, "id@example.com")
    row = list(csv.reader(io.StringIO("".join(write_csv(COLUMNS, [cells(record)])), newline="")))[1]
    assert [row[0], row[1], row[4]] == [f"'{cell}"] * 3
    assert neutral("plain = text") == "plain = text"


def test_export_streams_everyone_by_user_id(db: Database, add_users) -> None:
    harness = Harness(db)
    harness.accept(dry_run=True)
    harness.run()
    values = {
        "campaign_id": harness.campaign_id,
        "status": "sent",
        "address": None,
        "attempts": 1,
        "uncertain_attempts": 0,
    }
    values |= {"reply": 'said "250, OK"\nand more', "first_at": START, "updated_at": START, "due_at": None}
    with db.write() as connection:
        connection.execute(delete(Delivery))
        connection.execute(insert(Delivery), [{**values, "user_id": f"user{number:05d}"} for number in range(2500)])
    rows = list(
        csv.DictReader(
            io.StringIO("".join(write_csv(COLUMNS, map(cells, records(db, harness.campaign_id)))), newline="")
        )
    )
    assert [row["userId"] for row in rows] == [f"user{number:05d}" for number in range(2500)]
    assert (rows[0]["reply"], rows[0]["address"]) == ('said "250, OK"\nand more', "")
    assert rows[0]["updatedAt"] == "2023-11-14T22:13:20.000Z"
    lines = [json.loads(line) for line in write_ndjson(COLUMNS, map(cells, records(db, harness.campaign_id)))]
    assert (len(lines), lines[7]["userId"], lines[7]["address"]) == (2500, "user00007", None)
    assert list(records(db, harness.campaign_id, Wanted(DeliveryStatus.FAILED))) == []


def test_export_over_the_api_is_for_its_caller(harness: Harness, act_on: Callable[..., Any]) -> None:
    harness.store.answer("user00003@example.com", Status.REFUSED)
    harness.run()
    status, answer = act_on("export", query="?format=csv&status=failed")
    assert (status, len(answer.splitlines())) == (200, 2)
    assert answer.splitlines()[1].startswith("user00003,user00003@example.com,failed,1,")
    assert len(act_on("export", query="?format=ndjson")[1].splitlines()) == 25
    assert act_on("export", query="?format=xlsx")[0] == 400
    assert act_on("export", user_id="user00001")[0] == 404


def test_purge_forgets_old_campaigns_and_keeps_their_counts(db: Database, add_users) -> None:
    add_users(db, 25)
    harness = Harness(db)
    harness.store.answer("user00003@example.com", Status.REFUSED)
    old = harness.accept({"username": {"$ne": "someone@example.com"}}, key="secret")
    harness.run()
    counts = harness.counts()
    harness.now += 90 * DAY
    recent = harness.accept()
    harness.run()
    harness.now += 1
    purged = purge(db, 90 * DAY)
    assert (purged.campaigns, purged.deliveries) == (1, 25)
    with db.read() as connection:
        kept = connection.execute(select(Campaign.id, Campaign.body, Campaign.sender, Campaign.query)).all()
        left = connection.scalars(select(Delivery.address).where(Delivery.campaign_id == old)).all()
        replies = connection.scalars(select(Delivery.reply).where(Delivery.campaign_id == old)).all()
    assert [(row.body, row.sender, row.query) for row in kept if row.id == old] == [("", "", {})]
    assert [bool(row.body) for row in kept if row.id == recent] == [True]
    assert (set(left), set(replies)) == ({None}, {""})
    harness.campaign_id = old
    assert (harness.counts(), harness.progress().state) == (counts, "completed_with_issues")
    assert examine(db) == []
    assert purge(db, 90 * DAY).campaigns == 0
    with pytest.raises(InvalidState, match="purged"):
        control.retry_failed(db, old)


def test_purge_leaves_what_is_not_over_alone(harness: Harness) -> None:
    harness.deliverer.run_next(lambda: False)
    harness.now += 400 * DAY
    assert purge(harness.db, 90 * DAY).campaigns == 0
    harness.run()
    assert harness.counts() == {"sent": 25}


@pytest.mark.parametrize(("given", "code"), [("90d", 0), ("0d", 0), ("90", 2), ("d", 2), ("-1d", 2), ("1w", 2)])
def test_purge_on_the_command_line(
    harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, code: int
) -> None:
    monkeypatch.setenv("MAILER_DATABASE_URL", harness.db.url)
    monkeypatch.setenv("MAILER_SECRET_KEY", "k" * 40)
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["purge", "--older-than", given, "--yes"]).exit_code == code


def test_purge_counts_first_and_asks_nobody_where_nobody_is(
    harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.run()
    monkeypatch.setenv("MAILER_DATABASE_URL", harness.db.url)
    monkeypatch.setenv("MAILER_SECRET_KEY", "k" * 40)
    monkeypatch.chdir(tmp_path)

    def purged(*more: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["purge", "--older-than", "1d", *more])
        return done.exit_code, done.stdout

    assert purgeable(harness.db, -1) == Purged(1, 25)
    assert purged("--dry-run") == (0, "would purge 1 campaigns with 25 deliveries\n")
    assert purged("--dry-run", "--yes") == purged("--dry-run")
    assert purged() == (2, "")
    assert purgeable(harness.db, -1) == Purged(1, 25)
    assert purged("--yes") == (0, "purged 1 campaigns with 25 deliveries\n")
    assert purged("--dry-run") == (0, "would purge 0 campaigns with 0 deliveries\n")


@pytest.mark.slow
def test_purge_asks_at_a_terminal(harness: Harness, tmp_path: Path) -> None:
    harness.run()
    environment = {"MAILER_DATABASE_URL": harness.db.url, "MAILER_SECRET_KEY": "k" * 40}
    environment = {**{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}, **environment}

    def asked(answer: str) -> tuple[int, str]:
        command = [BIN / "mailer", "purge", "--older-than", "1d"]
        terminal = Terminal(command, cwd=tmp_path, env=environment)
        terminal.wait_for("Forget the texts and addresses of 1 campaigns with 25 deliveries for good? [y/N]")
        terminal.type(answer)
        return terminal.end(), terminal.shown

    code, shown = asked("n\n")
    assert (code, "nothing was purged" in shown, purgeable(harness.db, -1)) == (1, True, Purged(1, 25))
    code, shown = asked("y\n")
    assert (code, "purged 1 campaigns with 25 deliveries" in shown) == (0, True)


@pytest.mark.slow
def test_actions_on_the_command_line_work_on_a_running_service(tmp_path: Path, add_users) -> None:
    made = Service(tmp_path, transport="smtp://127.0.0.1:9", batch_size=10)  # nobody listens there: it stays blocked
    add_users(made.db, 25)
    with made as service:
        headers = service.headers("user00000")
        campaign_id = service.post(headers).headers["Location"].rpartition("/")[2]

        def mailer(*arguments: str) -> str:
            who = ["--url", service.url, "--user-id", "user00000", "--token", headers["X-Auth-Token"]]
            result = CliRunner().invoke(main, ["campaigns", *arguments, campaign_id, *who])
            assert result.exit_code == 0, result.output
            return result.stdout

        while service.get(f"{CAMPAIGNS}/{campaign_id}", headers).json()["campaign"]["state"] != "blocked":
            pass
        assert "connect" in json.loads(mailer("show", "--json"))["reason"]
        assert service.get("/readyz").json()["warnings"]
        assert "state: paused" in mailer("pause")
        assert mailer("retry-failed") == "0 to be tried again\n"
        assert json.loads(mailer("resume", "--json"))["state"] == "blocked"
        assert "state: cancel" in mailer("cancel")
        assert mailer("export").startswith("userId,address,status,")
        assert mailer("export", "--format", "ndjson") == ""
