"""Suppressed addresses over a real gunicorn: how they come about, and how a person sees and lifts them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner, Result
from sqlalchemy import delete, insert, update

from mailer.cli import main
from mailer.cli.root import system_user
from mailer.storage.database import Database
from mailer.storage.models import RefusedAddress, User
from mailer.suppression.blocked_addresses import block
from mailer.suppression.list_files import ListedAddress
from tests.conftest import user_row
from tests.harness import MINUTE, Harness
from tests.recording_smtp import Fault, recording_smtp
from tests.service import Service

pytestmark = pytest.mark.slow

PATH = "/api/v1/mailer/suppressed-addresses"
WHEN = 1_420_070_400_000
REPLY = "550 5.1.1 =no such user"
NEVER = {"bouncedAt": None, "complainedAt": None}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, module_database_url: str) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("suppressed")
    refusing = Fault("RCPT", REPLY, recipient="user00003@example.com")
    with recording_smtp(folder, refusing) as server:
        made = Service(folder, database_url=module_database_url, transport=server.url, rate_limit="", suppress_after=2)
        with made.db.write() as connection:
            connection.execute(insert(User), [user_row(n) for n in range(4)])
        with made:
            yield made


@pytest.fixture
def service(running: Service) -> Service:
    """user00001 and user00002 are suppressed, user00000 has been refused once."""
    rows = [
        {"address": f"user0000{n}@example.com", "campaigns": n + 1, "campaign_ids": "c", "reply": REPLY}
        | {"refused_at": WHEN, "suppressed_at": WHEN if n else None, "rule": "5.1.1"}
        for n in range(3)
    ]
    with running.db.write() as connection:
        connection.execute(delete(RefusedAddress))
        connection.execute(insert(RefusedAddress), rows)
    return running


@pytest.fixture
def headers(service: Service) -> dict[str, str]:
    return service.headers("user00000", "manage-users", "send-mail")


def lift(service: Service, headers: dict[str, str], body: object) -> requests.Response:
    return requests.post(f"{service.url}{PATH}:lift", json=body, headers=headers, timeout=30)


def shown(number: int) -> dict[str, Any]:
    address = f"user0000{number}@example.com"
    facts = {"suppressedAt": "2015-01-01T00:00:00.000Z", "campaigns": number + 1, "rule": "5.1.1", "reply": REPLY}
    return {"address": address, **facts, "blockedBy": None, "reason": None, "users": 1, **NEVER}


def test_listing_says_why_and_goes_on_where_it_ended(service: Service, headers: dict[str, str]) -> None:
    first = service.get(f"{PATH}?count=1", headers).json()
    assert first == {"success": True, "addresses": [shown(1)], "count": 1, "next": "user00001@example.com"}
    last = service.get(f"{PATH}?after=user00001@example.com", headers).json()
    assert (last["addresses"], last["next"]) == ([shown(2)], None)


def test_export_is_a_table_and_a_list_to_unsubscribe_by(service: Service, headers: dict[str, str]) -> None:
    exported = service.get(f"{PATH}/export", headers)
    assert exported.headers["Content-Disposition"] == 'attachment; filename="suppressed-addresses.csv"'
    rows = list(csv.DictReader(io.StringIO(exported.text)))
    assert rows == [{name: "" if value is None else str(value) for name, value in shown(n).items()} for n in (1, 2)]
    lines = service.get(f"{PATH}/export?format=ndjson", headers).text.splitlines()
    assert [json.loads(line) for line in lines] == [shown(1), shown(2)]


def test_address_is_lifted_whatever_its_case(service: Service, headers: dict[str, str]) -> None:
    given = ["USER00001@Example.COM", "user00000@example.com", "nobody@example.com"]
    assert lift(service, headers, {"addresses": given}).json() == {"success": True, "lifted": 1, "unmatched": 2}
    listed = service.get(PATH, headers).json()["addresses"]
    assert listed == [shown(2)]


@pytest.mark.parametrize("body", [{}, {"addresses": []}, {"addresses": ["nonsense"]}, {"addresses": "a@b.c"}, []])
def test_what_names_no_address_is_refused(service: Service, headers: dict[str, str], body: object) -> None:
    answer = lift(service, headers, body)
    assert (answer.status_code, answer.json()["errorType"]) == (400, "invalid-params")
    assert service.get(PATH, headers).json()["count"] == 2


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("GET", "/export"), ("POST", ":lift"), ("POST", ":block"), ("POST", ":import")]
)
def test_only_who_manages_users_gets_in(service: Service, method: str, path: str) -> None:
    for headers, status in (({}, 401), (service.headers("user00000", "send-mail"), 403)):
        answer = requests.request(method, f"{service.url}{PATH}{path}", json={}, headers=headers, timeout=30)
        assert answer.status_code == status


def test_refused_address_is_suppressed_and_lifted_by_a_person(service: Service, headers: dict[str, str]) -> None:
    lift(service, headers, {"addresses": ["user00001@example.com", "user00002@example.com"]})
    for planned in (4, 4, 3):
        audience = requests.post(f"{service.url}/api/v1/mailer/audience", json={}, headers=headers, timeout=30).json()
        assert (audience["count"], audience["suppressed"]) == (planned, 4 - planned)
        campaign = service.finish(headers, service.post(headers))
        assert (campaign["planned"], campaign["failed"]) == (planned, int(planned == 4))
    (one,) = service.get(PATH, headers).json()["addresses"]
    assert (one["address"], one["campaigns"], one["rule"]) == ("user00003@example.com", 2, "5.1.1")
    assert one["reply"] == REPLY
    lift(service, headers, {"addresses": ["user00003@example.com"]})
    assert service.finish(headers, service.post(headers))["failed"] == 1


@pytest.fixture
def run(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name, value in {"DATABASE_URL": service.database_url, "SECRET_KEY": "k" * 40}.items():
        monkeypatch.setenv(f"MAILER_{name}", value)

    def run(*arguments: str, given: str | None = None) -> Result:
        return CliRunner().invoke(main, arguments, input=given)

    return run


def test_command_lists_and_exports(run) -> None:
    heading, *rows = run("suppressed", "list").stdout.splitlines()
    assert heading.split() == ["address", "suppressed", "campaigns", "users", "rule", "why"]
    assert rows[0].split(None, 5) == ["user00001@example.com", "2015-01-01T00:00:00Z", "2", "1", "5.1.1", REPLY]
    assert len(run("suppressed", "list", "--limit", "1").stdout.splitlines()) == 2
    lines = run("suppressed", "export", "--format", "ndjson").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [shown(1), shown(2)]


def test_command_lifts_and_tells_what_was_not_suppressed(run) -> None:
    result = run("suppressed", "lift", "User00001@example.com", "nobody@example.com")
    assert (result.exit_code, result.stdout) == (1, "lifted: 1\n")
    assert result.stderr == "Error: not suppressed: 1 of the addresses\n"
    assert run("suppressed", "lift", "user00002@example.com").exit_code == 0
    assert run("suppressed", "lift", "nonsense").exit_code == 2
    heading = "address,suppressedAt,campaigns,rule,reply,blockedBy,reason,users,bouncedAt,complainedAt\n"
    assert run("suppressed", "export").stdout == heading


ODD = [
    "o'neil@example.com",
    "'+a@example.com",
    "+a@example.com",
    "=a@example.com",
    "'a@example.com",
    "-a+b=c@example.com",
]


@pytest.mark.parametrize("raw", [[], ["--raw"]], ids=["for spreadsheets", "raw"])
@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_pipeline_from_export_to_lift_takes_every_address(service: Service, run, raw: list[str], form: str) -> None:
    """Each of the odd ones is another one's with a mark before it, so they are exported and lifted one by one."""
    for address in ODD:
        with service.db.write() as connection:
            connection.execute(delete(RefusedAddress))
            row = {"address": address, "campaigns": 3, "campaign_ids": "c", "reply": REPLY}
            connection.execute(insert(RefusedAddress), [{**row, "refused_at": WHEN, "suppressed_at": WHEN}])
        exported = run("suppressed", "export", "--format", form, *raw).stdout
        assert address in exported
        lines = exported.splitlines()
        cut = "\n".join(line.partition(",")[0] for line in lines if "5.1.1" in line) if form == "csv" else exported
        lifted = run("suppressed", "lift", "--file", "-", given=cut)
        assert (lifted.exit_code, lifted.stdout) == (0, "lifted: 1\n"), (address, cut)


def test_address_is_blocked_with_a_reason_and_lifted(service: Service, headers: dict[str, str], run) -> None:
    blocked = run("suppressed", "block", "User00003@Example.com", "user00001@example.com", "--reason", "asked by phone")
    assert (blocked.exit_code, blocked.stdout) == (0, "blocked: 2, already: 0\n")
    rows = {line.split()[0]: line.split(None, 4)[4] for line in run("suppressed", "list").stdout.splitlines()[1:]}
    who = system_user()
    assert " ".join(rows["user00003@example.com"].split()) == f"blocked by {who} asked by phone"
    both = f"blocked by {who}, 5.1.1 asked by phone; {REPLY}"
    assert " ".join(rows["user00001@example.com"].split()) == both
    assert f"blocked by: {who}" in run("users", "show", "user00003").stdout
    assert "refused in campaigns" not in run("users", "show", "user00003").stdout
    audience = requests.post(f"{service.url}/api/v1/mailer/audience", json={}, headers=headers, timeout=30).json()
    assert (audience["count"], audience["suppressed"]) == (1, 3)
    again = run("suppressed", "block", "user00003@example.com", "--reason", "again")
    assert again.stdout == "blocked: 0, already: 1\n"
    assert run("suppressed", "lift", "user00001@example.com", "user00003@example.com").stdout == "lifted: 2\n"
    assert len(run("suppressed", "list").stdout.splitlines()) == 2


def test_addresses_are_blocked_over_http_and_by_a_list(service: Service, headers: dict[str, str], run) -> None:
    body = {"addresses": ["user00000@example.com"], "reason": "a trap"}
    answer = requests.post(f"{service.url}{PATH}:block", json=body, headers=headers, timeout=30)
    assert answer.json() == {"success": True, "blocked": 1, "already": 0, "erased": 0, "notes": []}
    listed = b"sep=;\nE-Mail;reason\nuser00000@example.com;\nuser00003@example.com;competitor\n"
    url = f"{service.url}{PATH}:import?reason=on+the+list"
    answer = requests.post(url, data=listed, headers={**headers, "Content-Type": "text/csv"}, timeout=30)
    assert (answer.json()["blocked"], answer.json()["already"]) == (1, 1)
    shown = service.get(PATH, headers).json()["addresses"]
    found = {one["address"]: (one["reason"], one["blockedBy"]) for one in shown}
    assert found["user00000@example.com"] == ("on the list", "user00000")
    assert found["user00003@example.com"] == ("competitor", "user00000")
    assert run("suppressed", "block", "--file", "-", "--reason", "x", given="new@example.com\n").exit_code == 0
    bad = run("suppressed", "block", "--file", "-", "--reason", "x", given="other@example.com\nnonsense\n")
    assert (bad.exit_code, "row 2, field address" in bad.stderr) == (1, True)
    assert "other@example.com" not in run("suppressed", "export").stdout


BAD_BLOCKS = [{"addresses": ["a@b.example"]}, {"addresses": ["a@b.example"], "reason": " "}, {"reason": "x"}]


@pytest.mark.parametrize("body", BAD_BLOCKS, ids=repr)
def test_block_without_an_address_or_a_reason_is_refused(service: Service, headers: dict[str, str], body: Any) -> None:
    answer = requests.post(f"{service.url}{PATH}:block", json=body, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["errorType"]) == (400, "invalid-params")
    assert service.get(PATH, headers).json()["count"] == 2


def test_wrong_addresses_are_named_by_their_places(service: Service, headers: dict[str, str]) -> None:
    body = {"addresses": ["a@b.example", "nonsense", "c@d.example", "worse"], "reason": "x"}
    answer = requests.post(f"{service.url}{PATH}:block", json=body, headers=headers, timeout=30).json()
    assert sorted(answer["details"]["fields"]) == ["addresses.1", "addresses.3"]
    assert "{" not in answer["error"]


@pytest.mark.parametrize(
    "arguments", [("block", "--reason", "x"), ("block", "a@b.example", "--reason", " "), ("lift",)]
)
def test_command_without_an_address_or_a_reason_is_misuse(run, arguments: tuple[str, ...]) -> None:
    assert run("suppressed", *arguments).exit_code == 2


def test_blocking_and_lifting_touch_no_wish(service: Service, run) -> None:
    with service.db.write() as connection:
        connection.execute(update(User).where(User.id == "user00002").values(unsubscribed_at=WHEN))
    run("suppressed", "block", "user00002@example.com", "--reason", "x")
    run("suppressed", "lift", "user00002@example.com")
    assert "state: unsubscribed" in run("users", "show", "user00002").stdout
    assert run("unsubscribes", "remove", "user00002").exit_code == 0


def test_whoever_is_blocked_while_a_campaign_runs_is_skipped_with_the_reason(db: Database, add_users: Any) -> None:
    add_users(db, 3)
    harness = Harness(db)
    harness.accept()
    harness.plan()
    block(db, [ListedAddress("user00001@example.com")], by="boss", reason="asked by phone")
    harness.run()
    assert harness.counts() == {"sent": 2, "skipped": 1}
    reply = "The address is suppressed: blocked by an operator (asked by phone)."
    assert harness.delivery("user00001").reply == reply
    harness.now += MINUTE
    harness.accept()
    harness.run()
    assert harness.counts() == {"sent": 2}


def test_command_shows_it_with_the_user(run) -> None:
    lines = run("users", "show", "user00001").stdout.splitlines()
    assert "state: suppressed" in lines
    assert "suppressed: 2015-01-01T00:00:00Z" in lines
    assert "refused in campaigns: 2" in lines
    assert f"last refusal: {REPLY}" in lines
    assert "state: subscribed" in run("users", "show", "user00000").stdout
    assert "refused in campaigns: 1" in run("users", "show", "user00000").stdout
    assert "refused" not in run("users", "show", "user00003").stdout
    states = [line.split()[-1] for line in run("users", "list").stdout.splitlines()[1:]]
    assert states == ["subscribed", "suppressed", "suppressed", "subscribed"]
