"""The logs of a real gunicorn in both formats: every line, whoever wrote it, and nothing that must not be there."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from mailer.directory.imports import upsert_documents
from mailer.messages.links import Links
from tests.databases import migrated_sqlite
from tests.service import BIN, ROOT, Service

pytestmark = pytest.mark.slow

LINE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z (DEBUG|INFO|WARNING|ERROR|CRITICAL) [\w.]+: .* worker=\S+")
Done = tuple[Service, str, dict[str, Any]]


def until(found: Callable[[], Any], seconds: float = 20) -> Any:
    ends = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < ends
        time.sleep(0.05)
    return value


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A service that logged as JSON."""
    return all_that_can_be_logged(tmp_path_factory.mktemp("json"), "json")


@pytest.fixture(scope="module")
def done_for_people(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A service that logged for people."""
    return all_that_can_be_logged(tmp_path_factory.mktemp("console"), "console")


def all_that_can_be_logged(folder: Path, form: str) -> Done:
    """Run a service through requests good and bad, a campaign, defects, and to its end."""
    url = migrated_sqlite(folder / "mailer.db")  # PostgreSQL takes none of the defects below
    service = Service(folder, database_url=url, transport="smtp://127.0.0.1:1", log_format=form, rate_limit="")
    people = [{"_id": f"u{n}", "emails": [{"address": f"secret{n}@example.org"}]} for n in range(3)]
    upsert_documents(service.db, enumerate(people))
    with service:
        headers = service.headers("u0")
        token = Links(["k" * 40], service.url).link("u1").rpartition("/")[2]
        sane = {**headers, "X-Request-Id": "my-own-1"}
        known = {"token": headers["X-Auth-Token"], "link": token, "answers": {}}
        campaign = service.post(sane).headers["Location"].rpartition("/")[2]
        for name, path, given in (
            ("list", "/api/v1/mailer/campaigns?count=5&offset=0", sane),
            ("one", f"/api/v1/mailer/campaigns/{campaign}", {**headers, "X-Request-Id": headers["X-Auth-Token"]}),
            ("link", f"/mailer/unsubscribe/{token}", {}),
            ("lost link", f"/elsewhere/mailer/unsubscribe/{token}", {}),
            ("address", "/no/secret1@example.org?to=secret1@example.org", {}),
            ("encoded", "/no/secret1%2540example.org", {}),
            ("wrong", "/api/v1/mailer/campaigns", {"X-User-Id": "u0", "X-Auth-Token": known["token"] + "x"}),
            ("alive", "/healthz", {}),
        ):
            known["answers"][name] = service.get(path, given)
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            connection.sendall(f"GET /{known['token']} secret1@example.org HTTP/7\r\n\r\n".encode())
            connection.recv(1000)
        until(lambda: "transport unavailable" in service.output.read_text())
        with service.db.write() as connection:
            connection.execute(text("UPDATE auth_tokens SET permissions = 'secret1@example.org'"))
        known["answers"]["defect"] = service.get("/api/v1/mailer/campaigns", headers)
        with service.db.write() as connection:
            connection.execute(
                text("UPDATE campaigns SET state = 'accepted', query = 'secret1@example.org', due_at = 0")
            )
        until(lambda: "cannot be planned" in service.output.read_text())
        known["campaign"] = campaign
        assert service.stop() == 0
    return service, form, known


def lines(done: Done) -> list[dict[str, Any]]:
    """The lines of the JSON form."""
    service = done[0]
    return [json.loads(line) for line in service.output.read_text().splitlines()]


@pytest.mark.parametrize("form", ["done", "done_for_people"])
def test_nothing_is_there_that_must_not_be(request: pytest.FixtureRequest, form: str) -> None:
    service, _, known = request.getfixturevalue(form)
    said = service.output.read_text()
    assert said
    for secret in (known["token"], known["link"], "secret1", "k" * 40):
        assert secret not in said


def test_every_line_is_json_with_what_each_has(done: Done) -> None:
    assert all({"timestamp", "level", "logger", "event", "worker"} <= set(line) for line in lines(done))


def test_every_line_for_people_has_the_form(done_for_people: Done) -> None:
    said = [line for line in done_for_people[0].output.read_text().splitlines() if line[:2] == "20"]
    assert [line for line in said if not LINE.fullmatch(line)] == []
    assert {re.split(r"[ :]+", line.partition("Z ")[2])[1] for line in said} >= {"gunicorn.error", "gunicorn.access"}


def test_gunicorn_writes_as_the_service_does(done: Done) -> None:
    said = [line["event"] for line in lines(done) if line["logger"] == "gunicorn.error"]
    assert [event for event in said if event.startswith("Listening at")]
    assert [event for event in said if event.startswith("Booting worker")]
    assert [event for event in said if event.startswith("Invalid request")]


def test_access_lines_name_the_route_and_the_id_of_the_answer(done: Done) -> None:
    found = [line for line in lines(done) if line["logger"] == "gunicorn.access"]
    answers = done[2]["answers"]
    by_id = {line["request"]: line for line in found}
    assert not [line for line in found if line["route"] == "/healthz"]
    assert by_id[answers["link"].headers["X-Request-Id"]]["route"] == "/mailer/unsubscribe/<token>"
    one = by_id[answers["one"].headers["X-Request-Id"]]
    assert (one["campaign"], one["caller"], one["status"]) == (done[2]["campaign"], "u0", 200)
    lost = by_id[answers["lost link"].headers["X-Request-Id"]]
    assert (lost["route"], lost["status"]) == ("/elsewhere/mailer/unsubscribe/<token>", 404)
    wrong = by_id[answers["wrong"].headers["X-Request-Id"]]
    assert (wrong["status"], "caller" in wrong) == (401, False)
    own = [line for line in found if line["request"] == "my-own-1"]
    assert [(line["method"], line.get("parameters")) for line in own] == [("POST", None), ("GET", "count,offset")]


def test_answers_have_the_id(done: Done) -> None:
    answers = done[2]["answers"]
    assert answers["list"].headers["X-Request-Id"] == "my-own-1"
    assert answers["one"].headers["X-Request-Id"] != done[2]["token"]
    assert all(
        re.fullmatch(r"[0-9a-f]{16}", answers[name].headers["X-Request-Id"]) for name in ("one", "link", "wrong")
    )


def test_lines_of_a_delivery_name_campaign_batch_and_worker(done: Done) -> None:
    (line,) = [line for line in lines(done) if line["event"].startswith("transport unavailable")][:1]
    assert (line["campaign"], line["batch"]) == (done[2]["campaign"], 0)
    assert re.fullmatch(r"[^:]+:\d+:delivery-0", line["worker"])


def test_defect_of_a_view_is_a_traceback_in_one_field_under_the_id_of_the_request(done: Done) -> None:
    answer = done[2]["answers"]["defect"]
    assert answer.status_code == 500
    (line,) = [line for line in lines(done) if line["logger"] == "app" and "exception" in line]
    assert line["exception"].startswith("Traceback (most recent call last):")
    assert line["request"] == answer.headers["X-Request-Id"]


def test_defect_of_a_campaign_is_a_traceback_in_one_field(done: Done) -> None:
    (line,) = [line for line in lines(done) if line["logger"] == "mailer.campaigns.planning" and "exception" in line]
    assert line["campaign"] == done[2]["campaign"]
    assert "JSONDecodeError" in line["event"]


def test_debug_tells_no_path_as_it_came(tmp_path: Path) -> None:
    """The access log names the route; gunicorn's own line at this level would have the path beside it."""
    url = migrated_sqlite(tmp_path / "mailer.db")
    with Service(tmp_path, database_url=url, transport="memory:", log_format="json", log_level="debug") as service:
        upsert_documents(service.db, [(1, {"_id": "u0", "emails": [{"address": "u0@example.org"}]})])
        headers = service.headers("u0", "manage-users")
        service.get("/api/v1/mailer/users/a-person-s-id", headers)
        service.get("/mailer%2Funsubscribe%2Fa-person-s-id", headers)
        said = until(lambda: service.output.read_text().count('"gunicorn.access"') > 2 and service.output.read_text())
    assert "a-person-s-id" not in said


REFUSALS = {  # what is wrong, the exit code, and the first words of the line
    "a transport": ({"transport": "pigeon:"}, 2, "MAILER_TRANSPORT"),
    "a setting": ({"workers": "many"}, 2, "MAILER_WORKERS"),
    "a database": ({"database_url": "postgresql://root@127.0.0.1:1/x"}, 1, "database: "),
}


@pytest.mark.parametrize("program", ["gunicorn", "mailer worker", "mailer serve"])
@pytest.mark.parametrize(("wrong", "code", "words"), REFUSALS.values(), ids=list(REFUSALS))
def test_refusal_to_start_is_json_too(
    tmp_path: Path, program: str, wrong: dict[str, str], code: int, words: str
) -> None:
    environment = {"PATH": os.environ["PATH"], "MAILER_LOG_FORMAT": "json", "MAILER_LOG_LEVEL": "error"}
    environment |= {"MAILER_SECRET_KEY": "k" * 40, "MAILER_DATABASE_URL": f"sqlite:///{tmp_path}/mailer.db"}
    environment |= {f"MAILER_{name.upper()}": value for name, value in wrong.items()}
    more = {"gunicorn": ["-b", "127.0.0.1:0", "wsgi:app"], "mailer serve": ["--bind", "127.0.0.1:0"]}
    first, *rest = program.split()
    command = [BIN / first, *rest, *more.get(program, [])]
    refused = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert refused.returncode == code
    assert refused.stdout == ""
    (line,) = [json.loads(line) for line in refused.stderr.splitlines()]
    assert line["level"] == "critical"
    assert line["event"].startswith(words)
