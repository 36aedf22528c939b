"""The audit log: every request and every command that changes something is in it, and nothing changes it."""

from __future__ import annotations

import json
import os
import pwd
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from flask import Flask
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import DBAPIError

from app import create_app
from mailer.audit.actor import Actor, Via, acting, this_machine
from mailer.audit.log import FEW, Act, Entry, Note, entries, names_of, record
from mailer.audit.retention import audit_retention, forgetting
from mailer.callers.tokens import PERMISSIONS, Tokens
from mailer.campaigns import control
from mailer.campaigns.hold import hold, release
from mailer.cli import main
from mailer.cli.root import system_user
from mailer.errors import InvalidRow, InvalidState
from mailer.messages.links import Links
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import AuditEntry, PersonNote, SigningKey, User
from mailer.storage.steps.small_steps import STEP, run_steps
from mailer.suppression.suppressed_addresses import lift
from mailer.workspace.sync import sync_users
from tests.conftest import user_row
from tests.databases import migrated_sqlite
from tests.fake_workspace import FakeWorkspace, member
from tests.harness import START, Harness
from tests.test_docs import commands

KEY = "k" * 40
CLIENT = "192.0.2.7"
API = "/api/v1/mailer"
CAMPAIGN = f"{API}/campaigns/<campaign_id>"
MAILBOX = "/mailer/mailbox/api/v1"
OPERATOR = Actor("ann", Via.CLI, "host")

Call = tuple[str, dict[str, Any], Act, str | None]

ADDRESS = "user00001@example.com"
ON_RECORD_ELSEWHERE = {  # requests that change something and are not in the log, and why
    ("POST", API): "the campaign's own row says who sent it, and when",
    ("POST", f"{API}/audience"): "changes nothing",
    ("POST", f"{API}/preview"): "changes nothing",
    ("POST", "/api/v1/login"): "changes nothing here",
    ("POST", f"{API}/bounces/<provider>"): "no person acts; the deliveries' own rows say what was reported",
    ("POST", "/mailer/unsubscribe/<anytext:token>"): "the recipient's own row says so; it is theirs",
    ("POST", "/mailer/compose/<draft_id>"): "a draft is its owner's, and nobody else's concern",
    ("POST", "/mailer/compose/<draft_id>/delete"): "a draft is its owner's, and nobody else's concern",
    ("POST", "/mailer/compose/<draft_id>/send"): "the campaign's own row says who sent it, and when",
    ("POST", "/mailer/sign-in"): "a session is a row of its own",
    ("POST", "/mailer/sign-in/<link>"): "in the log: test_login_links.py",
    ("POST", "/mailer/not-written-to/lift"): "in the log as by the API: test_not_written_to.py",
    ("POST", "/mailer/readmit"): "in the log as by the API: test_readmission.py",
    **{("POST", f"/mailer/system/credentials/{action}"): "in the log as by the API" for action in ("revoke", "forget")},
    ("POST", "/mailer/system/handing-over"): "in the log as by the API: test_credentials.py",
    **{("POST", f"/mailer/system/{action}"): "in the log: test_system_page.py" for action in ("hold", "release")},
    ("POST", "/mailer/sign-out"): "a session is a row of its own",
    ("POST", "/mailer/mailbox/delete"): "in the log as by the API: test_mailbox_pages.py",
    ("POST", "/mailer/mailbox/<int:number>/delete"): "in the log as by the API: test_mailbox_pages.py",
    ("PUT", "/mailer/mailbox/api/v1/messages"): "whether a message was looked at changes nothing",
    **{
        ("POST", f"/mailer/campaigns/<campaign_id>/{action}"): "in the log as by the API: test_signed_in_pages.py"
        for action in ("pause", "resume", "cancel", "retry", "edit")
    },
    **{
        ("POST", f"/mailer/people/<user_id>/{action}"): "in the log as by the API: test_people.py"
        for action in ("unsubscribe", "subscribe", "block", "lift", "erase")
    },
}


def calls(campaign_id: str) -> dict[tuple[str, str], Call]:
    """For every other request that changes something: its path, its body, and what must be in the log then."""
    listed = {"data": "address\n" + ADDRESS, "content_type": "text/csv"}
    users = {"data": json.dumps([user_row(9)["document"]]), "content_type": "application/json"}
    at = f"{API}/campaigns/{campaign_id}"
    address, theirs = ADDRESS, "user00002@example.com"
    person, note = f"{API}/users/user00002", {"json": {"note": "asked by telephone"}}
    return {
        ("POST", f"{CAMPAIGN}/pause"): (f"{at}/pause", {}, Act.PAUSE_CAMPAIGN, campaign_id),
        ("PATCH", CAMPAIGN): (at, {"json": {"subject": "Mended"}}, Act.EDIT_CAMPAIGN, campaign_id),
        ("POST", f"{CAMPAIGN}/resume"): (f"{at}/resume", {}, Act.RESUME_CAMPAIGN, campaign_id),
        ("POST", f"{CAMPAIGN}/retry-failed"): (f"{at}/retry-failed", {}, Act.RETRY_CAMPAIGN, campaign_id),
        ("POST", f"{CAMPAIGN}/cancel"): (f"{at}/cancel", {}, Act.CANCEL_CAMPAIGN, campaign_id),
        ("POST", f"{API}/sending:hold"): (f"{API}/sending:hold", {"json": {"reason": "x"}}, Act.HOLD_SENDING, None),
        ("POST", f"{API}/sending:release"): (f"{API}/sending:release", {}, Act.RELEASE_SENDING, None),
        ("POST", f"{API}/campaigns:transfer"): (
            f"{API}/campaigns:transfer",
            {"json": {"from": "user00000", "to": "service:desk"}},
            Act.TRANSFER_CAMPAIGNS,
            "user00000",
        ),
        ("POST", f"{API}/tokens:revoke"): (
            f"{API}/tokens:revoke",
            {"json": {"user": "service:old"}},
            Act.REVOKE_TOKEN,
            "service:old",
        ),
        ("POST", f"{API}/signing-keys:forget"): (
            f"{API}/signing-keys:forget",
            {"json": {"fingerprint": "ab" * 8}},
            Act.FORGET_KEY,
            "ab" * 8,
        ),
        ("POST", "/api/v1/mailer.unsubscribe"): (
            "/api/v1/mailer.unsubscribe",
            {"json": {"_id": "user00001", "createdAt": "1420070400001"}},
            Act.UNSUBSCRIBE,
            "user00001",
        ),
        ("POST", f"{API}/unsubscribes:import"): (f"{API}/unsubscribes:import", listed, Act.UNSUBSCRIBE_LIST, None),
        ("POST", f"{API}/not-written-to:import"): (
            f"{API}/not-written-to:import?reason=unsubscribed",
            listed,
            Act.UNSUBSCRIBE_LIST,
            None,
        ),
        ("DELETE", f"{API}/unsubscribes/<user_id>"): (
            f"{API}/unsubscribes/user00001",
            {},
            Act.SUBSCRIBE_AGAIN,
            "user00001",
        ),
        ("DELETE", f"{API}/wishes/<address>"): (
            f"{API}/wishes/left@example.com",
            {},
            Act.SUBSCRIBE_AGAIN,
            "left@example.com",
        ),
        ("POST", f"{API}/suppressed-addresses:block"): (
            f"{API}/suppressed-addresses:block",
            {"json": {"addresses": [ADDRESS], "reason": "x"}},
            Act.BLOCK_ADDRESSES,
            address,
        ),
        ("POST", f"{API}/suppressed-addresses:import"): (
            f"{API}/suppressed-addresses:import?reason=x",
            listed,
            Act.BLOCK_ADDRESSES,
            address,
        ),
        ("POST", f"{API}/suppressed-addresses:lift"): (
            f"{API}/suppressed-addresses:lift",
            {"json": {"addresses": [ADDRESS.upper()]}},
            Act.LIFT_ADDRESSES,
            address,
        ),
        ("PUT", f"{API}/users/<user_id>"): (f"{API}/users/new", {"json": {"name": "N"}}, Act.PUT_USER, "new"),
        ("PATCH", f"{API}/users/<user_id>"): (f"{API}/users/new", {"json": {"name": "M"}}, Act.CHANGE_USER, "new"),
        ("DELETE", f"{API}/users/<user_id>"): (f"{API}/users/new", {}, Act.DEACTIVATE_USER, "new"),
        ("POST", f"{API}/users:import"): (f"{API}/users:import", users, Act.IMPORT_USERS, None),
        ("POST", f"{API}/users/<user_id>/unsubscribe"): (f"{person}/unsubscribe", note, Act.UNSUBSCRIBE, "user00002"),
        ("POST", f"{API}/users/<user_id>/subscribe"): (f"{person}/subscribe", note, Act.SUBSCRIBE_AGAIN, "user00002"),
        ("POST", f"{API}/users/<user_id>/block"): (f"{person}/block", note, Act.BLOCK_ADDRESSES, theirs),
        ("POST", f"{API}/users/<user_id>/lift"): (f"{person}/lift", note, Act.LIFT_ADDRESSES, theirs),
        ("POST", f"{API}/users/<user_id>/erase"): (
            f"{person}/erase",
            {"json": {"_id": "user00002"}},
            Act.ERASE_USER,
            "user00002",
        ),
        ("POST", f"{API}/users:readmit"): (
            f"{API}/users:readmit",
            {"json": {"_id": "user00002"}},
            Act.READMIT_USER,
            "user00002",
        ),
        ("DELETE", f"{MAILBOX}/messages"): (f"{MAILBOX}/messages", {}, Act.DELETE_MESSAGES, None),
        ("DELETE", f"{MAILBOX}/search"): (f"{MAILBOX}/search?query=x", {}, Act.DELETE_MESSAGES, None),
        ("POST", "/api/v1/logout"): ("/api/v1/logout", {}, Act.REVOKE_TOKEN, "service:desk"),
    }


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    url = migrated_sqlite(tmp_path / "mailer.db")
    made = create_app(Settings(database_url=url, secret_key=(KEY,), rate_limit="", trusted_proxies=("127.0.0.1",)))
    yield made
    made.extensions["mailer"].db.close()


def log_of(db: Database) -> list[Entry]:
    return entries(db, count=1000)


def test_every_request_that_changes_something_is_in_the_log(app: Flask, add_users) -> None:
    db = app.extensions["mailer"].db
    add_users(db, 3)
    harness = Harness(db)
    campaign_id = harness.accept()
    harness.plan()
    kept = {"kind": "address", "value": "left@example.com", "unsubscribed_at": 1, "kept_at": 1, "kept_by": "x"}
    with db.write() as connection:
        from mailer.storage.models import Wish

        connection.execute(insert(Wish).values(**kept, source="x"))
        connection.execute(insert(SigningKey).values(fingerprint="ab" * 8, known_at=1, messages=0))
    Tokens(db).create_for_service("old", ["send-mail"])
    token = Tokens(db).create_for_service("desk", PERMISSIONS)
    headers = {"X-User-Id": "service:desk", "X-Auth-Token": token, "X-Forwarded-For": CLIENT}
    changing = ("POST", "PUT", "PATCH", "DELETE")
    rules = {(verb, rule.rule) for rule in app.url_map.iter_rules() for verb in changing if verb in rule.methods}
    wanted = calls(campaign_id)
    assert rules == wanted.keys() | ON_RECORD_ELSEWHERE.keys()

    for (verb, _), (path, request, act, about) in wanted.items():
        before = log_of(db)
        answer = app.test_client().open(path, method=verb, headers=headers, **request)
        assert answer.status_code in (200, 201), (path, answer.get_data())
        (found,) = log_of(db)[: len(log_of(db)) - len(before)]
        assert found.about in (names_of(db, about) if about else (None,)), path
        assert ("@" in str(about)) == str(found.about).startswith("keyed:"), path
        assert (found.act, found.who, found.via, found.origin) == (act, "service:desk", "api", CLIENT), path
    assert "@" not in str(log_of(db))


def test_what_is_on_record_elsewhere_is_not_in_the_log(app: Flask, add_users) -> None:
    db = app.extensions["mailer"].db
    add_users(db, 1)
    headers = {"X-User-Id": "user00000", "X-Auth-Token": Tokens(db).create("user00000", PERMISSIONS)}
    before = log_of(db)
    client = app.test_client()
    draft = {"from": "a@example.com", "subject": "s", "body": "[unsubscribe]"}
    link = Links((KEY,), "http://x").link("user00000").removeprefix("http://x")
    for path, body in ((API, draft), (f"{API}/audience", {}), (f"{API}/preview", draft), ("/api/v1/login", {})):
        assert client.post(path, json=body, headers=headers).status_code in (200, 401), path
    for action in ({}, {"action": "subscribe"}):
        assert client.post(link, data=action).status_code == 200
    assert log_of(db) == before


NO_CHANGE = {  # commands that change nothing in the database, or do so by requests that are tested above
    *("mailer audience", "mailer audit", "mailer config check", "mailer doctor", "mailer preview", "mailer send"),
    *(f"mailer campaigns {action}" for action in ("list", "show", "pause", "resume", "cancel", "edit", "transfer")),
    *("mailer campaigns retry-failed", "mailer campaigns export", "mailer serve", "mailer status", "mailer worker"),
    *("mailer backup", "mailer report", "mailer database copy"),  # nothing in the database that is copied
    *("mailer restore", "mailer reconcile"),  # tests/test_recovery.py looks into their logs
    *("mailer suppressed export", "mailer suppressed list", "mailer tokens list", "mailer users list"),
    *("mailer keys list", "mailer dkim record", "mailer dns check", "mailer not-written-to export"),
    "mailer bounces read",  # no person acts; the deliveries' own rows say what was reported
    *("mailer users find", "mailer users campaigns", "mailer explain"),
    *("mailer users show", "mailer unsubscribes export", "mailer unsubscribes kept", "mailer unsubscribes list"),
}
CHANGING: dict[str, tuple[list[str], Act, str | None]] = {
    "mailer hold": (["--reason", "x"], Act.HOLD_SENDING, None),
    "mailer release": ([], Act.RELEASE_SENDING, None),
    "mailer login-link": (["--user", "user00001"], Act.CREATE_LOGIN_LINK, "user00001"),
    "mailer purge": (["--older-than", "90d", "--yes"], Act.PURGE_CAMPAIGNS, None),
    "mailer suppressed block": ([ADDRESS, "--reason", "x"], Act.BLOCK_ADDRESSES, ADDRESS),
    "mailer suppressed lift": ([ADDRESS], Act.LIFT_ADDRESSES, ADDRESS),
    "mailer tokens create": (["--service", "desk"], Act.CREATE_TOKEN, "service:desk"),
    "mailer tokens release": (["--all"], Act.RELEASE_TOKENS, None),
    "mailer tokens revoke": (["DIGEST"], Act.REVOKE_TOKEN, "service:desk"),
    "mailer keys forget": (["ab" * 8], Act.FORGET_KEY, "ab" * 8),
    "mailer unsubscribes import": (["LIST"], Act.UNSUBSCRIBE_LIST, None),
    "mailer not-written-to import": (["LIST", "--reason", "unsubscribed"], Act.UNSUBSCRIBE_LIST, None),
    "mailer unsubscribes remove": (["user00001"], Act.SUBSCRIBE_AGAIN, "user00001"),
    "mailer users deactivate": (["user00001"], Act.DEACTIVATE_USER, "user00001"),
    "mailer users block": (["user00002"], Act.BLOCK_ADDRESSES, "user00002@example.com"),
    "mailer users lift": (["user00002"], Act.LIFT_ADDRESSES, "user00002@example.com"),
    "mailer users unsubscribe": (["user00002"], Act.UNSUBSCRIBE, "user00002"),
    "mailer users subscribe": (["user00002"], Act.SUBSCRIBE_AGAIN, "user00002"),
    "mailer users export": (["user00002"], Act.EXPORT_USER, "user00002"),
    "mailer users erase": (["user00002", "--yes"], Act.ERASE_USER, "user00002"),
    "mailer users readmit": (["user00002"], Act.READMIT_USER, "user00002"),
    "mailer users import": (["FILE"], Act.IMPORT_USERS, None),
    "mailer users sync": ([], Act.SYNC_USERS, None),
}


def test_every_command_that_changes_something_is_in_the_log(
    tmp_path: Path, sqlite_db: Database, add_users, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = sqlite_db
    add_users(db, 3)
    assert commands(main).keys() == NO_CHANGE | CHANGING.keys()
    with db.write() as connection:
        connection.execute(insert(SigningKey).values(fingerprint="ab" * 8, known_at=1, messages=0))
    file = tmp_path / "users.json"
    file.write_text(json.dumps([user_row(9)["document"]]))
    listed = tmp_path / "list.csv"
    listed.write_text(f"address\n{ADDRESS}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("USER", "somebody-else")
    monkeypatch.setenv("LOGNAME", "somebody-else")
    with FakeWorkspace(member("ada")) as fake:
        settings = {"database_url": db.url, "secret_key": KEY, "workspace_url": fake.url}
        settings |= {"workspace_user_id": "admin", "workspace_token": "secret"}
        for name, value in settings.items():
            monkeypatch.setenv(f"MAILER_{name.upper()}", value)
        for command, (arguments, act, about) in CHANGING.items():
            before = log_of(db)
            filled = [
                {"FILE": str(file), "LIST": str(listed), "DIGEST": _digest(db)}.get(one, one) for one in arguments
            ]
            result = CliRunner().invoke(main, [*command.split()[1:], *filled])
            assert result.exit_code == 0, (command, result.output)
            (found,) = log_of(db)[: len(log_of(db)) - len(before)]
            assert found.about in (names_of(db, about) if about else (None,)), command
            assert (found.act, found.who, found.via, found.origin) == (act, system_user(), "cli", this_machine()), (
                command
            )
    assert "@" not in str(log_of(db))


@pytest.mark.parametrize(
    ("kept", "uid"),
    [("0", 0), ("1\n", 1), ("4294967294", 4294967294), ("4294967295", None), ("", None), ("x", None), (None, None)],
)
def test_who_gives_a_command_is_who_has_logged_in(tmp_path: Path, kept: str | None, uid: int | None) -> None:
    """`deploy/systemd/mailer` runs each command as the service's user, whoever gives it."""
    if kept is not None:
        (tmp_path / "loginuid").write_text(kept)
    uid = os.getuid() if uid is None else uid
    known = {one.pw_uid: one.pw_name for one in pwd.getpwall()}
    assert system_user(tmp_path / "loginuid") == known.get(uid, str(uid))


def _digest(db: Database) -> str:
    return next((one.digest for one in Tokens(db).list()), "")


def test_act_that_fails_is_not_in_the_log(db: Database, add_users) -> None:
    from mailer.directory.imports import upsert_documents

    add_users(db, 3)
    harness = Harness(db)
    harness.accept()
    with acting(OPERATOR):
        with pytest.raises(InvalidState):
            control.pause(db, harness.campaign_id)  # not planned yet
        with pytest.raises(InvalidRow):
            upsert_documents(db, [(1, user_row(8)["document"]), (2, {"_id": 5})])
    assert log_of(db) == []


def test_words_of_a_hold_are_without_addresses_also_when_it_ends(db: Database) -> None:
    hold(db, "ask ann@example.com")
    ended = release(db)
    assert ended is not None
    assert ended.reason == "ask ann@example.com"
    assert [one.details["reason"] for one in log_of(db)] == ["ask <address>", "ask <address>"]


def test_act_of_nobody_known_is_the_systems(db: Database, add_users) -> None:
    add_users(db, 3)
    harness = Harness(db)
    harness.accept()
    control.cancel(db, harness.campaign_id)
    (found,) = log_of(db)
    assert (found.who, found.via, found.origin, found.at) == ("system", "system", this_machine(), START)
    assert (found.act, found.about) == (Act.CANCEL_CAMPAIGN, harness.campaign_id)


def test_actor_is_that_of_the_thread(db: Database) -> None:
    def act() -> None:
        with db.write() as connection:
            record(connection, START, Act.HOLD_SENDING)

    with acting(OPERATOR):
        other = threading.Thread(target=act)
        other.start()
        other.join()
        act()
    assert [one.who for one in log_of(db)] == ["ann", "system"]


def test_row_cannot_be_changed(db: Database) -> None:
    with db.write() as connection:
        record(connection, START, Act.HOLD_SENDING, reason="x")
    with pytest.raises(DBAPIError, match="append-only"), db.write() as connection:
        connection.execute(update(AuditEntry).values(who="somebody else"))
    assert [one.who for one in log_of(db)] == ["system"]


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (FEW, FEW), (FEW + 1, 1)])
def test_act_about_a_few_addresses_is_found_by_each(db: Database, count: int, rows: int) -> None:
    with acting(OPERATOR):
        lift(db, [f"a{number}@example.com" for number in range(count)])
    found = log_of(db)
    assert len(found) == rows
    assert found[0].details == {"addresses": count, "lifted": 0}
    by_address = entries(db, about=names_of(db, "A0@Example.com"))
    assert len(by_address) == (count <= FEW)


def fill(db: Database, count: int) -> None:
    for number in range(count):
        with acting(Actor(f"who{number % 3}", Via.API, CLIENT)), db.write() as connection:
            record(connection, number, Act.PUT_USER if number % 2 else Act.HOLD_SENDING, f"user{number}")


def test_log_is_read_by_who_what_when_and_about(db: Database) -> None:
    fill(db, 12)
    assert [one.at for one in entries(db, count=3)] == [11, 10, 9]
    assert [one.at for one in entries(db, count=3, before=entries(db, count=3)[-1].id)] == [8, 7, 6]
    assert [one.at for one in entries(db, who="who1", act=Act.PUT_USER)] == [7, 1]
    assert [one.at for one in entries(db, since=9, act=Act.PUT_USER)] == [11, 9]
    assert [one.at for one in entries(db, about=["user4"])] == [4]


def test_log_over_http_is_for_those_who_may_see_it(app: Flask, add_users) -> None:
    db = app.extensions["mailer"].db
    add_users(db, 1)
    fill(db, 5)
    path = f"{API}/audit-log"

    def get(query: str, *permissions: str) -> Any:
        token = Tokens(db).create("user00000", permissions)
        return app.test_client().get(path + query, headers={"X-User-Id": "user00000", "X-Auth-Token": token})

    assert get("", "send-mail", "manage-users", "manage-campaigns").status_code == 403
    first = get("?count=2&act=hold-sending", "view-audit-log").get_json()
    assert [one["at"] for one in first["acts"]] == [f"1970-01-01T00:00:00.00{n}Z" for n in (4, 2)]
    last = get(f"?count=2&act=hold-sending&after={first['next']}", "view-audit-log").get_json()
    assert (last["count"], last["next"]) == (1, None)
    (one,) = last["acts"]
    assert (one["who"], one["via"], one["from"], one["about"]) == ("who0", "api", CLIENT, "user0")
    assert get("?since=1970-01-01T00:00:00.003Z&who=who1", "view-audit-log").get_json()["count"] == 1
    for wrong in ("?since=yesterday", "?act=nothing", "?after=x", "?after=0", "?count=0", "?at=1"):
        assert get(wrong, "view-audit-log").status_code == 400, wrong


def test_log_on_the_command_line(tmp_path: Path, sqlite_db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILER_DATABASE_URL", sqlite_db.url)
    monkeypatch.setenv("MAILER_SECRET_KEY", KEY)
    fill(sqlite_db, 12)
    with sqlite_db.write() as connection:
        record(connection, sqlite_db.clock(connection), Act.PURGE_CAMPAIGNS, campaigns=3)

    def mailer(*arguments: str) -> click.testing.Result:
        return CliRunner().invoke(main, ["audit", *arguments])

    lines = mailer("--limit", "2").stdout.splitlines()
    assert lines[0].split() == ["at", "who", "via", "from", "act", "about", "details", "note"]
    assert lines[1].endswith('{"campaigns": 3}')
    assert len(lines) == 3
    found = [json.loads(line) for line in mailer("--json", "--act", "put-user", "--who", "who1").stdout.splitlines()]
    assert [one["about"] for one in found] == ["user7", "user1"]
    assert len(mailer("--json", "--since", "7d").stdout.splitlines()) == 1
    assert len(mailer("--json", "--since", "1970-01-01", "--limit", "0").stdout.splitlines()) == 13
    assert mailer("--since", "soon").exit_code == 2


def test_log_forgets_what_is_too_old(db: Database) -> None:
    now = 1_000_000
    db.clock = lambda _connection: now
    fill(db, 25)
    with db.write() as connection:
        record(connection, now, Act.HOLD_SENDING)
    assert run_steps(forgetting(db, now - 20)) == {"audit_log": 20}
    assert [one.at for one in log_of(db)] == [now, 24, 23, 22, 21, 20]


def test_notes_are_forgotten_with_their_acts(db: Database) -> None:
    now = 1_000_000
    db.clock = lambda _connection: now
    with db.write() as connection:
        for moment in (1, now):
            record(connection, moment, Act.UNSUBSCRIBE, "ada", Note("ada", f"at {moment}"))
    assert [one.note for one in log_of(db)] == [f"at {now}", "at 1"]
    assert run_steps(forgetting(db, now - 20)) == {"audit_log": 1, "person_notes": 1}
    assert [one.note for one in log_of(db)] == [f"at {now}"]
    with db.read() as connection:
        assert connection.scalar(select(func.count()).select_from(PersonNote)) == 1


def test_log_is_cleared_by_itself(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 10_000_000
    db.clock = lambda _connection: now
    rows = [{"at": n, "who": "x", "via": "cli", "origin": "", "act": "hold-sending", "details": {}} for n in range(9)]
    with db.write() as connection:
        connection.execute(insert(AuditEntry), rows * (STEP // 4))
    task = audit_retention(db, now - 8, 60_000)
    assert task.run_when_due(threading.Event()) == {"audit_log": 8 * (STEP // 4)}
    assert task.run_when_due(threading.Event()) is None  # not due
    with db.read() as connection:
        assert connection.scalar(select(func.count()).select_from(AuditEntry)) == STEP // 4
    recorded = task.record()
    assert recorded is not None
    assert recorded.result == {"audit_log": 8 * (STEP // 4)}


def test_sync_that_changes_nobody_is_in_the_log_only_if_a_person_asked_for_it(db: Database, tmp_path: Path) -> None:
    from mailer.workspace.client import Workspace

    with FakeWorkspace(member("ada")) as fake:
        workspace = Workspace(fake.url, "admin", "secret")
        for _ in range(2):
            sync_users(db, workspace, tmp_path / "spool")
        with acting(OPERATOR):
            sync_users(db, workspace, tmp_path / "spool")
        workspace.close()
    counts = {"created": 0, "updated": 0, "deactivated": 0, "unchanged": 1}
    assert [(one.who, one.details) for one in log_of(db)] == [
        ("ann", counts),
        ("system", {**counts, "created": 1, "unchanged": 0}),
    ]


def test_deactivated_user_is_named_and_no_value_of_theirs(db: Database, add_users: Callable[..., list[str]]) -> None:
    from mailer.directory.users import patch_user

    add_users(db, 1)
    with acting(OPERATOR):
        patch_user(db, "user00000", {"active": False, "name": "Secret", "emails": [{"address": "s@example.com"}]})
    (found,) = log_of(db)
    assert (found.about, found.details) == ("user00000", {"active": False, "address": True})
    with db.read() as connection:
        assert connection.scalar(select(User.active)) is False
