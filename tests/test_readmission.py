"""Somebody who was erased joins again: an operator has hashes forgotten, and only what was named may come back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from sqlalchemy import select

from app import create_app
from mailer.audit import log
from mailer.callers.tokens import Tokens
from mailer.campaigns.people.erasure import erase
from mailer.campaigns.people.readmission import NOBODY, Readmitted, readmit
from mailer.cli import main
from mailer.directory.imports import import_users
from mailer.errors import InvalidParams, NotFound
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import Erased, User, Wish
from tests.harness import Harness
from tests.test_erasure import ADDRESS, DOCUMENT, ID, NOWHERE, SECOND, bring, left
from tests.test_signed_in_pages import form_of, sign_in, token_of
from transports.base import Status


@pytest.fixture
def erased(db: Database, add_users: Callable[..., list[str]]) -> Database:
    """A database from which somebody was erased."""
    add_users(db, 2)
    bring(db, DOCUMENT)
    erase(db, ID, spool_path=NOWHERE)
    return db


def test_who_is_named_whole_comes_back_and_is_written_to(erased: Database) -> None:
    assert readmit(erased, ID, [ADDRESS, SECOND.upper()]) == Readmitted(True, 2)
    assert left(erased) == []  # nothing comes back by itself
    assert bring(erased, DOCUMENT).created == 1
    with erased.read() as connection:
        assert connection.execute(select(User.active, User.unsubscribed_at).where(User.id == ID)).one() == (True, None)
        assert connection.scalars(select(Wish.value)).all() == []


@pytest.mark.parametrize(
    ("user_id", "addresses", "done"),
    [(ID, [], Readmitted(True, 0)), ("", [ADDRESS], Readmitted(False, 1)), (ID, [ADDRESS], Readmitted(True, 1))],
)
def test_what_is_not_named_stays_erased(erased: Database, user_id: str, addresses: list[str], done: Readmitted) -> None:
    assert readmit(erased, user_id, addresses) == done
    assert bring(erased, DOCUMENT).erased == 1
    one = {"_id": user_id or "other", "emails": [{"address": one} for one in addresses]}
    assert bring(erased, one).created == 1


def test_nobody_is_found_twice_or_without_a_name(erased: Database) -> None:
    with pytest.raises(InvalidParams, match="_id: Name"):
        readmit(erased)
    with pytest.raises(InvalidParams, match="addresses: Not a valid address"):
        readmit(erased, ID, [ADDRESS, "nonsense"])
    assert bring(erased, DOCUMENT).erased == 1  # nothing has changed
    readmit(erased, ID, [ADDRESS, SECOND])
    for user_id, addresses in ((ID, [ADDRESS]), ("user00000", []), ("", ["user00000@example.com"])):
        with pytest.raises(NotFound, match=NOBODY):
            readmit(erased, user_id, addresses)


def test_nobody_was_ever_erased(db: Database) -> None:
    with pytest.raises(NotFound, match=NOBODY):
        readmit(db, ID, [ADDRESS])


def test_id_that_was_made_of_the_address_comes_back_with_it(db: Database, tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    path.write_text(f"name,email\nQuinta,{ADDRESS}\n")
    import_users(db, path)
    with db.read() as connection:
        made = connection.scalar(select(User.id)) or ""
    erase(db, made, spool_path=NOWHERE)
    assert import_users(db, path).erased == 1
    assert readmit(db, "", [ADDRESS]) == Readmitted(True, 1)
    assert import_users(db, path).created == 1


def test_address_that_others_share_is_written_to_again_where_addresses_are_merged(erased: Database) -> None:
    bring(erased, {"_id": "again", "emails": [{"address": "shared@example.com"}]})
    bring(erased, {"_id": "user00001", "emails": [{"address": "shared@example.com"}]})
    erase(erased, "again", spool_path=NOWHERE)
    with erased.read() as connection:
        assert connection.scalars(select(Wish.value)).all() == ["shared@example.com"]
    readmit(erased, "again", ["shared@example.com"])
    with erased.read() as connection:
        assert connection.scalars(select(Wish.value)).all() == []


def test_outcome_that_was_to_be_tried_again_ends_also_after_its_person_may_come_back(
    db: Database, add_users: Callable[..., list[str]]
) -> None:
    add_users(db, 2)
    harness = Harness(db)
    harness.store.answer("user00001@example.com", Status.DEFERRED)
    harness.accept()
    harness.run()
    erase(db, "user00001", spool_path=NOWHERE)
    readmit(db, "user00001", ["user00001@example.com"])
    harness.now += 600_000
    harness.run()
    assert harness.counts() == {"sent": 1, "skipped": 1}
    assert harness.progress().state == "completed"


def test_hashes_are_gone_and_what_was_done_is_in_the_log(erased: Database) -> None:
    with erased.read() as connection:
        before = set(connection.scalars(select(Erased.digest)))
    readmit(erased, ID, [ADDRESS, SECOND])
    with erased.read() as connection:
        assert before.isdisjoint(connection.scalars(select(Erased.digest)))
    entry = log.entries(erased)[0]
    assert (entry.act, entry.about, entry.details) == ("readmit-user", ID, {"user": True, "addresses": 2})
    assert ADDRESS not in str(entry)


@pytest.fixture
def client(any_db: Database) -> FlaskClient:
    """A service from whose directory somebody was erased."""
    bring(any_db, DOCUMENT, {"_id": "desk"})
    erase(any_db, ID, spool_path=NOWHERE)
    return create_app(Settings(database_url=any_db.url, secret_key=("k" * 40,))).test_client()


def test_request_readmits_for_who_manages_users(client: FlaskClient, any_db: Database) -> None:
    path, body = "/api/v1/mailer/users:readmit", {"_id": ID, "addresses": [ADDRESS]}
    for permission, status in (("send-mail", 403), ("manage-users", 200), ("manage-users", 404)):
        headers = {"X-User-Id": "desk", "X-Auth-Token": Tokens(any_db).create("desk", [permission])}
        answer = client.post(path, json=body, headers=headers)
        assert answer.status_code == status
        if status == 200:
            assert answer.json == {"success": True, "user": True, "addresses": 1}
    for wrong, field in (({}, "_id"), ({"addresses": ["x"]}, "addresses"), ({"id": ID}, "id")):
        refused = client.post(path, json=wrong, headers=headers)
        assert (refused.status_code, field in refused.json["error"]) == (400, True)
    assert client.post(path, json={"addresses": [SECOND] * 21}, headers=headers).status_code == 400


def test_page_readmits_who_is_named(client: FlaskClient, any_db: Database) -> None:
    sign_in(client, "desk", token_of(any_db, "desk", "manage-users"))
    assert 'href="../readmit"' in client.get("/mailer/people/").text
    form = {"form": form_of(client.get("/mailer/readmit").text)}
    nobody = client.post("/mailer/readmit", data={**form, "user_id": "<b>", "addresses": "a@x.example"})
    assert (nobody.status_code, NOBODY in nobody.text, "<b>" in nobody.text) == (404, True, False)
    assert "a@x.example" in nobody.text  # what was entered stays
    for addresses, said in (("x", "addresses: Not a valid address."), ("\0", "Has a NUL")):
        wrong = client.post("/mailer/readmit", data={**form, "user_id": ID, "addresses": addresses})
        assert (wrong.status_code, said in wrong.text) == (400, True)
    done = client.post("/mailer/readmit", data={**form, "user_id": ID, "addresses": f"{ADDRESS}\r\n{SECOND}\r\n"})
    assert done.status_code == 303
    shown = client.get(f"/mailer/{done.headers['Location']}").text
    assert "Addresses that may come back: 2." in shown
    assert "The id may come back." in shown
    assert bring(any_db, DOCUMENT).created == 1


def test_page_is_for_who_manages_users(client: FlaskClient, any_db: Database) -> None:
    sign_in(client, "desk", token_of(any_db, "desk", "send-mail", "manage-campaigns"))
    form = {"form": form_of(client.get("/mailer/").text), "user_id": ID}
    assert client.get("/mailer/readmit").status_code == 403
    assert client.post("/mailer/readmit", data=form).status_code == 403
    assert bring(any_db, DOCUMENT).erased == 1


def test_command_line_readmits(sqlite_db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bring(sqlite_db, DOCUMENT)
    erase(sqlite_db, ID, spool_path=NOWHERE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILER_DATABASE_URL", sqlite_db.url)
    done = CliRunner().invoke(main, ["users", "readmit", ID, "--address", ADDRESS, "--address", "b@x.example"])
    assert done.stdout == f"may come back: {ID}, 1 of 2 addresses\n"
    assert CliRunner().invoke(main, ["users", "readmit", ID]).exit_code == 1
    assert CliRunner().invoke(main, ["users", "readmit"]).exit_code == 1
    assert (
        CliRunner().invoke(main, ["users", "readmit", "--address", SECOND]).stdout
        == "may come back: 1 of 1 addresses\n"
    )
