"""Sync with a workspace that is a real HTTP server, on both databases."""

from __future__ import annotations

import fcntl
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import insert, select

from mailer.errors import InvalidState, WorkspaceUnavailable
from mailer.storage.database import Database
from mailer.storage.models import User
from mailer.suppression.unsubscribes import resubscribe, unsubscribe
from mailer.workspace.client import ATTEMPTS, Workspace, retry_delay
from mailer.workspace.sync import SyncResult, sync_users
from tests.conftest import user_row
from tests.fake_workspace import FakeWorkspace, member, slow_down

NAMES = ["ann", "bob", "cid", "dan", "eve", "fay", "gil"]


@pytest.fixture
def fake() -> Iterator[FakeWorkspace]:
    """Seven users, of whom a page shows three."""
    with FakeWorkspace(*map(member, NAMES), cap=3) as workspace:
        yield workspace


class Sync:
    """Runs a sync without really waiting; `waits` has how long it would have."""

    def __init__(self, db: Database, fake: FakeWorkspace, folder: Path) -> None:
        self.db, self.fake, self.spool = db, fake, folder / "deep" / "sync.ndjson"
        self.waits: list[float] = []

    def __call__(self, token: str = "secret", url: str | None = None) -> SyncResult:
        workspace = Workspace(url or self.fake.url, "admin", token, sleep=self.waits.append)
        try:
            return sync_users(self.db, workspace, self.spool)
        finally:
            workspace.close()

    def rows(self) -> dict[str, Any]:
        with self.db.read() as connection:
            return {row.id: row for row in connection.execute(select(User.__table__))}

    def active(self) -> list[str]:
        return sorted(user_id for user_id, row in self.rows().items() if row.active)


@pytest.fixture
def sync(db: Database, fake: FakeWorkspace, tmp_path: Path) -> Sync:
    return Sync(db, fake, tmp_path)


def test_all_users_are_taken_over(sync: Sync) -> None:
    sync.fake.users["ann"]["services"] = {"password": {"bcrypt": "hunter2"}}
    assert sync() == SyncResult(created=7, updated=0, unchanged=0, deactivated=0)
    ann = sync.rows()["ann"]
    assert (ann.email, ann.created_at, ann.workspace) == ("ann@example.com", 1_420_070_400_000, sync.fake.url)
    assert "services" not in ann.document
    assert sync() == SyncResult(0, 0, 7, 0)


def test_list_whose_end_is_a_whole_page_ends(sync: Sync) -> None:
    del sync.fake.users["fay"], sync.fake.users["gil"]  # pages of three, two of them new: exactly two pages
    assert sync().created == 5
    assert sync.fake.offsets == [0, 2]


def test_changed_and_gone_users_follow_the_workspace(sync: Sync) -> None:
    sync()
    sync.fake.users["ann"]["name"] = "Ann Lee"
    del sync.fake.users["dan"]
    assert sync() == SyncResult(0, 1, 5, 1)
    rows = sync.rows()
    assert (rows["ann"].name, rows["dan"].active, rows["dan"].document["active"]) == ("Ann Lee", False, False)
    assert sync() == SyncResult(0, 0, 6, 0)
    sync.fake.users["dan"] = member("dan")
    assert sync() == SyncResult(0, 1, 6, 0)
    assert sync.active() == sorted(NAMES)


def test_users_from_elsewhere_stay(sync: Sync) -> None:
    with sync.db.write() as connection:
        connection.execute(insert(User), [user_row(1, id="local"), user_row(2, id="bob")])
    sync()
    assert sync.active() == sorted([*NAMES, "local"])
    del sync.fake.users["bob"]
    sync()
    assert sync.active() == sorted({*NAMES, "local"} - {"bob"})


def test_unsubscription_is_never_undone(sync: Sync) -> None:
    sync()
    unsubscribe(sync.db, "ann")
    since = sync.rows()["ann"].unsubscribed_at
    sync.fake.users["ann"]["mailer"] = {"unsubscribed": False}
    sync.fake.users["bob"]["mailer"] = {"unsubscribed": True}
    sync()
    assert sync.rows()["ann"].unsubscribed_at == since
    assert sync.rows()["bob"].unsubscribed_at
    resubscribe(sync.db, "bob")
    sync.fake.users["bob"]["name"] = "Other"
    sync()
    assert sync.rows()["bob"].unsubscribed_at is None


def test_slow_down_is_heeded(sync: Sync) -> None:
    sync.fake.before = lambda number: slow_down(40) if number == 2 else None
    assert sync().created == 7
    (waited,) = sync.waits
    assert 30 < waited <= 40


def test_failing_server_is_tried_again_ever_later(sync: Sync) -> None:
    sync.fake.before = lambda number: (502, b"<html>", {}) if number in (2, 3, 4) else None
    assert sync().created == 7
    assert sync.waits == [1, 2, 4]


def test_run_that_fails_half_way_changes_nothing_and_goes_on(sync: Sync) -> None:
    sync.fake.before = lambda number: (503, b"", {}) if number >= 3 else None
    with pytest.raises(WorkspaceUnavailable, match=f"{ATTEMPTS} attempts: 503"):
        sync()
    assert sync.rows() == {}
    assert stat.S_IMODE(sync.spool.stat().st_mode) == 0o600
    sync.fake.before = lambda _number: None
    assert sync().created == 7
    assert sync.fake.offsets == [0, 2, 4]
    assert sync.spool.read_bytes() == b""


def test_resumed_run_reads_over_a_line_cut_short(sync: Sync) -> None:
    sync.fake.before = lambda number: (403, b"", {}) if number == 3 else None
    with pytest.raises(WorkspaceUnavailable, match="403"):
        sync()
    whole = sync.spool.read_bytes()
    sync.spool.write_bytes(whole[:-10] + b"x" * 5000)  # more than is still to come
    assert sync().created == 7
    assert sync.fake.offsets == [0, 2, 3, 5]


@pytest.mark.parametrize("stale", ["old", "other workspace"])
def test_spool_of_another_run_is_not_resumed(sync: Sync, stale: str) -> None:
    sync.spool.parent.mkdir()
    begun = 5 if stale == "old" else 10**13
    head = {"workspace": sync.fake.url if stale == "old" else "http://other.example", "begun": begun}
    sync.spool.write_text(json.dumps(head) + '\n{"_id": "zed"}\n')
    sync()
    assert sorted(sync.rows()) == sorted(NAMES)


@pytest.mark.parametrize("change", ["added", "removed"])
def test_change_before_the_place_while_the_list_is_read_waits_for_the_next_run(sync: Sync, change: str) -> None:
    def before(number: int) -> None:
        if number == 3 and change == "added":
            sync.fake.users["abe"] = member("abe")
        elif number == 3:
            del sync.fake.users["bob"]

    sync.fake.before = before
    sync()
    assert sync.active() == sorted(NAMES)
    assert sync.fake.offsets.count(0) == 1
    sync()
    assert sync.active() == sorted(sync.fake.users)


def test_changes_that_cancel_out_wait_for_the_next_run(sync: Sync) -> None:
    def before(number: int) -> None:
        if number == 3:
            del sync.fake.users["bob"]
            sync.fake.users["abe"] = member("abe")

    sync.fake.before = before
    sync()
    assert sync.active() == sorted(NAMES)
    sync.fake.before = lambda _number: None
    sync()
    assert sync.active() == sorted(sync.fake.users)


def test_list_that_never_rests_is_read_nevertheless(sync: Sync) -> None:
    def before(number: int) -> None:
        sync.fake.users[f"a{number:03d}"] = member(f"a{number:03d}")

    sync.fake.before = before
    sync()
    assert set(NAMES) <= set(sync.active())


def test_list_that_is_another_each_time_changes_nothing(sync: Sync) -> None:
    def before(number: int) -> None:
        sync.fake.users = {f"{number}{name}": member(f"{number}{name}") for name in NAMES}

    sync.fake.before = before
    with pytest.raises(WorkspaceUnavailable, match="changed each time"):
        sync()
    assert sync.rows() == {}


WRONG = {
    "wrong token": ((401, b"{}", {}), "refused users.list with 401"),
    "redirect": ((302, b"", {"Location": "http://127.0.0.1:1/"}), "refused users.list with 302"),
    "no json": ((200, b"<html>", {}), "without JSON"),
    "number too long": ((200, b"9" * 5000, {}), "without JSON"),
    "nested too deep": ((200, b"[" * 100_000, {}), "without JSON"),
    "json of another kind": ((200, [1], {}), "without success"),
    "no success": ((200, {"success": False}, {}), "without success"),
    "no users": ((200, {"success": True}, {}), "something else"),
    "no id": ((200, {"success": True, "users": [{}], "total": 1}, {}), "shows no user"),
    "nobody": ((200, {"success": True, "users": [], "total": 0}, {}), "shows no user"),
    "no address": ((200, {"success": True, "users": [{"_id": "x"}], "total": 1}, {}), "shows nobody's address"),
    "fewer than it says": ((200, {"success": True, "users": [], "total": 5}, {}), "changed each time"),
}


@pytest.mark.parametrize(("answer", "told"), WRONG.values(), ids=WRONG)
def test_wrong_answer_changes_nothing(sync: Sync, answer: tuple[int, Any, dict[str, str]], told: str) -> None:
    sync()
    sync.fake.before = lambda _number: answer
    with pytest.raises(WorkspaceUnavailable, match=told):
        sync()
    assert sync.active() == sorted(NAMES)


def test_list_that_will_not_do_is_not_kept_for_the_next_run(sync: Sync) -> None:
    whole = dict(sync.fake.users)
    sync.fake.users = {name: {"_id": name} for name in NAMES}  # what too weak a token sees
    with pytest.raises(WorkspaceUnavailable, match="nobody's address"):
        sync()
    sync.fake.users = whole
    assert sync().created == 7
    assert {row.email for row in sync.rows().values()} == {f"{name}@example.com" for name in NAMES}


@pytest.mark.parametrize("broken", [0, 1, 3])
@pytest.mark.parametrize("line", [b"\0" * 40 + b"\n", b"[1]\n", b'{"x": 1}\n', b"\n"])
def test_spool_that_a_crash_has_spoilt_is_read_anew_from_there(sync: Sync, broken: int, line: bytes) -> None:
    sync.fake.before = lambda number: (403, b"", {}) if number == 3 else None
    with pytest.raises(WorkspaceUnavailable, match="403"):
        sync()
    lines = sync.spool.read_bytes().splitlines(keepends=True)
    lines[broken] = line
    sync.spool.write_bytes(b"".join(lines))
    assert sync().created == 7
    assert sync.fake.offsets[2] == max(0, broken - 2)


MALFORMED = {
    "roles": ({"roles": "admin"}, "roles", False, {}),
    "roles with a number": ({"roles": ["user", 5]}, "roles.1", False, {}),
    "emails": ({"emails": "eve@example.com"}, "emails", False, {}),
    "address": ({"emails": [{"address": 5}]}, "emails.0", False, {}),
    "active": ({"active": "no"}, "active", False, {"active": False}),
    "custom fields": ({"customFields": [1]}, "customFields", False, {}),
    "mark of the unsubscribed": ({"mailer": {"unsubscribed": "yes"}}, "mailer.unsubscribed", False, {}),
    "second address": ({"emails": [{"address": "e@example.com"}, 5]}, "emails.1", True, {}),
    "verified": ({"emails": [{"address": "e@example.com", "verified": 1}]}, "emails.0.verified", True, {}),
    "name": ({"name": 5}, "name", True, {"name": "eve"}),
    "status": ({"statusText": {"a": 1}}, "statusText", True, {}),
    "date": ({"lastLogin": "yesterday"}, "lastLogin", True, {}),
    "something unknown": ({"bio": "a\0b"}, "bio", True, {}),
    "a name that is none": ({"a\0b": 1}, "document", False, {}),
}


@pytest.mark.parametrize(("changes", "field", "reachable", "columns"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_field_is_dropped_or_makes_unreachable(
    sync: Sync, changes: dict[str, Any], field: str, reachable: bool, columns: dict[str, Any]
) -> None:
    sync()
    sync.fake.users["eve"] |= changes
    result = sync()
    assert (result.unchanged + result.updated, result.deactivated, result.malformed) == (7, 0, 1)
    assert [(problem.user_id, problem.field) for problem in result.problems] == [("eve", field)]
    assert "example.com" not in str(result)
    eve = sync.rows()["eve"]
    assert (eve.email is not None) == reachable
    assert {name: getattr(eve, name) for name in columns} == columns


NOBODY = {
    "no id": {"username": "x"},
    "a number": {"_id": 5},
    "an empty id": {"_id": ""},
    "a text": "x",
    "nothing": None,
}


@pytest.mark.parametrize("user", NOBODY.values(), ids=NOBODY)
def test_user_who_is_none_is_skipped_and_told_of(sync: Sync, user: Any) -> None:
    listed = [*map(member, ["ann", "bob"]), user, member("cid")]

    def answer(offset: int) -> dict[str, Any]:
        return {"users": listed[offset : offset + 3], "total": 4, "success": True}

    offsets = iter([0, 2, 0, 2])
    sync.fake.before = lambda _number: (200, answer(next(offsets)), {})
    result = sync()
    assert (result.created, result.malformed) == (3, 1)
    assert [problem.user_id for problem in result.problems] == ["user 3 of the list"]
    assert sync.active() == ["ann", "bob", "cid"]


def test_too_many_malformed_users_are_no_list(sync: Sync) -> None:
    sync()
    for n in range(11):
        sync.fake.users[f"x{n:02d}"] = member(f"x{n:02d}", roles="admin")
    with pytest.raises(
        WorkspaceUnavailable, match=r"11 of 18 users in its list are malformed, .* x00, field roles: must"
    ):
        sync()
    assert sync.active() == sorted(NAMES)
    del sync.fake.users["x10"]
    assert (sync().created, sync().malformed) == (10, 10)


@pytest.mark.slow
def test_one_in_a_hundred_may_be_malformed(sync: Sync) -> None:
    sync.fake.cap = 100
    for n in range(1993):
        sync.fake.users[f"x{n:04d}"] = member(f"x{n:04d}", **({"status": 5} if n < 20 else {}))
    assert (sync().malformed, len(sync().problems)) == (20, 20)
    sync.fake.users["ann"]["name"] = 5
    with pytest.raises(WorkspaceUnavailable, match=r"21 of 2000"):
        sync()


def test_resumed_run_still_knows_what_was_malformed(sync: Sync) -> None:
    sync.fake.users["ann"]["roles"] = "admin"
    sync.fake.before = lambda number: (403, b"", {}) if number == 3 else None
    with pytest.raises(WorkspaceUnavailable, match="403"):
        sync()
    sync.fake.before = lambda _number: None
    assert (sync().malformed, sync.fake.offsets[2]) == (1, 4)


def test_two_runs_at_once_are_one_too_many(sync: Sync) -> None:
    sync.spool.parent.mkdir()
    with sync.spool.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(InvalidState, match="Another sync"):
            sync()


def test_workspace_that_is_not_there_is_named(sync: Sync) -> None:
    with pytest.raises(WorkspaceUnavailable, match=r"http://127.0.0.1:1 did not answer .*: Connection refused"):
        sync(url="http://127.0.0.1:1")
    assert len(sync.waits) == ATTEMPTS - 1


WAITS = [
    ({}, 0, 1.0),
    ({}, 3, 8.0),
    ({}, 20, 120.0),
    ({"Retry-After": "7"}, 3, 7.0),
    ({"Retry-After": "9999"}, 0, 120.0),
    ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 1, 2.0),
    ({"X-RateLimit-Reset": "1005000"}, 0, 5.0),
    ({"X-RateLimit-Reset": "1"}, 0, 0.0),
    ({"X-RateLimit-Reset": "soon"}, 0, 1.0),
]


@pytest.mark.parametrize(("headers", "attempt", "seconds"), WAITS)
def test_wait_is_what_is_told_else_doubles(headers: dict[str, str], attempt: int, seconds: float) -> None:
    response = requests.Response()
    response.headers.update(headers)
    assert retry_delay(response, attempt, 1000.0) == seconds
