"""Operators: everybody's campaigns, all sending held and released, and tokens of programs that are no users."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from flask import Flask
from sqlalchemy import func, insert, select

from app import create_app
from mailer.audit.actor import Actor, Via, acting
from mailer.callers.tokens import MANAGE_CAMPAIGNS, PERMISSIONS, SEND_MAIL, Tokens, service_id
from mailer.campaigns import control
from mailer.campaigns.hold import Hold, current_hold, hold, release
from mailer.campaigns.invariants import examine
from mailer.cli import main
from mailer.cli.root import system_user
from mailer.directory.users import deactivate_user, put_user
from mailer.errors import InvalidParams, InvalidRow, NotLoggedIn
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import AuthToken, Delivery, User
from tests.conftest import user_row
from tests.databases import migrated_sqlite
from tests.harness import START, Harness, planned_for_25
from tests.recording_smtp import RecordingServer, recording_smtp
from tests.service import Service
from transports.base import Status

pytestmark = pytest.mark.slow

API = "/api/v1/mailer"
CAMPAIGNS = f"{API}/campaigns"
OPERATOR = Actor("ann", Via.CLI, "host")

Ask = Callable[..., Any]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    url = migrated_sqlite(tmp_path / "mailer.db")
    made = create_app(Settings(database_url=url, secret_key=("k" * 40,), rate_limit=""))
    yield made
    made.extensions["mailer"].db.close()


@pytest.fixture
def harness(app: Flask, add_users: Callable[..., list[str]]) -> Harness:
    """A campaign of user00000 for 25 people, planned."""
    return planned_for_25(app.extensions["mailer"].db, add_users)


@pytest.fixture
def ask(app: Flask, harness: Harness) -> Ask:
    """Ask as a user whose token has some permissions; gives the response."""

    def asked(verb: str, path: str, user_id: str, *permissions: str, **request: Any) -> Any:
        headers = {"X-User-Id": user_id, "X-Auth-Token": Tokens(harness.db).create(user_id, permissions)}
        return app.test_client().open(path, method=verb, headers=headers, **request)

    return asked


def test_operator_sees_and_controls_campaigns_of_others(harness: Harness, ask: Ask) -> None:
    mine = (f"{CAMPAIGNS}/{harness.campaign_id}", "user00001", MANAGE_CAMPAIGNS)  # without send-mail
    at, *who = mine
    assert ask("GET", CAMPAIGNS, *who).get_json()["campaigns"] == []
    listed = ask("GET", f"{CAMPAIGNS}?all=true", *who).get_json()
    assert (listed["total"], listed["campaigns"][0]["callerId"]) == (1, "user00000")
    assert ask("GET", at, *who).get_json()["campaign"]["callerId"] == "user00000"
    paused = ask("POST", f"{at}/pause", *who).get_json()["campaign"]
    assert (paused["state"], paused["reason"]) == ("paused", "paused by an operator")
    assert ask("POST", f"{at}/resume", *who).get_json()["campaign"]["state"] == "running"
    harness.store.answer("user00003@example.com", Status.REFUSED)
    harness.run()
    assert len(ask("GET", f"{at}/deliveries", *who).get_json()["deliveries"]) == 25
    assert len(ask("GET", f"{at}/export", *who).get_data(as_text=True).splitlines()) == 26
    assert ask("POST", f"{at}/retry-failed", *who).get_json()["retried"] == 1
    assert ask("POST", f"{at}/cancel", *who).get_json()["campaign"]["state"] == "cancelled"
    draft = {"from": "a@example.com", "subject": "s", "body": "[unsubscribe]"}
    assert ask("POST", API, *who, json=draft).status_code == 403


def test_without_the_permission_campaigns_of_others_do_not_exist(harness: Harness, ask: Ask) -> None:
    at = f"{CAMPAIGNS}/{harness.campaign_id}"
    others = [permission for permission in PERMISSIONS if permission != MANAGE_CAMPAIGNS]
    assert ask("GET", f"{CAMPAIGNS}?all=true", "user00000", *others).status_code == 403
    for verb, path in [
        *(("GET", at + more) for more in ("", "/deliveries", "/export")),
        *(("POST", f"{at}/{action}") for action in ("pause", "resume", "cancel", "retry-failed")),
    ]:
        assert ask(verb, path, "user00001", *others).status_code == 404, path
    assert ask("GET", f"{CAMPAIGNS}?all=false", "user00000", SEND_MAIL).get_json()["total"] == 1


def test_own_campaign_that_an_operator_pauses_is_paused_by_a_person(harness: Harness, ask: Ask) -> None:
    path = f"{CAMPAIGNS}/{harness.campaign_id}/pause"
    answer = ask("POST", path, "user00000", MANAGE_CAMPAIGNS).get_json()
    assert answer["campaign"]["reason"] == "paused by a person"


def test_pause_of_an_operator_is_no_trouble_and_is_resumed_without_a_reason(app: Flask, harness: Harness) -> None:
    with acting(Actor("user00001", Via.API, "")):
        control.pause(harness.db, harness.campaign_id)
    assert app.test_client().get("/readyz").get_json()["campaigns"] == "ok"
    control.resume(harness.db, harness.campaign_id)
    assert harness.progress().reason is None


def attempts(db: Database) -> list[tuple[str, int]]:
    with db.read() as connection:
        found = connection.execute(select(Delivery.status, Delivery.attempts).order_by(Delivery.user_id))
        return [tuple(row) for row in found]


def test_hold_ends_after_the_checkpoint_and_touches_nobodys_attempts(db: Database, add_users) -> None:
    add_users(db, 25)
    harness = Harness(db)  # ten in a batch, three in a checkpoint
    harness.store.answer("user00001@example.com", Status.DEFERRED)
    harness.accept()
    harness.plan()
    claim = harness.outbox.claim()
    assert claim is not None
    items = harness.outbox.due_items(claim)
    harness.outbox.checkpoint(claim, [], items[:3], 10)
    with acting(OPERATOR):
        hold(db, "the relay moves")
    ended = harness.outbox.checkpoint(claim, [], items[:3], 10)
    assert (ended.running, ended.items) == (False, [])
    harness.outbox.release(claim, [], 10)
    assert harness.outbox.claim() is None
    assert (harness.counts(), attempts(db)) == ({"pending": 25}, [])
    release(db)
    harness.run()
    assert harness.counts() == {"sent": 24, "deferred": 1}
    assert sorted(harness.arrived()) == sorted(set(harness.arrived()))
    assert examine(db) == []


def test_hold_in_the_middle_of_a_batch_loses_and_repeats_nothing(db: Database, add_users) -> None:
    add_users(db, 25)
    harness = Harness(db)
    harness.accept()
    harness.plan()
    checkpoints = 0
    original = harness.outbox.checkpoint

    def counted(*arguments: Any) -> Any:
        nonlocal checkpoints
        checkpoints += 1
        if checkpoints == 3:
            hold(db, "enough")
        return original(*arguments)

    harness.outbox.checkpoint = counted  # type: ignore[method-assign]
    harness.run()
    assert (len(harness.arrived()), harness.counts()) == (6, {"sent": 6, "pending": 19})
    assert examine(db) == []
    release(db)
    harness.run()
    assert (harness.progress().state, len(set(harness.arrived())), len(harness.arrived())) == ("completed", 25, 25)


def test_while_sending_is_held_campaigns_are_accepted_and_planned_and_no_dry_run_goes_out(
    db: Database, add_users
) -> None:
    add_users(db, 25)
    harness = Harness(db)
    with acting(OPERATOR):
        hold(db, "the relay moves")
    trial = harness.accept(dry_run=True)
    harness.accept()
    harness.run()
    assert harness.arrived() == []
    now = harness.progress()
    why = "all sending is held since 2023-11-14T22:13:20Z: the relay moves, by ann"
    assert (now.state, now.reason, now.planned) == ("held", why, 25)
    release(db)
    harness.run()
    assert (harness.progress().state, len(harness.arrived())) == ("completed", 26)
    harness.campaign_id = trial
    assert harness.progress().state == "completed"


def test_hold_goes_before_a_transport_that_fails_and_both_have_to_end(db: Database, add_users) -> None:
    add_users(db, 25)
    harness = Harness(db)
    harness.accept()
    harness.store.fail_after(2, "relay is down")
    harness.run()
    hold(db, "x")
    assert harness.progress().state == "held"
    harness.now += 60_000
    harness.store.recover()
    harness.run()
    assert len(harness.arrived()) == 2
    release(db)
    harness.run()
    assert harness.progress().state == "completed"


def test_what_a_dead_worker_attempted_stays_on_record_over_a_hold(db: Database, add_users) -> None:
    add_users(db, 5)
    harness = Harness(db, uncertain="hold")
    harness.accept()
    harness.plan()
    claim = harness.outbox.claim()
    assert claim is not None
    harness.outbox.checkpoint(claim, [], harness.outbox.due_items(claim)[:3], 5)  # and is killed
    hold(db, "x")
    harness.now += 2 * harness.lease
    harness.run()
    assert harness.counts() == {"pending": 5}
    release(db)
    harness.run()
    assert harness.counts() == {"uncertain": 3, "sent": 2}


def test_first_hold_stays_and_releasing_nothing_is_no_error(db: Database) -> None:
    db.clock = lambda _connection: START
    with acting(OPERATOR):
        first = hold(db, "one")
    db.clock = lambda _connection: START + 1
    assert hold(db, "two") == first == Hold(START, "ann", "one")
    assert release(db) == first
    assert release(db) is None
    with db.read() as connection:
        assert current_hold(connection) is None


def test_holds_at_once_are_one(db: Database) -> None:
    threads = [threading.Thread(target=hold, args=(db, f"reason {number}")) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with db.read() as connection:
        assert current_hold(connection) is not None


def test_hold_over_http(app: Flask, harness: Harness, ask: Ask) -> None:
    nothing = {"held": False, "since": None, "by": None, "reason": None, "inHand": 0}
    assert ask("GET", f"{API}/sending", "user00001").get_json()["sending"] == nothing
    for body in ({}, {"reason": ""}, {"reason": " "}, {"reason": "a\nb"}, {"reason": "x" * 1001}, {"reason": 1}):
        assert ask("POST", f"{API}/sending:hold", "user00000", MANAGE_CAMPAIGNS, json=body).status_code == 400, body
    assert ask("POST", f"{API}/sending:hold", "user00000", SEND_MAIL, json={"reason": "x"}).status_code == 403
    assert ask("POST", f"{API}/sending:release", "user00000", SEND_MAIL).status_code == 403
    harness.outbox.claim()
    answer = ask("POST", f"{API}/sending:hold", "user00000", MANAGE_CAMPAIGNS, json={"reason": " why "}).get_json()
    held = {"held": True, "since": "2023-11-14T22:13:20.000Z", "by": "user00000", "reason": "why", "inHand": 1}
    assert answer["sending"] == held
    assert ask("GET", f"{API}/sending", "user00001").get_json()["sending"] == held
    ready = app.test_client().get("/readyz?strict=true")
    said = "held since 2023-11-14T22:13:20Z: why"
    assert (ready.get_json()["sending"], f"sending: {said}" in ready.get_json()["warnings"]) == (said, True)
    woken = []
    app.extensions["mailer"].engine.wake = lambda: woken.append(True)
    answer = ask("POST", f"{API}/sending:release", "user00000", MANAGE_CAMPAIGNS)
    assert (answer.get_json()["sending"]["held"], woken) == (False, [True])
    assert app.test_client().get("/readyz").get_json()["sending"] == "ok"


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RecordingServer]:
    with recording_smtp(tmp_path) as server:
        yield server


def sent(service: Service) -> int:
    with service.db.read() as connection:
        return connection.scalar(select(func.count()).select_from(Delivery)) or 0


@pytest.mark.ci
def test_hold_is_seen_by_processes_that_start_and_by_all_that_run(
    database_url: str, tmp_path: Path, relay: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"transport": f"smtp://127.0.0.1:{relay.port}?rate=100/second", "batch_size": 20, "checkpoint": 5}
    made = Service(tmp_path, workers=2, database_url=database_url, **settings)
    with made.db.write() as connection:
        connection.execute(insert(User), [user_row(number) for number in range(300)])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILER_DATABASE_URL", database_url)
    monkeypatch.setenv("MAILER_SECRET_KEY", "k" * 40)

    def mailer(*arguments: str) -> str:
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    assert mailer("hold", "--reason", "moving").endswith(f": moving, by {system_user()}\n")
    with made as service:
        headers = service.headers("user00000", SEND_MAIL, MANAGE_CAMPAIGNS)
        posted = service.post(headers)
        at = posted.headers["Location"]
        while service.get(at, headers).json()["campaign"]["state"] != "held":
            time.sleep(0.02)
        time.sleep(1)
        assert relay.kept() == []
        ready = service.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        assert any("moving" in warning for warning in ready.json()["warnings"])

        assert mailer("release").startswith("released; it was held since ")
        relay.wait_for(20)
        hold_again = {"url": f"{service.url}{API}/sending:hold", "json": {"reason": "again"}}
        assert requests.post(**hold_again, headers=headers, timeout=30).status_code == 200
        while service.get(f"{API}/sending", headers).json()["sending"]["inHand"]:
            time.sleep(0.02)
        held = sent(service)
        time.sleep(1)
        campaign = service.get(at, headers).json()["campaign"]
        assert (campaign["state"], campaign["sent"], campaign["planned"]) == ("held", held, 300)
        assert len(relay.kept()) == held < 300

        assert requests.post(f"{service.url}{API}/sending:release", headers=headers, timeout=30).status_code == 200
        finished = service.finish(headers, posted)
        assert (finished["state"], finished["sent"]) == ("completed", 300)
        assert set(relay.copies().values()) == {1}
        found = [json.loads(line) for line in mailer("audit", "--act", "hold-sending", "--json").splitlines()]
        assert [(one["who"], one["details"]["reason"]) for one in found] == [
            ("user00000", "again"),
            (system_user(), "moving"),
        ]
        who = ["--url", service.url, "--user-id", "user00000", "--token", headers["X-Auth-Token"]]
        assert "callerId" in mailer("campaigns", "list", "--all", *who).splitlines()[0]
        assert "callerId: user00000" in mailer("campaigns", "show", finished["_id"], *who)


@pytest.mark.parametrize("given", ["", " ", "a\nb", "x" * 1001])
def test_reason_on_the_command_line_is_one_line(given: str) -> None:
    assert CliRunner().invoke(main, ["hold", "--reason", given]).exit_code == 2


def test_token_of_a_service_lets_it_in_until_it_ends(db: Database, add_users) -> None:
    tokens = Tokens(db)
    now = START
    db.clock = lambda _connection: now
    token = tokens.create_for_service("news-feed", [SEND_MAIL], 1000)
    caller = tokens.authenticate("service:news-feed", token)
    assert (caller.user_id, caller.permissions, caller.service) == ("service:news-feed", {SEND_MAIL}, True)
    (listed,) = tokens.list()
    assert (listed.user_id, listed.expires_at) == ("service:news-feed", START + 1000)
    now = START + 1000
    with pytest.raises(NotLoggedIn):
        tokens.authenticate("service:news-feed", token)
    other = tokens.create_for_service("news-feed", [])
    assert tokens.revoke(next(one.digest for one in tokens.list() if one.expires_at is None)) == 1
    with pytest.raises(NotLoggedIn):
        tokens.authenticate("service:news-feed", other)


@pytest.mark.parametrize("name", ["", "-a", "A", "a b", "ä", "a:b", "a\n", "a" * 65])
def test_name_that_no_header_or_person_could_tell_is_refused(db: Database, name: str) -> None:
    with pytest.raises(InvalidParams):
        Tokens(db).create_for_service(name, [])


def test_no_user_can_have_the_id_of_a_service(db: Database, add_users) -> None:
    for user_id in (service_id("feed"), "service:", "service:Ä"):
        with pytest.raises(InvalidRow):
            put_user(db, user_id, {"name": "N"})
    add_users(db, 1, id="service:old")  # from before the rule
    with pytest.raises(InvalidParams):
        Tokens(db).create_for_service("old", [])
    caller = Tokens(db).authenticate("service:old", Tokens(db).create("service:old", []))
    assert caller.service is False


def test_deactivated_user_still_loses_their_token(db: Database, add_users) -> None:
    add_users(db, 1)
    token = Tokens(db).create("user00000", [SEND_MAIL])
    Tokens(db).authenticate("user00000", token)
    deactivate_user(db, "user00000")
    with pytest.raises(NotLoggedIn):
        Tokens(db).authenticate("user00000", token)


def test_token_whose_user_is_not_there_lets_nobody_in(db: Database) -> None:
    """There is no foreign key any more that keeps such a row out."""
    token = Tokens(db).create_for_service("feed", [])
    with db.write() as connection:
        digest = connection.scalar(select(AuthToken.digest))
        connection.execute(AuthToken.__table__.update().values(user_id="nobody", service=False))
    assert digest
    with pytest.raises(NotLoggedIn):
        Tokens(db).authenticate("nobody", token)


def test_service_sends_and_nothing_is_written_to_it(app: Flask, harness: Harness) -> None:
    token = Tokens(harness.db).create_for_service("feed", [SEND_MAIL])
    headers = {"X-User-Id": "service:feed", "X-Auth-Token": token}
    client = app.test_client()
    me = client.get("/api/v1/me", headers=headers).get_json()
    assert (me["_id"], me["username"], me["emails"], me["success"]) == ("service:feed", "feed", [], True)
    draft = {"from": "a@example.com", "subject": "s", "body": "[unsubscribe]"}
    at = client.post(API, json=draft, headers=headers).headers["Location"]
    harness.campaign_id = at.rpartition("/")[2]
    harness.run()
    campaign = client.get(at, headers=headers).get_json()["campaign"]
    assert (campaign["callerId"], campaign["sent"]) == ("service:feed", 25)
    assert client.get(CAMPAIGNS, headers=headers).get_json()["total"] == 1
    assert client.post("/api/v1/logout", headers=headers).status_code == 200
    assert client.get("/api/v1/me", headers=headers).status_code == 401
