"""Owners who leave, by every way there is: what becomes of their campaigns and tokens; and campaigns handed over."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update

from app import create_app
from mailer.audit.actor import Actor, Via, acting
from mailer.audit.log import Act, entries
from mailer.callers.login_links import LoginLink, make
from mailer.callers.tokens import DAY, MANAGE_CAMPAIGNS, MANAGE_USERS, SEND_MAIL, USE_NOTED, Tokens, digest_of
from mailer.campaigns import control
from mailer.campaigns.invariants import examine
from mailer.campaigns.people.erasure import erase
from mailer.campaigns.reports.timeline import in_words, timeline
from mailer.campaigns.revisions.edit import edit, revisions
from mailer.cli import main
from mailer.directory.imports import ImportOptions, upsert_documents
from mailer.directory.users import deactivate_user, patch_user, put_user
from mailer.errors import InvalidParams, NotLoggedIn
from mailer.ownership.leaving import REASON, Leaving
from mailer.ownership.transfer import transfer
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import AuthToken, Campaign, CampaignState, MailboxArrival, User
from mailer.storage.steps.small_steps import run_steps
from mailer.timeline.retention import forgetting
from mailer.workspace.sync import sync_users
from tests.databases import migrated_sqlite
from tests.fake_workspace import FakeWorkspace, member
from tests.harness import START, Harness

OWNER = "user00000"
KEY = "k" * 40


def by_patch(db: Database, pause: bool, _folder: Path) -> Leaving:
    return patch_user(db, OWNER, {"active": False}, pause=pause).left


def by_put(db: Database, pause: bool, _folder: Path) -> Leaving:
    return put_user(db, OWNER, {"name": "Gone", "active": False}, pause=pause).left


def by_delete(db: Database, pause: bool, _folder: Path) -> Leaving:
    return deactivate_user(db, OWNER, pause=pause).left


def by_import(db: Database, pause: bool, _folder: Path) -> Leaving:
    return upsert_documents(db, [(1, {"_id": OWNER, "active": False})], ImportOptions(pause=pause)).left


def by_sync(db: Database, pause: bool, folder: Path, *users: dict[str, Any]) -> Leaving:
    with FakeWorkspace(*(users or [member("someone")])) as fake:
        with db.write() as connection:
            connection.execute(update(User).where(User.id == OWNER).values(workspace=fake.url))
        from mailer.workspace.client import Workspace

        workspace = Workspace(fake.url, "admin", "secret")
        try:
            return sync_users(db, workspace, folder / "spool", pause=pause).left
        finally:
            workspace.close()


def by_sync_that_says_so(db: Database, pause: bool, folder: Path) -> Leaving:
    return by_sync(db, pause, folder, member("someone"), member(OWNER, active=False))


WAYS = [by_patch, by_put, by_delete, by_import, by_sync, by_sync_that_says_so]
Way = Callable[[Database, bool, Path], Leaving]


@pytest.fixture
def harness(db: Database, add_users) -> Harness:
    """25 users, of whom the first has campaigns in every state in which one can be open."""
    add_users(db, 25)
    return Harness(db)


def open_ones(harness: Harness) -> dict[str, str]:
    """Campaigns of the owner that wait, run, rest and are paused, by their states; one of somebody else runs."""
    found = {}
    for state in (CampaignState.PAUSED, CampaignState.RESTING, CampaignState.RUNNING):
        found[state.value] = harness.accept()
        harness.plan()
        harness.now += 1
        with harness.db.write() as connection:
            mine = update(Campaign).where(Campaign.id == found[state.value])
            connection.execute(mine.values(state=state, reason="as it was" if state == CampaignState.PAUSED else None))
    found["other"] = harness.accept()
    harness.plan()
    with harness.db.write() as connection:
        connection.execute(update(Campaign).where(Campaign.id == found["other"]).values(caller_id="user00001"))
    found["accepted"] = harness.accept()
    return found


def states(db: Database) -> dict[str, tuple[str, str | None]]:
    with db.read() as connection:
        rows = connection.execute(select(Campaign.id, Campaign.state, Campaign.reason)).all()
    return {row.id: (row.state, row.reason) for row in rows}


@pytest.mark.parametrize("way", WAYS)
def test_whoever_is_deactivated_has_their_open_campaigns_paused_and_named(
    harness: Harness, tmp_path: Path, way: Way
) -> None:
    db, found = harness.db, open_ones(harness)
    pausing = {found[state] for state in ("resting", "running", "accepted")}

    left = way(db, True, tmp_path)

    assert (set(left.paused), left.ongoing) == (pausing, ())
    now = states(db)
    assert {one: now[one] for one in pausing} == dict.fromkeys(pausing, ("paused", REASON))
    assert now[found["paused"]] == ("paused", "as it was")
    assert now[found["other"]] == ("running", None)
    logged = entries(db, act=Act.PAUSE_CAMPAIGN)
    assert {one.about for one in logged} == pausing
    for campaign_id in pausing:  # a person lets them go on
        control.resume(db, campaign_id)
    assert way(db, True, tmp_path) == Leaving()  # who is inactive already leaves no more
    harness.run()
    assert {states(db)[one][0] for one in pausing} == {"completed"}
    assert examine(db) == []


@pytest.mark.parametrize("way", WAYS)
def test_where_the_setting_says_so_they_go_on_and_are_named(harness: Harness, tmp_path: Path, way: Way) -> None:
    found = open_ones(harness)
    going = {found[state] for state in ("resting", "running", "accepted")}
    before = states(harness.db)
    left = way(harness.db, False, tmp_path)
    assert (left.paused, set(left.ongoing)) == ((), going)
    assert states(harness.db) == before


@pytest.mark.parametrize("way", WAYS)
def test_tokens_of_a_deactivated_user_stay_dead_when_the_user_comes_back(
    harness: Harness, tmp_path: Path, way: Way
) -> None:
    db, tokens = harness.db, Tokens(harness.db)
    token, other = tokens.create(OWNER, [SEND_MAIL]), tokens.create("user00001", [SEND_MAIL])
    program = tokens.create_for_service("desk", [SEND_MAIL])
    make(db, OWNER, [SEND_MAIL], DAY)

    assert way(db, True, tmp_path).tokens == 1
    patch_user(db, OWNER, {"active": True})

    with pytest.raises(NotLoggedIn):
        tokens.authenticate(OWNER, token)
    assert tokens.authenticate("user00001", other)
    assert tokens.authenticate("service:desk", program)
    assert tokens.authenticate(OWNER, tokens.create(OWNER, [SEND_MAIL]))
    with db.read() as connection:
        assert connection.scalars(select(LoginLink.digest)).all() == []


@pytest.mark.parametrize("back", [by_patch, by_import])
def test_tokens_that_an_older_version_left_end_when_the_user_comes_back(harness: Harness, back: Way) -> None:
    db, tokens = harness.db, Tokens(harness.db)
    token = tokens.create(OWNER, [SEND_MAIL])
    with db.write() as connection:
        document = connection.scalar(select(User.document).where(User.id == OWNER)) | {"active": False}
        connection.execute(update(User).where(User.id == OWNER).values(active=False, document=document))
    if back is by_patch:
        patch_user(db, OWNER, {"active": True})
    else:
        upsert_documents(db, [(1, {"_id": OWNER, "active": True})])
    with pytest.raises(NotLoggedIn):
        tokens.authenticate(OWNER, token)


def test_planner_that_had_the_campaign_in_hand_writes_nothing_once_the_owner_is_gone(harness: Harness) -> None:
    campaign_id = harness.accept()
    harness.plan_interrupted(lambda: deactivate_user(harness.db, OWNER))
    assert states(harness.db)[campaign_id] == ("paused", REASON)
    harness.run()
    assert harness.arrived() == []
    control.resume(harness.db, campaign_id)
    harness.run()
    assert len(harness.arrived()) == 24


def test_erased_owner_has_campaigns_paused_too(harness: Harness, tmp_path: Path) -> None:
    campaign_id = harness.accept()
    erase(harness.db, OWNER, spool_path=tmp_path / "spool")
    assert states(harness.db)[campaign_id] == ("paused", REASON)


def test_transfer_hands_all_campaigns_over(harness: Harness) -> None:
    db = harness.db
    ended = harness.accept()
    harness.run()
    waiting = harness.accept()
    with db.write() as connection:
        row = {"id": 1, "campaign_id": ended, "caller_id": OWNER, "received_at": 1}
        row |= {"messages": 1, "size": 1, "packed": b""}
        connection.execute(MailboxArrival.__table__.insert(), [row])
    deactivate_user(db, OWNER)

    done = transfer(db, OWNER, "user00001")

    assert (done.campaigns, done.open) == (2, (waiting,))
    with db.read() as connection:
        assert set(connection.scalars(select(Campaign.caller_id))) == {"user00001"}
        assert set(connection.scalars(select(MailboxArrival.caller_id))) == {"user00001"}
    (logged,) = entries(db, act=Act.TRANSFER_CAMPAIGNS)
    assert (logged.about, logged.details) == (OWNER, {"to": "user00001", "campaigns": 2, "open": [waiting]})
    control.resume(db, waiting, "user00001")
    harness.run()
    assert states(db)[waiting][0] == "completed"


def test_campaign_that_was_paused_already_is_named_too(harness: Harness) -> None:
    expected = harness.accept()
    harness.plan()
    control.pause(harness.db, expected)
    going = harness.accept()
    left = deactivate_user(harness.db, OWNER).left
    assert (left.paused, left.waiting) == ((going,), (expected,))
    assert f"was paused before {REASON}, and waits for a new one: campaign {expected}" in left.notes()


def test_timeline_goes_on_saying_who_accepted_it(harness: Harness) -> None:
    db, campaign_id = harness.db, harness.accept()
    harness.plan()
    with acting(Actor("desk", Via.CLI, "host")):
        transfer(db, OWNER, "user00001")
        harness.now += 1
        transfer(db, "user00001", "user00002")
    run_steps(forgetting(db, -DAY))  # a transfer is kept as long as its campaign
    first, *moved = timeline(db, harness.progress())  # what planned it is forgotten
    assert (first.kind, first.details) == ("accepted", {"by": OWNER})
    assert [(one.kind, one.details["from"], one.details["to"], one.details["by"]) for one in moved] == [
        ("transferred", OWNER, "user00001", "desk"),
        ("transferred", "user00001", "user00002", "desk"),
    ]
    assert in_words(moved[0]) == f"by desk; from {OWNER} to user00001"
    control.pause(db, campaign_id)
    assert [one.made_by for one in revisions(db, campaign_id)] == [OWNER]
    edit(db, harness.settings, campaign_id, subject="Corrected")
    assert [one.made_by for one in revisions(db, campaign_id)] == [OWNER, "system"]
    edited = timeline(db, harness.progress())[-1]
    assert (edited.kind, edited.details) == ("edited", {"by": "system", "version": 2})


def test_transfer_to_nobody_to_who_is_gone_and_of_nothing_changes_nothing(harness: Harness) -> None:
    db = harness.db
    harness.accept()
    deactivate_user(db, "user00002")
    for giver, receiver, field in (
        (OWNER, "nobody", "to"),
        (OWNER, "user00002", "to"),
        (OWNER, "service:none", "to"),
        (OWNER, OWNER, "to"),
        ("nobody", "user00001", "from"),
    ):
        with pytest.raises(InvalidParams, match=field):
            transfer(db, giver, receiver)
    with db.read() as connection:
        assert set(connection.scalars(select(Campaign.caller_id))) == {OWNER}
    Tokens(db).create_for_service("desk", [SEND_MAIL])
    assert transfer(db, OWNER, "service:desk").campaigns == 1


def test_use_of_a_token_is_written_once_an_hour(any_db: Database, add_users, monkeypatch) -> None:
    add_users(any_db, 1)
    time, writes = [START], []
    any_db.clock = lambda _connection: time[0]
    tokens = Tokens(any_db)
    token = tokens.create(OWNER, [SEND_MAIL], label="cron on web1")
    assert (tokens.list()[0].label, tokens.list()[0].last_used_at) == ("cron on web1", None)
    note = tokens._note_use
    monkeypatch.setattr(tokens, "_note_use", lambda digest, at: (writes.append(at), note(digest, at)))
    for time[0] in (START, START + 1, START + USE_NOTED, START + USE_NOTED + 1, START + 2 * USE_NOTED):
        tokens.authenticate(OWNER, token)
    assert writes == [START, START + USE_NOTED + 1]
    assert tokens.list()[0].last_used_at == START + USE_NOTED + 1


def test_token_is_good_where_its_use_cannot_be_written(any_db: Database, add_users, monkeypatch) -> None:
    from sqlalchemy.exc import OperationalError

    add_users(any_db, 1)
    tokens = Tokens(any_db)
    token = tokens.create(OWNER, [SEND_MAIL])

    def refuse(**_options: object) -> Any:
        raise OperationalError("UPDATE", None, Exception("read only"))

    monkeypatch.setattr(any_db, "write", refuse)
    assert tokens.authenticate(OWNER, token).user_id == OWNER
    monkeypatch.setattr(any_db, "write", lambda **_options: pytest.fail("it was tried a moment ago"))
    assert tokens.authenticate(OWNER, token).user_id == OWNER


def test_end_of_a_token_is_warned_of(any_db: Database, add_users) -> None:
    add_users(any_db, 1)
    any_db.clock = lambda _connection: now
    tokens, now = Tokens(any_db), START
    tokens.create(OWNER, [SEND_MAIL], 30 * DAY, label="newsletter")
    tokens.create(OWNER, [SEND_MAIL])
    tokens.create(OWNER, [SEND_MAIL], 300 * DAY)
    assert tokens.ending_soon() == []
    now += 24 * DAY
    (told,) = tokens.ending_soon()
    assert told.endswith(f" of {OWNER} (newsletter) ends in 6 days")
    now += 6 * DAY - 1
    assert tokens.ending_soon()[0].endswith("ends in 0 hours")
    now += 1
    assert tokens.ending_soon() == []  # it has ended


@pytest.fixture
def run(tmp_path: Path, sqlite_db: Database, add_users, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    add_users(sqlite_db, 3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILER_DATABASE_URL", sqlite_db.url)
    monkeypatch.setenv("MAILER_SECRET_KEY", KEY)
    return lambda *arguments: CliRunner().invoke(main, arguments)


def test_commands_make_list_warn_of_and_revoke_tokens(run, sqlite_db: Database) -> None:
    made = run("tokens", "create", "--user", OWNER, "--label", "cron on web1", "--expires", "30d")
    token = made.stdout.split()[-1]
    assert run("tokens", "create", "--service", "desk", "--label", "a\nb").exit_code == 2
    run("tokens", "create", "--service", "desk")
    Tokens(sqlite_db).authenticate(OWNER, token)
    listed = json.loads(run("tokens", "list", "--json").stdout)
    assert [(one["label"], one["lastUsedAt"] is None) for one in listed] == [("cron on web1", False), (None, True)]
    with sqlite_db.write() as connection:
        ends = update(AuthToken).where(AuthToken.digest == digest_of(token))
        ago = {"created_at": AuthToken.created_at - 27 * DAY, "expires_at": AuthToken.expires_at - 27 * DAY}
        connection.execute(ends.values(**ago))
    shown = run("tokens", "list")
    assert f"of {OWNER} (cron on web1) ends in 2 days" in shown.stderr
    assert "cron on web1" in shown.stdout
    checked = run("config", "check", "--json")
    assert [one for one in json.loads(checked.stdout)["warnings"] if "ends in" in one]
    assert run("tokens", "revoke").exit_code == 2
    assert run("tokens", "revoke", "0" * 8, "--user", OWNER).exit_code == 2
    assert run("tokens", "revoke", "--user", OWNER).stdout == "revoked: 1\n"
    assert run("tokens", "revoke", "--user", OWNER).exit_code == 1
    assert run("tokens", "revoke", "--user", "service:desk").stdout == "revoked: 1\n"
    assert Tokens(sqlite_db).list() == []


@pytest.mark.parametrize(("setting", "word"), [("pause", "paused, since"), ("continue", "goes on although")])
def test_commands_name_the_campaigns_of_who_leaves(
    run, sqlite_db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, word: str
) -> None:
    monkeypatch.setenv("MAILER_OWNER_DEACTIVATED", setting)
    harness = Harness(sqlite_db)
    first = harness.accept()
    left = run("users", "deactivate", OWNER)
    assert (left.stdout, left.stderr) == (f"deactivated: {OWNER}\n", f"Note: {word} {REASON}: campaign {first}\n")
    run("users", "import", str(_file(tmp_path, {"_id": OWNER, "active": True})))
    second = harness.accept()
    left = run("users", "import", "--json", str(_file(tmp_path, {"_id": OWNER, "active": False})))
    name = {"pause": "pausedCampaigns", "continue": "ongoingCampaigns"}[setting]
    expected = [second] if setting == "pause" else [first, second]
    assert sorted(json.loads(left.stdout)[name]) == sorted(expected)


def _file(folder: Path, document: dict[str, Any]) -> Path:
    path = folder / "users.json"
    path.write_text(json.dumps([document]))
    return path


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    url = migrated_sqlite(tmp_path / "mailer.db")
    made = create_app(Settings(database_url=url, secret_key=(KEY,), rate_limit="", owner_deactivated="pause"))
    yield made
    made.extensions["mailer"].db.close()


def test_api_names_the_campaigns_of_who_leaves_and_hands_them_over(app: Flask, add_users) -> None:
    db = app.extensions["mailer"].db
    add_users(db, 3)
    harness = Harness(db)
    campaign_id = harness.accept()
    client: FlaskClient = app.test_client()
    token = Tokens(db).create_for_service("desk", [MANAGE_USERS, MANAGE_CAMPAIGNS])
    headers = {"X-User-Id": "service:desk", "X-Auth-Token": token}
    left = client.delete(f"/api/v1/mailer/users/{OWNER}", headers=headers).get_json()
    assert (left["pausedCampaigns"], left["ongoingCampaigns"], left["endedTokens"]) == ([campaign_id], [], 0)
    path, users = "/api/v1/mailer/campaigns:transfer", {"from": OWNER, "to": "user00001"}
    answer = client.post(path, headers=headers, json=users)
    assert answer.get_json() == {"success": True, **users, "campaigns": 1, "open": [campaign_id]}
    refused = client.post(path, headers=headers, json={"from": OWNER, "to": "nobody"})
    assert (refused.status_code, refused.get_json()["details"]["field"]) == (400, "to")
    mine = {"X-User-Id": "user00001", "X-Auth-Token": Tokens(db).create("user00001", [SEND_MAIL])}
    assert client.post(path, headers=mine, json=users).status_code == 403
    assert client.post(f"/api/v1/mailer/campaigns/{campaign_id}/resume", headers=mine).status_code == 200
