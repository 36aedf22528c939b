"""The timeline of campaigns and of the service, and the report of a night, on both databases; no row has an address."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask
from sqlalchemy import func, select, update
from sqlalchemy.exc import DBAPIError

from app import create_app
from mailer.audit.actor import Actor, Via, acting
from mailer.callers.tokens import PERMISSIONS, Tokens
from mailer.campaigns import control
from mailer.campaigns.hold import hold, release
from mailer.campaigns.reports.timeline import everything, in_words, timeline
from mailer.cli import main
from mailer.delivery.circuit_breaker import close, trip
from mailer.errors import InvalidParams
from mailer.operation.report import night, report
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import Event
from mailer.storage.steps.small_steps import run_steps
from mailer.timeline.events import Kind, happened
from mailer.timeline.retention import event_retention, forgetting
from tests.harness import MINUTE, Harness, planned_for_25
from tests.test_signed_in_pages import sign_in
from tests.test_status import QUOTA
from transports.base import About, Status

API = "/api/v1/mailer"
ANN = Actor("ann", Via.API, "192.0.2.1")
DAY = 24 * 60 * MINUTE


def kinds(harness: Harness) -> list[str]:
    return [one.kind for one in timeline(harness.db, harness.progress())]


def told(harness: Harness, kind: Kind) -> dict[str, Any]:
    (found,) = [one for one in timeline(harness.db, harness.progress()) if one.kind == kind]
    return dict(found.details)


@pytest.fixture
def harness(db: Database, add_users: Callable[..., list[str]]) -> Harness:
    return planned_for_25(db, add_users)


def test_campaign_without_trouble_is_accepted_planned_and_done(harness: Harness) -> None:
    harness.run()
    assert kinds(harness) == [Kind.ACCEPTED, Kind.PLANNED, Kind.COMPLETED]
    assert told(harness, Kind.ACCEPTED) == {"by": "user00000"}
    assert told(harness, Kind.PLANNED) == {"recipients": 25}
    with harness.db.read() as connection:  # none is written for a message
        assert connection.scalar(select(func.count()).select_from(Event)) == 2


def test_campaign_for_nobody_is_done_at_once(db: Database) -> None:
    harness = Harness(db)
    harness.accept({"username": "nobody"})
    harness.plan()
    assert kinds(harness) == [Kind.ACCEPTED, Kind.PLANNED, Kind.COMPLETED]


def test_who_paused_resumed_cancelled_and_tried_again(harness: Harness) -> None:
    with acting(ANN):
        control.pause(harness.db, harness.campaign_id)
        control.pause(harness.db, harness.campaign_id)  # it is paused already: nothing happens
        control.resume(harness.db, harness.campaign_id)
    harness.store.answer("user00001@example.com", Status.REFUSED)
    harness.run()
    control.retry_failed(harness.db, harness.campaign_id)
    control.cancel(harness.db, harness.campaign_id)
    assert kinds(harness)[2:] == [Kind.PAUSED, Kind.RESUMED, Kind.COMPLETED, Kind.RETRIED, Kind.CANCELLED]
    assert told(harness, Kind.PAUSED) == {"by": "ann"}
    assert told(harness, Kind.RETRIED) == {"by": "system", "recipients": 1}
    assert told(harness, Kind.CANCELLED) == {"by": "system", "skipped": 1}


def test_breaker_tells_from_when_until_when_why_and_how_often_it_was_tried(harness: Harness) -> None:
    harness.store.fail_after(0, "no route for news@example.com")
    began = harness.now
    for _ in range(3):
        harness.run()
        harness.now += 10 * MINUTE
    harness.store.recover()
    harness.run()
    found = timeline(harness.db, harness.progress())
    assert [one.kind for one in found][2:] == [Kind.BREAKER_OPENED, Kind.BREAKER_CLOSED, Kind.COMPLETED]
    assert found[2].at == began
    closed = found[3]
    assert (closed.at, closed.details["since"], closed.details["tries"]) == (began + 30 * MINUTE, began, 3)
    assert closed.details["reason"].startswith("memory: no route for")
    assert "@" not in str([one.details for one in found])
    (outage,) = report(harness.db, harness.settings).outages
    assert (outage.cause, outage.since, outage.until, outage.tries) == ("transport", began, closed.at, 3)
    (late,) = report(harness.db, harness.settings).late
    assert (late.late, late.causes) == (30 * MINUTE, ("transport",))


def test_quota_that_is_used_up_is_told_as_such(harness: Harness) -> None:
    with harness.db.write() as connection:
        trip(connection, QUOTA, harness.now, half_open=False)
    (outage,) = report(harness.db, harness.settings).outages
    assert (outage.cause, outage.until) == ("quota", None)
    with harness.db.write() as connection:
        close(connection, harness.now + MINUTE)
    harness.now += MINUTE
    (outage,) = report(harness.db, harness.settings).outages
    assert (outage.cause, outage.until) == ("quota", harness.now)


def test_rests_and_how_they_end(harness: Harness) -> None:
    harness.store.answer(
        None, Status.REFUSED, Status.REFUSED, about=About.SENDER, reply="550 5.7.1 not as a@example.com"
    )
    for _ in range(3):
        harness.run()
        harness.now += 60 * MINUTE
    assert kinds(harness)[2:] == [Kind.RESTED, Kind.RESTED, Kind.WENT_ON, Kind.COMPLETED]


@pytest.mark.parametrize(
    ("limit", "same", "words"),
    [("MAILER_MAX_FAILURE_RATE", 0, "recipients failed"), ("MAILER_SAME_REFUSALS", 20, "say the same")],
)
def test_limits_say_which_they_are(
    db: Database, add_users: Callable[..., list[str]], limit: str, same: int, words: str
) -> None:
    add_users(db, 150)
    harness = Harness(db, max_failure_rate=0.2, same_refusals=same)
    for number in range(150):
        harness.store.answer(f"user{number:05d}@example.com", Status.REFUSED)
    harness.accept()
    harness.run()
    paused = told(harness, Kind.PAUSED)
    assert paused["limit"] == limit
    assert words in paused["reason"]


def test_lost_worker_and_who_took_its_batch_over(harness: Harness) -> None:
    claim = harness.outbox.claim()
    assert claim is not None
    items = harness.outbox.due_items(claim)
    harness.outbox.checkpoint(claim, [], items[:3], len(items))
    harness.now += harness.lease + 1
    harness.run()
    lost = told(harness, Kind.WORKER_LOST)
    assert (lost["batch"], lost["recipients"]) == (0, 3)
    (event,) = [one for one in timeline(harness.db, harness.progress()) if one.kind == Kind.WORKER_LOST]
    assert in_words(event) == f"taken over by {lost['by']}; batch 0; 3 recipients in hand"
    assert ":" in lost["by"]


def test_rows_are_never_changed_and_go_when_they_are_old(harness: Harness) -> None:
    harness.run()
    with pytest.raises(DBAPIError, match="append-only"), harness.db.write() as connection:
        connection.execute(update(Event).values(kind="x"))
    harness.now += 2 * DAY
    with harness.db.write() as connection:
        happened(connection, harness.now, Kind.RESTORED, reason="a" * 5000 + " news@example.com")
    run_steps(forgetting(harness.db, DAY))
    left = everything(harness.db, count=9)
    assert [one.kind for one in left] == [Kind.RESTORED]
    assert len(left[0].details["reason"]) == 1000
    assert kinds(harness) == [Kind.ACCEPTED]
    assert event_retention(harness.db, DAY, 60_000).run_when_due(threading.Event()) == {}


def at_night(harness: Harness) -> None:
    """Held for ten minutes, then paused by somebody for five, which overlap by two; and another campaign that waits."""
    with acting(ANN):
        hold(harness.db, "the relay moves")
        harness.now += 8 * MINUTE
        control.pause(harness.db, harness.campaign_id)
        harness.now += 2 * MINUTE
        release(harness.db)
        harness.now += 3 * MINUTE
        control.resume(harness.db, harness.campaign_id)
    harness.run()
    harness.now += MINUTE


def test_report_of_a_night(harness: Harness) -> None:
    began = harness.now
    first = harness.campaign_id
    at_night(harness)
    second = harness.accept({"username": {"$ne": "user00000"}})
    harness.plan()
    control.pause(harness.db, second)
    harness.now += 30_000

    found = report(harness.db, harness.settings)
    assert [(one.cause, one.since - began, one.campaign_id) for one in found.outages] == [
        ("held", 0, None),
        ("paused", 8 * MINUTE, first),
        ("paused", 14 * MINUTE, second),
    ]
    assert [one.until and one.until - began for one in found.outages] == [10 * MINUTE, 13 * MINUTE, None]
    assert [one.by for one in found.outages] == ["ann", "ann", "system"]
    (late,) = found.late  # what overlaps counts once; half a minute is not late
    assert (late.campaign_id, late.late, late.causes) == (first, 13 * MINUTE, ("held", "paused"))
    assert any(second in sentence for sentence in found.needs_a_person)
    assert not any(first in sentence for sentence in found.needs_a_person)
    assert report(harness.db, harness.settings, harness.now - 1).outages[0].campaign_id == second


@pytest.fixture
def app(harness: Harness) -> Iterator[Flask]:
    url = harness.db.url
    made = create_app(Settings(database_url=url, secret_key=("k" * 40,), rate_limit="", transport="memory:"))
    yield made
    made.extensions["mailer"].db.close()


def ask(app: Flask, db: Database, path: str, *permissions: str, user: str = "user00000") -> Any:
    headers = {"X-User-Id": user, "X-Auth-Token": Tokens(db).create(user, permissions)}
    return app.test_client().get(API + path, headers=headers)


def test_campaign_for_nobody_was_late_for_nobody(harness: Harness) -> None:
    first = harness.campaign_id
    hold(harness.db, "the relay is moved")
    harness.accept({"roles": "typo"})
    harness.now += 10 * MINUTE
    harness.plan()
    assert harness.progress().finished_at is not None
    assert [one.campaign_id for one in report(harness.db, harness.settings).late] == [first]


def test_report_of_a_time_to_come_is_refused(harness: Harness) -> None:
    with pytest.raises(InvalidParams, match="still to come"):
        report(harness.db, harness.settings, harness.now + 1)


def test_timeline_and_report_over_http(app: Flask, harness: Harness) -> None:
    at_night(harness)
    db, path = harness.db, f"/campaigns/{harness.campaign_id}/events"
    mine = ask(app, db, path, "send-mail").get_json()
    assert [one["kind"] for one in mine["events"]] == kinds(harness)
    assert mine["next"] is None
    held = mine["events"][2]
    assert held["details"] == {"reason": "the relay moves", "by": "ann"}
    assert (held["campaign"], held["text"]) == (None, "by ann; the relay moves")
    assert mine["events"][4]["details"]["since"].endswith("Z")
    first = ask(app, db, f"{path}?count=2", "send-mail").get_json()
    assert len(first["events"]) == 2
    rest = ask(app, db, f"{path}?count=100&after={first['next']}", "send-mail").get_json()
    assert [*first["events"], *rest["events"]] == mine["events"]
    assert ask(app, db, path, "send-mail", user="user00001").status_code == 404
    assert ask(app, db, path, "manage-campaigns", user="user00001").status_code == 200

    assert ask(app, db, "/events", "send-mail").status_code == 403
    found = ask(app, db, "/events?kind=paused", "manage-campaigns").get_json()["events"]
    assert [one["campaign"] for one in found] == [harness.campaign_id]
    for wrong in ("/events?kind=x", "/events?since=x", "/events?after=-1", f"{path}?count=0", "/report?since=x"):
        answer = ask(app, db, wrong, *PERMISSIONS)
        assert answer.status_code == 400, wrong
        assert wrong.partition("?")[2].partition("=")[0] in answer.get_json()["error"]

    assert ask(app, db, "/report", "send-mail").status_code == 403
    since = "2023-01-01T00:00:00Z"
    answer = ask(app, db, f"/report?since={since}", "manage-campaigns").get_json()["report"]
    wanted = night(report(db, harness.settings, 1_672_531_200_000))
    assert {**answer, "until": None} == {**wanted, "until": None}
    assert answer["late"][0]["lateSeconds"] == 13 * 60


def test_report_of_the_command_is_that_of_the_api(
    harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_night(harness)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILER_DATABASE_URL", harness.db.url)
    monkeypatch.setenv("MAILER_SECRET_KEY", "k" * 40)
    shown = json.loads(CliRunner().invoke(main, ["report", "--since", "2023-01-01", "--json"]).stdout)
    assert shown["late"] == night(report(harness.db, harness.settings, 1_672_531_200_000))["late"]
    printed = CliRunner().invoke(main, ["report", "--since", "2023-01-01"])
    assert printed.exit_code == 0, printed.output
    for words in ("the relay moves", "held, paused", "13", "nothing waits for a person"):
        assert words in printed.stdout
    assert "nothing waits" in CliRunner().invoke(main, ["report"]).stdout
    assert CliRunner().invoke(main, ["report", "--since", "soon"]).exit_code == 2


def test_timeline_is_on_the_page_of_the_campaign_and_of_the_system(app: Flask, harness: Harness) -> None:
    at_night(harness)
    client = app.test_client()
    sign_in(client, "user00000", Tokens(harness.db).create("user00000", PERMISSIONS))
    page = client.get(f"/mailer/campaigns/{harness.campaign_id}").text
    for words in ("Timeline", "planned", "by ann", "the relay moves", "25 recipients"):
        assert words in page
    with harness.db.write() as connection:
        for _ in range(100):
            happened(connection, harness.now, Kind.RESTORED, reason="<b>again</b>")
    shown = client.get("/mailer/system/events").text
    assert "The last twelve hours" in shown
    assert "&lt;b&gt;again" in shown
    [more] = re.findall(r"system/events.before=\d+", shown)
    older = client.get(f"/mailer/{more}").text
    assert harness.campaign_id in older
    assert "There is nothing older" in client.get("/mailer/system/events?before=1").text
    sign_in(client, "user00001", Tokens(harness.db).create("user00001", ["send-mail"]))
    assert client.get("/mailer/system/events").status_code == 403
