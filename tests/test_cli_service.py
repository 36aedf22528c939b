"""The commands that run the service or speak with it, over a real gunicorn."""

import http.server
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner, Result

from mailer.cli import main
from mailer.directory.imports import upsert_documents
from tests.service import BIN, PAYLOAD, ROOT, Service

pytestmark = pytest.mark.slow

BODY = PAYLOAD["body"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, module_database_url: str) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("cli")
    service = Service(folder, database_url=module_database_url, transport="memory:", rate_limit="1000/minute")
    people = [{"_id": f"u{n}", "name": f"User {n}", "emails": [{"address": f"u{n}@example.org"}]} for n in range(3)]
    upsert_documents(service.db, enumerate([*people, {"_id": "other"}]))
    with service:
        yield service


@pytest.fixture
def run(service: Service, tmp_path: Path):
    """Run `mailer` with the credentials of a user, over the service."""
    headers = service.headers("u0")
    environment = {
        "MAILER_SITE_URL": service.url,
        "MAILER_USER_ID": headers["X-User-Id"],
        "MAILER_AUTH_TOKEN": headers["X-Auth-Token"],
    }
    (tmp_path / "body.html").write_text(BODY)

    def run(*arguments: str, **changes: str) -> Result:
        return CliRunner(env={**environment, **changes}).invoke(main, arguments)

    return run


def send(run, tmp_path: Path, *more: str, **changes: str) -> Result:
    options = ("--from", "News <news@example.com>", "--subject", "Hi [fname]", "--body-file", f"{tmp_path}/body.html")
    return run("send", *options, "--yes", *more, **changes)


def failed(result: Result, code: int) -> str:
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    return line.removeprefix("Error: ")


def test_watched_campaign_reaches_everyone(run, tmp_path: Path) -> None:
    result = send(run, tmp_path, "--watch", "--json")
    campaign = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (campaign["state"], campaign["planned"], campaign["sent"]) == ("completed", 3, 3)
    assert campaign["dryrun"] is False


def test_export_is_narrowed_to_one_recipient(run, tmp_path: Path) -> None:
    campaign_id = json.loads(send(run, tmp_path, "--watch", "--json").stdout)["_id"]
    for wanted in (("--recipient", "u1"), ("--address", "U1@example.org")):
        heading, row = run("campaigns", "export", campaign_id, *wanted).stdout.splitlines()
        assert heading.split(",")[7:10] == ["messageId", "version", "bouncedAt"]
        assert row.startswith("u1,u1@example.org,sent,")
        assert row.split(",")[7].startswith(f"{campaign_id}.")
        assert row.endswith(",1,,,,,,")
    assert failed(run("campaigns", "export", campaign_id, "--address", "nonsense"), 1).startswith("refused with 400")


def test_query_chooses_who_receives_it(run, tmp_path: Path) -> None:
    result = send(run, tmp_path, "--watch", "--query", '{"_id": {"$in": ["u1", "u2"]}}')
    assert "sent: 2" in result.stdout.splitlines()
    assert "state: completed" in result.stdout.splitlines()


def test_dry_run_is_one_message_to_the_sender(run, tmp_path: Path) -> None:
    campaign = json.loads(send(run, tmp_path, "--dry-run", "--watch", "--json").stdout)
    assert (campaign["dryrun"], campaign["sent"]) == (True, 1)


def test_body_may_come_from_stdin(run, service: Service) -> None:
    options = ("--from", "news@example.com", "--subject", "Hi", "--body-file", "-", "--dry-run", "--json")
    headers = service.headers("u0")
    credentials = ("--url", service.url + "/", "--user-id", "u0", "--token", headers["X-Auth-Token"])
    result = CliRunner().invoke(main, ["send", *options, *credentials], input=BODY)
    assert json.loads(result.stdout)["subject"] == "Hi"


def test_same_idempotency_key_is_one_campaign(run, tmp_path: Path) -> None:
    ids = {json.loads(send(run, tmp_path, "--json", "--idempotency-key", "once").stdout)["_id"] for _ in range(2)}
    assert len(ids) == 1


def test_campaigns_are_listed_newest_first_and_shown(run, tmp_path: Path) -> None:
    first, second = (json.loads(send(run, tmp_path, "--dry-run", "--watch", "--json").stdout) for _ in range(2))
    listed = json.loads(run("campaigns", "list", "--limit", "2", "--json").stdout)
    assert [campaign["_id"] for campaign in listed] == [second["_id"], first["_id"]]
    assert len(run("campaigns", "list", "--limit", "1").stdout.splitlines()) == 2
    assert json.loads(run("campaigns", "show", first["_id"], "--json").stdout) == first
    assert f"_id: {first['_id']}" in run("campaigns", "show", first["_id"]).stdout.splitlines()


def test_campaign_is_shown_with_what_happened_to_it(run, tmp_path: Path) -> None:
    campaign_id = json.loads(send(run, tmp_path, "--dry-run", "--watch", "--json").stdout)["_id"]
    shown = json.loads(run("campaigns", "show", campaign_id, "--events", "--json").stdout)
    assert [one["kind"] for one in shown["events"]] == ["accepted", "planned", "completed"]
    printed = run("campaigns", "show", campaign_id, "--events").stdout
    assert re.search(r"^\S+Z +planned +1 recipient$", printed, re.MULTILINE)


@pytest.mark.parametrize("campaign_id", ["nothing", "../../../healthz"])
def test_unknown_campaign_is_refused(run, campaign_id: str) -> None:
    assert failed(run("campaigns", "show", campaign_id), 1).startswith("refused with 404: ")


def test_refusal_is_told_in_the_words_of_the_service(run, tmp_path: Path) -> None:
    (tmp_path / "body.html").write_text("no link")
    assert failed(send(run, tmp_path), 1).startswith("refused with 400: You must provide the [unsubscribe] link.")


def test_wrong_token_is_refused_and_not_shown(run, tmp_path: Path) -> None:
    result = send(run, tmp_path, MAILER_AUTH_TOKEN="very-wrong")
    assert failed(result, 1) == "refused with 401: You must be logged in to do this."
    assert "very-wrong" not in result.output


def test_token_may_be_in_a_file(run, tmp_path: Path, service: Service) -> None:
    """The variable itself is empty, which counts as absent."""
    file = tmp_path / "token"
    file.write_text(service.headers("u0")["X-Auth-Token"] + "\n")
    listed = {"MAILER_AUTH_TOKEN": "", "MAILER_AUTH_TOKEN_FILE": str(file)}
    assert run("campaigns", "list", **listed).exit_code == 0
    said = failed(run("campaigns", "list", MAILER_AUTH_TOKEN_FILE=str(file)), 2)
    assert said == "MAILER_AUTH_TOKEN_FILE: MAILER_AUTH_TOKEN is set too; keep one of them"
    said = failed(run("campaigns", "list", **{**listed, "MAILER_AUTH_TOKEN_FILE": f"{tmp_path}/hunter2"}), 2)
    assert said == "MAILER_AUTH_TOKEN_FILE: there is no such file"


def test_service_that_is_not_there_is_one_line(run, tmp_path: Path) -> None:
    assert failed(send(run, tmp_path, MAILER_SITE_URL="http://127.0.0.1:1"), 4).startswith("no answer from http://127.")


@pytest.mark.parametrize(
    ("name", "value"),
    [("MAILER_SITE_URL", "ftp://x"), ("MAILER_AUTH_TOKEN", "a\nb"), ("MAILER_USER_ID", "ü"), ("MAILER_AUTH_TOKEN", "")],
)
def test_unusable_credentials_are_a_usage_error(run, tmp_path: Path, name: str, value: str) -> None:
    failed(send(run, tmp_path, **{name: value}), 2)


@pytest.mark.parametrize(("encoding", "guess"), [("cp1252", "Windows-1252"), ("utf-16", "UTF-16")])
def test_body_that_is_not_utf8_is_named_for_what_it_is(run, tmp_path: Path, encoding: str, guess: str) -> None:
    (tmp_path / "body.html").write_bytes("Zoë [unsubscribe]".encode(encoding))
    said = failed(send(run, tmp_path), 1)
    assert said.startswith(f"--body-file: not UTF-8 but, it seems, {guess}")


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """Answers everything with a redirect to /stolen, and notes what it was asked."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(302)
        self.send_header("Location", "/stolen")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_redirect_does_not_carry_the_token_on(run) -> None:
    Elsewhere.asked = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        result = run("campaigns", "list", MAILER_SITE_URL=f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert "answered 302 without JSON" in failed(result, 1)
    assert [path.partition("?")[0] for path in Elsewhere.asked] == ["/api/v1/mailer/campaigns"]


def test_serve_runs_gunicorn_and_ends_with_it(tmp_path: Path) -> None:
    service = Service(tmp_path, transport="memory:")
    command = [BIN / "mailer", "serve", "--bind", f"127.0.0.1:{service.port}", "--workers", "1"]
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(command, cwd=tmp_path, env=service.environment, stdout=out, stderr=out)
    try:
        for _ in range(200):
            try:
                answer = requests.get(f"{service.url}/healthz", timeout=5)
                break
            except requests.ConnectionError:
                time.sleep(0.05)
        else:
            pytest.fail((tmp_path / "out").read_text())
        assert answer.ok
    finally:
        process.terminate()
        assert process.wait(timeout=40) == 0
        service.close()


@pytest.mark.parametrize(("name", "value"), [("WORKERS", "many"), ("TRANSPORT", "pigeon:")])
def test_serve_with_a_wrong_setting_starts_nothing(tmp_path: Path, name: str, value: str) -> None:
    environment = {**os.environ, f"MAILER_{name}": value}
    command = [BIN / "mailer", "serve"]
    done = subprocess.run(
        command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert re.fullmatch(rf"(Error|mailer): MAILER_{name}: .*", done.stderr.splitlines()[-1])


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_worker_delivers_without_the_web_and_ends_in_peace(tmp_path: Path, signum: signal.Signals) -> None:
    outbox = tmp_path / "outbox"
    outbox.mkdir(mode=0o700)
    service = Service(tmp_path, transport=f"file:{outbox}")
    upsert_documents(service.db, [(1, {"_id": "ada", "emails": [{"address": "ada@example.org"}]})])
    from mailer.campaigns.accept import accept
    from mailer.campaigns.draft import Draft

    accept(service.db, "ada", Draft("", "news@example.com", "Hi", BODY, {}, False), None)
    worker = subprocess.Popen([BIN / "mailer", "worker"], cwd=ROOT, env=service.environment, stderr=subprocess.PIPE)
    try:
        for _ in range(400):
            if list(outbox.rglob("*.eml")):
                break
            time.sleep(0.05)
        worker.send_signal(signum)
        assert worker.wait(timeout=40) == 0
        assert len(list(outbox.rglob("*.eml"))) == 1
    finally:
        worker.kill()
        worker.communicate()
        service.close()
