"""The commands about the audience and the directory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from mailer.cli import main
from mailer.cli.root import system_user
from mailer.directory.imports import upsert_documents
from mailer.directory.user_tables import KNOWN
from mailer.storage.models import Campaign
from tests.fake_workspace import FakeWorkspace, member
from tests.service import PAYLOAD, Service

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("cli"), transport="memory:", rate_limit="")
    people = [{"_id": f"u{n}", "name": f"User {n}", "emails": [{"address": f"user{n}@example.org"}]} for n in range(3)]
    upsert_documents(service.db, enumerate(people, 1))
    with service:
        yield service


@pytest.fixture
def run(service: Service, tmp_path: Path):
    """Run `mailer` with the credentials of a user, over the service."""
    headers = service.headers("u0")
    (tmp_path / "body.html").write_text(str(PAYLOAD["body"]))
    environment = {"SITE_URL": service.url, "USER_ID": "u0", "AUTH_TOKEN": headers["X-Auth-Token"]}

    def run(*arguments: str) -> Result:
        runner = CliRunner(env={f"MAILER_{name}": value for name, value in environment.items()})
        return runner.invoke(main, arguments)

    return run


def preview(run, tmp_path: Path, *more: str) -> Result:
    body = f"{tmp_path}/body.html"
    return run("preview", "--from", "news@example.com", "--subject", "Hi [fname]", "--body-file", body, *more)


def test_audience_is_counted(run) -> None:
    lines = run("audience").stdout.splitlines()
    left_out = ["suppressed: 0", "deactivated: 0", "unsubscribed: 0", "noAddress: 0", "sharedAddress: 0"]
    assert [lines[0], *sorted(lines[1:6])] == ["count: 3", *sorted(left_out)]
    assert "User 0" in lines[-3]
    one = json.loads(run("audience", "--query", '{"_id": "u2"}', "--json").stdout)
    estimate = {name: one.pop(name) for name in ("estimatedSeconds", "startsIn", "estimate")}
    assert estimate["estimate"].startswith("cannot be told now")
    assert one == {
        "count": 1,
        **dict.fromkeys(("suppressed", "deactivated", "unsubscribed", "noAddress", "sharedAddress"), 0),
        "sample": [{"userId": "u2", "name": "User 2", "address": "u***@example.org"}],
        "warnings": [],
    }


def test_preview_says_for_whom_and_shows_the_text(run, tmp_path: Path) -> None:
    lines = preview(run, tmp_path, "--user", "u2").stdout.splitlines()
    assert lines[:2] == ["user: u2", "subject: Hi User"]
    assert (lines[2].partition(":")[0], lines[3]) == ("time", "")
    assert lines[4].startswith("Hello User 2 http")


def test_preview_prints_the_thing_alone(run, tmp_path: Path) -> None:
    assert preview(run, tmp_path, "--format", "text").stdout.startswith("Hello User 0 http")
    assert "<p>Hello User 0" in preview(run, tmp_path, "--format", "html").stdout
    assert "subject" not in preview(run, tmp_path, "--format", "html").stdout
    assert json.loads(preview(run, tmp_path, "--format", "json").stdout)["userId"] == "u0"
    assert preview(run, tmp_path, "--format", "source").stdout_bytes.startswith(b"From: news@example.com\r\nTo: ")


def test_preview_shows_where_answers_go(run, tmp_path: Path) -> None:
    there = ("--reply-to", "Ann Lee <answers@example.org>")
    assert preview(run, tmp_path, *there).stdout.splitlines()[1] == "reply-to: Ann Lee <answers@example.org>"
    assert json.loads(preview(run, tmp_path, *there, "--format", "json").stdout)["replyTo"] == there[1]
    source = preview(run, tmp_path, *there, "--format", "source").stdout_bytes
    assert b"\r\nReply-To: Ann Lee <answers@example.org>\r\n" in source
    assert json.loads(preview(run, tmp_path, "--format", "json").stdout)["replyTo"] is None


def test_inline_css_is_asked_for_by_an_option(run, service: Service, tmp_path: Path) -> None:
    (tmp_path / "styled.html").write_text("<style>p { color: red }</style><p>Hello [unsubscribe]</p>")
    message = ("--from", "news@example.com", "--subject", "Hi", "--body-file", f"{tmp_path}/styled.html")
    plain, inlined = (run("preview", *message, "--format", "html", *more).stdout for more in ((), ("--inline-css",)))
    assert "<p>Hello" in plain
    assert '<p style="color:red">Hello' in inlined
    assert run("send", *message, "--inline-css", "--yes").exit_code == 0
    with service.db.read() as connection:
        assert connection.scalar(select(Campaign.inline_css).order_by(Campaign.id.desc()).limit(1)) is True


@pytest.mark.parametrize("command", ["send", "preview"])
def test_reply_to_that_is_no_address_is_refused_by_name(run, tmp_path: Path, command: str) -> None:
    message = ("--from", "news@example.com", "--subject", "Hi", "--body-file", f"{tmp_path}/body.html")
    result = run(command, *message, "--reply-to", "nobody", *(["--yes"] if command == "send" else []))
    assert result.exit_code == 1
    assert "refused with 400: replyTo: " in result.stderr


def test_sent_campaign_has_the_reply_to(run, service: Service, tmp_path: Path) -> None:
    message = ("--from", "news@example.com", "--subject", "Hi", "--body-file", f"{tmp_path}/body.html")
    assert run("send", *message, "--reply-to", "Ann Lee <answers@example.org>", "--yes").exit_code == 0
    with service.db.read() as connection:
        newest = select(Campaign.reply_to_name, Campaign.reply_to).order_by(Campaign.id.desc()).limit(1)
        assert tuple(connection.execute(newest).one()) == ("Ann Lee", "answers@example.org")


@pytest.mark.parametrize("form", ["text", "source"])
def test_preview_for_nobody_fails_in_one_line(run, tmp_path: Path, form: str) -> None:
    result = preview(run, tmp_path, "--user", "nobody", "--format", form)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: refused with 404: There is no active user")


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run `mailer` in a folder and with a directory of its own: ann, bob, and cid without an address."""
    monkeypatch.chdir(tmp_path)
    for name, value in {"DATABASE_URL": f"sqlite:///{tmp_path}/mailer.db", "SECRET_KEY": "k" * 40}.items():
        monkeypatch.setenv(f"MAILER_{name}", value)
    people = [{"_id": name, "emails": [{"address": f"{name}@example.org"}]} for name in ("ann", "bob")]
    Path("users.json").write_text(json.dumps([*people, {"_id": "cid"}]))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments)

    assert run("users", "import", "users.json").exit_code == 0
    return run


def test_suppression_list_is_imported_listed_and_exported(local) -> None:
    Path("list.csv").write_text("address\nBOB@example.org\nnobody@example.org\n")
    counted = local("unsubscribes", "import", "list.csv").stdout
    assert counted == "users: 1 unsubscribed, 0 already; rows: 1 unmatched, kept for whoever comes\n"
    again = json.loads(local("unsubscribes", "import", "list.csv", "--json").stdout)
    assert again == {"unsubscribed": 0, "already": 1, "unmatched": 1, "erased": 0}
    heading, row = local("unsubscribes", "list").stdout.splitlines()
    assert (heading.split(), row.split()[0], row.split()[2]) == (
        ["_id", "unsubscribed", "address", "campaign"],
        "bob",
        "bob@example.org",
    )
    exported = [json.loads(line) for line in local("unsubscribes", "export", "--format", "ndjson").stdout.splitlines()]
    assert [(one["_id"], one["address"]) for one in exported] == [
        ("bob", "bob@example.org"),
        (None, "bob@example.org"),
        (None, "nobody@example.org"),
    ]
    _, *kept = (line.split() for line in local("unsubscribes", "kept").stdout.splitlines())
    assert [(row[0], row[4:]) for row in kept] == [
        (address, [system_user(), "list.csv"]) for address in ("bob@example.org", "nobody@example.org")
    ]
    assert local("unsubscribes", "remove", "NOBODY@example.org").stdout == "subscribed: NOBODY@example.org\n"
    assert local("unsubscribes", "remove", "nobody@example.org").exit_code == 1


def test_removed_unsubscription_is_gone(local) -> None:
    Path("list.csv").write_text("_id\nbob\n")
    local("unsubscribes", "import", "list.csv")
    assert local("unsubscribes", "remove", "bob").stdout == "subscribed: bob\n"
    assert local("unsubscribes", "export").stdout == "_id,address,unsubscribedAt,campaign\n"
    unknown = local("unsubscribes", "remove", "nobody")
    assert (unknown.exit_code, unknown.stderr) == (1, "Error: there is no user with the id or the username nobody\n")


def test_suppression_list_that_is_none_fails_in_one_line(local) -> None:
    Path("list.csv").write_text("name\nbob\n")
    result = local("unsubscribes", "import", "list.csv")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: row 1, field heading: has none of")


def test_sync_takes_over_a_workspace(local, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeWorkspace(member("ann"), member("eve")) as workspace:
        assert local("users", "sync", "--workspace", workspace.url).exit_code == 2
        monkeypatch.setenv("MAILER_WORKSPACE_USER_ID", "admin")
        monkeypatch.setenv("MAILER_WORKSPACE_TOKEN", "secret")
        assert local("users", "sync").exit_code == 2
        refused = local("users", "sync", "--workspace", workspace.url.replace("//", "//ann:hunter2@"))
        assert (refused.exit_code, "hunter2" in refused.output) == (2, False)
        first = local("users", "sync", "--workspace", workspace.url)
        assert first.stdout == "users: 1 created, 1 updated, 0 unchanged, 0 deactivated\n"
        monkeypatch.setenv("MAILER_WORKSPACE_URL", workspace.url)
        del workspace.users["eve"]
        second = json.loads(local("users", "sync", "--json").stdout)
        assert second == {
            "created": 0,
            "updated": 0,
            "unchanged": 1,
            "deactivated": 1,
            "malformed": 0,
            "problems": [],
            "erased": 0,
            "endedTokens": 0,
            "pausedCampaigns": [],
            "ongoingCampaigns": [],
            "waitingCampaigns": [],
        }
        monkeypatch.setenv("MAILER_WORKSPACE_TOKEN", "wrong")
        refused = local("users", "sync")
        assert refused.exit_code == 1
        assert refused.stderr.splitlines()[-1] == f"Error: {workspace.url} refused users.list with 401"


def test_status_of_the_sync_is_shown_whoever_ran_it(local, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeWorkspace(member("ann"), member("eve")) as workspace:
        for name, value in {"URL": workspace.url, "USER_ID": "admin", "TOKEN": "secret"}.items():
            monkeypatch.setenv(f"MAILER_WORKSPACE_{name}", value)
        assert local("users", "sync", "--status").stdout == "never run\n"
        assert json.loads(local("users", "sync", "--status", "--json").stdout) is None
        assert workspace.requests == 0
        assert local("users", "sync").exit_code == 0
        shown = local("users", "sync", "--status")
        assert shown.exit_code == 0
        running, done, users, due = shown.stdout.splitlines()
        assert (running, users) == ("running since: -", "users: 1 created, 1 updated, 0 unchanged, 0 deactivated")
        assert (done[:8], done[-1], due) == ("done: 20", "Z", "next: -")


def test_status_of_a_failed_sync_says_why(local, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeWorkspace(member("ann")) as workspace:
        for name, value in {"URL": workspace.url, "USER_ID": "admin", "TOKEN": "wrong"}.items():
            monkeypatch.setenv(f"MAILER_WORKSPACE_{name}", value)
        monkeypatch.setenv("MAILER_SYNC_EVERY", "15m")
        for _ in range(2):
            assert local("users", "sync").exit_code == 1
        shown = local("users", "sync", "--status")
        assert (shown.exit_code, shown.stderr) == (1, "Error: the last sync failed\n")
        fields = dict(line.split(": ", 1) for line in shown.stdout.splitlines())
        assert fields["failed"].endswith("Z, 2 in a row")
        assert fields["error"] == f"{workspace.url} refused users.list with 401"
        assert fields["next"] > fields["failed"]
        record = json.loads(local("users", "sync", "--status", "--json").stdout)
        assert (record["failures"], record["error"], record["doneAt"]) == (2, fields["error"], None)


def test_import_says_who_cannot_be_written_to_and_what_was_assumed(local) -> None:
    Path("list.csv").write_bytes("Name;E-Mail\nZoë;ann@example.org\nBob;bob@example.org\n".encode("cp1252"))
    result = local("users", "import", "list.csv")
    assert result.stdout == "2 users: 0 created, 2 updated, 0 unchanged\n"
    notes = [line for line in result.stderr.splitlines() if line.startswith("note: ")]
    assert [note.partition(":")[2].split()[0] for note in notes] == ["line", "cells", "no"]
    Path("more.csv").write_text("_id,email\ncid,\ndan,nowhere\n")
    assert local("users", "import", "more.csv").stdout.splitlines()[1] == (
        "2 of them without an address that can be written to; --list-problems shows which"
    )
    listed = local("users", "import", "more.csv", "--list-problems").stdout.splitlines()
    assert [line.split() for line in listed[2:]] == [
        ["_id", "field", "reason"],
        ["cid", "emails", "has", "no", "address"],
        ["dan", "emails.0.address", "is", "no", "valid", "address"],
    ]
    shown = json.loads(local("users", "import", "more.csv", "--list-problems", "--json").stdout)
    assert (shown["unreachable"], shown["notes"], shown["problems"][0]["_id"]) == (2, [], "cid")
    assert "problems" not in json.loads(local("users", "import", "more.csv", "--json").stdout)


def test_import_options_say_what_becomes_of_the_rest(local) -> None:
    Path("full.csv").write_text("_id,language,email\nann,en,ann@example.org\n")
    local("users", "import", "full.csv")
    Path("empty.csv").write_text("_id,language,Phone\nann,,5\n")
    assert local("users", "import", "empty.csv").stderr.endswith(
        "row 1, field Phone: is no column of users; " + KNOWN + "\n"
    )
    local("users", "import", "empty.csv", "--ignore-unknown")
    assert json.loads(local("users", "show", "ann", "--json").stdout)["language"] == "en"
    local("users", "import", "empty.csv", "--ignore-unknown", "--empty-clears")
    assert "language" not in json.loads(local("users", "show", "ann", "--json").stdout)
    local("users", "import", "empty.csv", "--ignore-unknown", "--replace")
    assert json.loads(local("users", "show", "ann", "--json").stdout) == {"_id": "ann", "active": True}
    assert local("users", "import", "empty.csv", "--replace", "--empty-clears").exit_code == 2
    Path("polish.csv").write_bytes("_id,name\nann,Łucja\n".encode("cp1250"))
    local("users", "import", "polish.csv", "--encoding", "cp1250")
    assert json.loads(local("users", "show", "ann", "--json").stdout)["name"] == "Łucja"


def test_user_is_shown_by_username(local) -> None:
    Path("more.csv").write_text("_id,username\ndan,danny\n")
    local("users", "import", "more.csv")
    assert json.loads(local("users", "show", "danny", "--json").stdout)["_id"] == "dan"
    unknown = local("users", "show", "nobody")
    assert (unknown.exit_code, unknown.stderr) == (1, "Error: there is no user with the id or the username nobody\n")


def test_empty_directory_is_said_to_be_empty(local, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MAILER_DATABASE_URL", f"sqlite:///{tmp_path}/empty.db")
    assert "empty" in local("users", "list").stderr


def test_sync_names_malformed_users(local, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeWorkspace(member("ann"), member("eve", roles="admin")) as workspace:
        for name, value in {"URL": workspace.url, "USER_ID": "admin", "TOKEN": "secret"}.items():
            monkeypatch.setenv(f"MAILER_WORKSPACE_{name}", value)
        expected = [
            "users: 1 created, 1 updated, 0 unchanged, 0 deactivated, 1 malformed",
            "malformed: eve, field roles: must be a list",
        ]
        assert local("users", "sync").stdout.splitlines() == expected
        shown = local("users", "sync", "--status").stdout.splitlines()
        assert (shown[2], shown[-1]) == tuple(expected)
