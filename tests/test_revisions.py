"""The text of a paused campaign replaced: who gets which version, and when it cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import select, update

from app import create_app
from mailer.audit.log import Act, entries
from mailer.callers.tokens import MANAGE_CAMPAIGNS, SEND_MAIL, Tokens
from mailer.campaigns import control
from mailer.campaigns.accept import accept
from mailer.campaigns.deliveries import deliveries
from mailer.campaigns.draft import Draft
from mailer.campaigns.hold import hold
from mailer.campaigns.people.erasure import erase
from mailer.campaigns.progress import progress
from mailer.campaigns.retention import purge
from mailer.campaigns.revisions.edit import edit, revisions
from mailer.cli import main
from mailer.errors import InvalidParams, InvalidState, MissingUnsubscribeLink, NotFound
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import Batch, Campaign, CampaignText, Delivery
from tests.databases import migrated_sqlite
from tests.harness import START, Harness
from tests.service import Service
from tests.test_signed_in_pages import form_of, sign_in

OWNER = "user00000"
NEW = {"subject": "Corrected [fname]", "body": "Better [name] [unsubscribe]"}
KEY = "k" * 40


@pytest.fixture
def harness(db: Database, add_users) -> Harness:
    """A campaign for 25 people, paused after the first batch of ten."""
    add_users(db, 25)
    made = Harness(db)
    made.accept()
    made.plan()
    made.deliverer.run_next(lambda: False)
    assert len(made.arrived()) == 10
    control.pause(db, made.campaign_id)
    return made


def mend(harness: Harness, **changes: Any) -> int:
    return edit(harness.db, harness.settings, harness.campaign_id, **{**NEW, **changes})


def versions(harness: Harness) -> list[int | None]:
    found = deliveries(harness.db, harness.campaign_id, after=None, count=100)
    return [one.version for one in found]


def subjects(harness: Harness) -> list[str]:
    return [_subject(message.content) for message in harness.store.messages]


def _subject(content: bytes) -> str:
    return next(line for line in content.decode().splitlines() if line.startswith("Subject: ")).partition(": ")[2]


def test_whoever_is_not_served_yet_gets_the_new_text_and_outcomes_know_which(harness: Harness) -> None:
    assert mend(harness) == 2
    control.resume(harness.db, harness.campaign_id)
    harness.run()
    assert subjects(harness) == ["Hi Ann"] * 10 + ["Corrected Ann"] * 15
    assert versions(harness) == [1] * 10 + [2] * 15
    assert (harness.progress().state, harness.progress().version) == ("completed", 2)


def test_every_version_stays_known_until_a_purge(harness: Harness) -> None:
    db, campaign_id = harness.db, harness.campaign_id
    first = revisions(db, campaign_id)
    assert [(one.version, one.subject, one.made_by) for one in first] == [(1, "Hi [fname]", OWNER)]
    harness.now += 1
    assert mend(harness) == 2
    assert mend(harness, subject="Third", body=None) == 3
    assert mend(harness, subject="Third", body=None) == 3  # nothing changes
    found = [(one.version, one.subject, one.body[:6], one.made_at - START) for one in revisions(db, campaign_id)]
    assert found == [(1, "Hi [fname]", "Hello ", 0), (2, "Corrected [fname]", "Better", 1), (3, "Third", "Better", 1)]
    logged = entries(db, act=Act.EDIT_CAMPAIGN)
    assert [(one.about, one.details) for one in logged] == [
        (campaign_id, {"version": 3}),
        (campaign_id, {"version": 2}),
    ]
    control.cancel(db, campaign_id)
    harness.now += 1000
    assert purge(db, 1).campaigns == 1
    assert revisions(db, campaign_id) == []


def test_who_was_refused_for_now_gets_the_new_text_at_the_next_attempt(db: Database, add_users) -> None:
    add_users(db, 2)
    harness = Harness(db)
    harness.accept()
    _defer(harness)
    control.pause(db, harness.campaign_id)
    assert mend(harness) == 2
    control.resume(db, harness.campaign_id)
    harness.now += 3_600_000
    harness.run()
    assert "Corrected Ann" in subjects(harness)
    assert versions(harness)[0] == 2


def _defer(harness: Harness) -> None:
    """The first attempt at the first user was refused for now."""
    harness.plan()
    row = {"campaign_id": harness.campaign_id, "user_id": OWNER, "batch": 0, "status": "deferred", "attempts": 1}
    row |= {"uncertain_attempts": 0, "reply": "451", "first_at": START, "updated_at": START, "due_at": START + 1}
    with harness.db.write() as connection:
        connection.execute(Delivery.__table__.insert(), [{**row, "address": "user00000@example.com"}])
        connection.execute(update(Batch).values(deferred=1))


@pytest.mark.parametrize("state", ["running", "completed", "cancelled"])
def test_only_a_paused_campaign_can_be_mended(harness: Harness, state: str) -> None:
    if state == "cancelled":
        control.cancel(harness.db, harness.campaign_id)
    else:
        control.resume(harness.db, harness.campaign_id)
    if state == "completed":
        harness.run()
    with pytest.raises(InvalidState, match=f"is {state}; pause it"):
        mend(harness)
    assert harness.progress().version == 1


def test_text_does_not_change_under_a_message_in_hand(harness: Harness) -> None:
    batch = update(Batch).where(Batch.number == 1)
    with harness.db.write() as connection:
        connection.execute(batch.values(state="running", due_at=harness.now + 1, attempting=["user00010"]))
    with pytest.raises(InvalidState, match="still in hand"):
        mend(harness)
    harness.now += 1  # its worker has died
    assert mend(harness) == 2
    control.resume(harness.db, harness.campaign_id)
    harness.run()
    harness.now += 3_600_000
    harness.run()
    assert versions(harness)[:10] == [1] * 10
    assert set(versions(harness)[10:]) <= {2, None}


def test_what_a_dead_worker_had_in_hand_has_no_known_version(harness: Harness) -> None:
    held = Harness(harness.db, uncertain="hold")
    held.campaign_id = harness.campaign_id
    with held.db.write() as connection:
        batch = update(Batch).where(Batch.number == 1)
        connection.execute(batch.values(state="running", due_at=held.now, attempting=["user00010"]))
    assert mend(held) == 2
    control.resume(held.db, held.campaign_id)
    held.run()
    assert versions(held) == [1] * 10 + [None] + [2] * 14


def test_bad_texts_are_refused_and_name_the_field(harness: Harness) -> None:
    with pytest.raises(MissingUnsubscribeLink):
        mend(harness, body="no link")
    with pytest.raises(MissingUnsubscribeLink):
        mend(harness, body="")
    with pytest.raises(InvalidParams, match="subject"):
        mend(harness, subject="two\nlines")
    with pytest.raises(InvalidParams, match="subject"):
        mend(harness, subject=None, body=None)
    with pytest.raises(InvalidState, match="has version 1"):
        mend(harness, version=7)
    with pytest.raises(NotFound):
        edit(harness.db, harness.settings, harness.campaign_id, "user00001", **NEW)
    assert revisions(harness.db, harness.campaign_id)[-1].version == 1


def test_address_of_an_erased_person_leaves_the_versions(harness: Harness, tmp_path: Path) -> None:
    mend(harness, subject="For user00003@example.com")
    mend(harness, subject="For everybody")
    control.cancel(harness.db, harness.campaign_id)
    erase(harness.db, "user00003", spool_path=tmp_path / "spool")
    with harness.db.read() as connection:
        assert "user00003@example.com" not in str(connection.execute(select(CampaignText.subject)).all())


@pytest.fixture
def client(tmp_path: Path, add_users) -> Any:
    url = migrated_sqlite(tmp_path / "mailer.db")
    app = create_app(Settings(database_url=url, secret_key=(KEY,), rate_limit=""))
    db = app.extensions["mailer"].db
    add_users(db, 3)
    yield app.test_client(), db
    db.close()


def test_api_mends_lists_and_shows_versions(client: Any) -> None:
    caller, db = client
    harness = Harness(db)
    harness.accept()
    harness.plan()
    headers = {"X-User-Id": OWNER, "X-Auth-Token": Tokens(db).create(OWNER, [SEND_MAIL])}
    at = f"/api/v1/mailer/campaigns/{harness.campaign_id}"
    assert caller.patch(at, headers=headers, json=NEW).status_code == 409
    control.pause(db, harness.campaign_id)
    for bad, field in (({}, "subject"), ({"subject": ""}, "subject"), ({"from": "x"}, "from"), ({"body": 5}, None)):
        answer = caller.patch(at, headers=headers, json=bad)
        assert answer.status_code == 400, bad
        assert field is None or field in answer.get_json()["error"], bad
    other = {"X-User-Id": "user00001", "X-Auth-Token": Tokens(db).create("user00001", [SEND_MAIL])}
    assert caller.patch(at, headers=other, json=NEW).status_code == 404
    assert caller.get(f"{at}/versions", headers=other).status_code == 404
    operator = {"X-User-Id": "user00002", "X-Auth-Token": Tokens(db).create("user00002", [MANAGE_CAMPAIGNS])}
    answer = caller.patch(at, headers=operator, json={**NEW, "subject": "Hi [nmae]", "version": 1})
    assert (answer.status_code, answer.get_json()["campaign"]["version"]) == (200, 2)
    assert "[nmae] is no placeholder" in answer.headers["Mailer-Warning"]
    found = caller.get(f"{at}/versions", headers=headers).get_json()["versions"]
    assert [(one["version"], one["madeBy"]) for one in found] == [(1, OWNER), (2, "user00002")]
    assert caller.get(at, headers=headers).get_json()["campaign"]["version"] == 2
    control.resume(db, harness.campaign_id)
    harness.run()
    listed = caller.get(f"{at}/deliveries", headers=headers).get_json()["deliveries"]
    assert {one["version"] for one in listed} == {2}
    rows = caller.get(f"{at}/export?format=ndjson", headers=headers).get_data(as_text=True).splitlines()
    assert {json.loads(row)["version"] for row in rows} == {2}


def paused(db: Database) -> tuple[Harness, str]:
    """A paused campaign, and a token of its owner."""
    harness = Harness(db)
    harness.accept()
    harness.plan()
    control.pause(db, harness.campaign_id)
    return harness, Tokens(db).create(OWNER, [SEND_MAIL])


def test_page_mends_a_paused_campaign(client: Any) -> None:
    caller, db = client
    harness, token = paused(db)
    assert sign_in(caller, OWNER, token).status_code == 303
    at = f"/mailer/campaigns/{harness.campaign_id}"
    assert "/edit" in caller.get(at).get_data(as_text=True)
    page = caller.get(f"{at}/edit").get_data(as_text=True)
    assert "Hello [name] [unsubscribe]" in page
    form = {"form": form_of(page), "version": "1"}
    refused = caller.post(f"{at}/edit", data={**form, **NEW, "body": "no link"})
    assert (refused.status_code, "no link" in refused.get_data(as_text=True)) == (400, True)
    assert caller.post(f"{at}/edit", data={**form, **NEW, "subject": " "}).status_code == 400
    large = "x" * 100_000 + " [unsubscribe]\r\nend"
    assert caller.post(f"{at}/edit", data={**form, "subject": "Large", "body": large}).status_code == 303
    assert revisions(db, harness.campaign_id)[-1].body == large.replace("\r\n", "\n")
    stale = caller.post(f"{at}/edit", data={**form, **NEW})
    assert (stale.status_code, "version 2" in stale.get_data(as_text=True)) == (409, True)
    assert "Hi [fname]" in caller.get(f"{at}/edit").get_data(as_text=True)  # among the versions
    control.resume(db, harness.campaign_id)
    assert 'id="replace"' not in caller.get(f"{at}/edit").get_data(as_text=True)
    assert progress(db, harness.campaign_id).version == 2


@pytest.mark.slow
def test_text_is_not_lost_when_the_session_ends_or_the_campaign_goes_on(client: Any) -> None:
    caller, db = client
    harness, token = paused(db)
    sign_in(caller, OWNER, token)
    at = f"/mailer/campaigns/{harness.campaign_id}/edit"
    form = {"form": form_of(caller.get(at).get_data(as_text=True)), "version": "1", "subject": "New <b>"}
    form["body"] = "<p>Long [unsubscribe]</p>"
    caller.delete_cookie("mailer_session")
    out = caller.post(at, data=form)
    assert (out.status_code, "You have been signed out" in out.get_data(as_text=True)) == (401, True)
    assert "&lt;p&gt;Long" in out.get_data(as_text=True)
    assert 'name="subject" value="New &lt;b&gt;"' in out.get_data(as_text=True)
    sign_in(caller, OWNER, token)
    again = caller.post(at, data={**form, "form": ""}).get_data(as_text=True)
    assert "signed in anew" in again
    assert "&lt;p&gt;Long" in again
    assert len(revisions(db, harness.campaign_id)) == 1
    control.resume(db, harness.campaign_id)
    late = caller.post(at, data={**form, "form": form_of(again)})
    assert (late.status_code, "&lt;p&gt;Long" in late.get_data(as_text=True)) == (409, True)


def test_command_mends_a_campaign(tmp_path: Path, add_users: Callable[..., list[str]], monkeypatch) -> None:
    with Service(tmp_path, transport="memory:") as service:
        add_users(service.db, 3)
        headers = service.headers(OWNER, SEND_MAIL)
        hold(service.db, "a test")
        draft = Draft("News", "news@example.com", "Hi", "Hello [unsubscribe]", {}, False)
        campaign_id = accept(service.db, OWNER, draft).campaign_id
        with service.db.write() as connection:
            connection.execute(update(Campaign).values(state="paused"))
        for name, value in (("SITE_URL", service.url), ("USER_ID", OWNER), ("AUTH_TOKEN", headers["X-Auth-Token"])):
            monkeypatch.setenv(f"MAILER_{name}", value)
        monkeypatch.chdir(tmp_path)
        (tmp_path / "new.html").write_text(NEW["body"])
        run = CliRunner().invoke
        assert run(main, ["campaigns", "edit", campaign_id]).exit_code == 2
        done = run(main, ["campaigns", "edit", campaign_id, "--subject", "New", "--body-file", "new.html", "--json"])
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["version"] == 2
        assert run(main, ["campaigns", "edit", campaign_id, "--subject", "Newer", "--version", "1"]).exit_code == 1
        assert "version: 2" in run(main, ["campaigns", "show", campaign_id]).stdout
