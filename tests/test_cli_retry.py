"""`mailer send --retry-for`: a POST that meets trouble ends as one campaign, or says how it ended."""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any, ClassVar

import pytest
import requests

from bench.processes import free_port
from tests.doc_pages import ROOT, blocks
from tests.service import BIN, Service
from tests.test_cli_send import Shell, serve

pytestmark = pytest.mark.slow

POST = "/api/v1/mailer"
KEY = re.compile(r"^Idempotency-Key: (\S+)$", re.MULTILINE)


class Front(http.server.BaseHTTPRequestHandler):
    """Stands before the service, as a proxy does. Each POST of a campaign meets the next of `moods`, then none."""

    target = ""
    moods: ClassVar[list[str]] = []
    keys: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self._pass_on()

    def do_POST(self) -> None:
        if self.path != POST:
            self._pass_on()
            return
        self.keys.append(self.headers.get("Idempotency-Key"))
        mood = self.moods.pop(0) if self.moods else "well"
        getattr(self, f"_{mood}")()

    def _well(self) -> None:
        self._pass_on()

    def _lost(self) -> None:
        """The service accepts, and its answer never comes."""
        self._ask()
        self.close_connection = True

    def _gateway(self) -> None:
        self._body()
        self._answer(502, b"<h1>Bad gateway</h1>", {})

    def _busy(self) -> None:
        self._body()
        self._answer(429, _error("Too many."), {"Retry-After": "1"})

    def _patience(self) -> None:
        self._body()
        self._answer(503, _error("Later."), {"Retry-After": formatdate(time.time() + 2, usegmt=True)})

    def _hours(self) -> None:
        self._body()
        self._answer(503, _error("Later."), {"Retry-After": "7200"})

    def _refused(self) -> None:
        self._body()
        self._answer(403, _error("Not you."), {})

    def _foreign(self) -> None:
        self._body()
        self._answer(200, b'{"success": false}', {})

    def _nowhere(self) -> None:
        self._body()
        self._answer(200, b'{"success": true}', {})

    def _silent(self) -> None:
        self._body()
        time.sleep(3)
        self.close_connection = True

    def _pass_on(self) -> None:
        answer = self._ask()
        kept = ("Location", "Idempotent-Replayed", "Content-Type")
        self._answer(answer.status_code, answer.content, {k: answer.headers[k] for k in kept if k in answer.headers})

    def _ask(self) -> requests.Response:
        headers = {name: text for name, text in self.headers.items() if name not in ("Host", "Content-Length")}
        return requests.request(self.command, self.target + self.path, data=self._body(), headers=headers, timeout=30)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, text in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def _error(text: str) -> bytes:
    return json.dumps({"success": False, "error": text}).encode()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serve(tmp_path_factory.mktemp("retry"), "memory:") as service:
        yield service


@pytest.fixture
def front(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """A shell whose service stands behind `Front`."""
    monkeypatch.setattr(Front, "target", service.url)
    monkeypatch.setattr(Front, "keys", [])
    shell = Shell(tmp_path, service)
    shell.letter("Hi [name], [unsubscribe]", subject=f"For {tmp_path.name}")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Front) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        shell.environment["MAILER_SITE_URL"] = f"http://127.0.0.1:{server.server_port}"
        yield shell
        server.shutdown()


def accepted(shell: Shell, tmp_path: Path) -> int:
    return sum(one["subject"] == f"For {tmp_path.name}" for one in shell.campaigns())


def meeting(monkeypatch: pytest.MonkeyPatch, *moods: str) -> None:
    monkeypatch.setattr(Front, "moods", list(moods))


@pytest.mark.parametrize(
    "moods", [("lost",), ("gateway", "lost"), ("busy",), ("patience",), ("lost", "busy")], ids="+".join
)
@pytest.mark.ci
def test_whatever_the_tries_meet_there_is_one_campaign(
    front: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moods: tuple[str, ...]
) -> None:
    meeting(monkeypatch, *moods)
    sent = front.send("--everybody", "--retry-for", "1m", "--watch")

    assert sent.returncode == 0, sent.stderr
    assert accepted(front, tmp_path) == 1
    found = KEY.search(sent.stderr)
    assert found
    assert sent.stderr.index("Idempotency-Key: ") == 0  # before anything can go wrong
    assert {found[1]} == set(Front.keys)
    assert len(Front.keys) == len(moods) + 1
    assert ("It is the campaign that was accepted before" in sent.stderr) is ("lost" in moods)


def test_service_that_asks_for_more_patience_than_there_is_ends_it_at_once(
    front: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting(monkeypatch, "hours")
    begun = time.monotonic()
    sent = front.send("--everybody", "--retry-for", "15m")
    assert (sent.returncode, time.monotonic() - begun < 60) == (4, True)
    assert sent.stderr.endswith("Error: refused with 503: Later.; try again in 7200 seconds\n")
    assert (accepted(front, tmp_path), len(Front.keys)) == (0, 1)


def test_lost_answer_is_unknown_and_the_key_ends_it_well(
    front: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting(monkeypatch, "lost")
    lost = front.send("--everybody", "--retry-for", "0s")
    assert lost.returncode == 5
    said = re.search(
        r"it may have been accepted: repeat with --idempotency-key (\S+), or `mailer campaigns", lost.stderr
    )
    assert said
    again = front.send("--everybody", "--idempotency-key", said[1])
    assert again.returncode == 0
    assert accepted(front, tmp_path) == 1


def test_what_was_lost_stays_unknown_though_the_last_try_met_something_else(
    front: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting(monkeypatch, "lost", "refused")
    assert front.send("--everybody", "--retry-for", "1m").returncode == 5
    meeting(monkeypatch, "lost", "hours")
    assert front.send("--everybody", "--retry-for", "1m").returncode == 5


@pytest.mark.parametrize("mood", ["foreign", "nowhere"])
def test_success_that_is_not_the_mailers_leaves_it_unknown(
    front: Shell, monkeypatch: pytest.MonkeyPatch, mood: str
) -> None:
    meeting(monkeypatch, mood)
    sent = front.send("--everybody")
    assert sent.returncode == 5, sent.stderr
    assert "is it the mailer?; it may have been accepted" in sent.stderr
    assert "Traceback" not in sent.stderr


def test_silence_is_not_waited_for_longer_than_there_is_time(front: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    meeting(monkeypatch, *["silent"] * 20)
    sent = front.send("--everybody", "--retry-for", "1s")
    assert sent.returncode == 5, sent.stderr
    assert (len(Front.keys), "no answer from http" in sent.stderr) == (1, True)


def test_refusal_is_not_tried_again(front: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meeting(monkeypatch, "refused")
    sent = front.send("--everybody", "--retry-for", "1m")
    assert (sent.returncode, len(Front.keys), accepted(front, tmp_path)) == (1, 1, 0)


def test_service_that_comes_up_later_is_waited_for(service: Service, tmp_path: Path) -> None:
    port = free_port()
    shell = Shell(tmp_path, service)
    shell.environment["MAILER_SITE_URL"] = f"http://127.0.0.1:{port}"
    servers: list[Any] = []

    def come_up() -> None:
        Front.target, Front.moods = service.url, []
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", port), Front))
        servers[0].serve_forever()

    timer = threading.Timer(8, come_up)  # a busy machine takes some seconds to start the command
    timer.start()
    try:
        sent = shell.send("--everybody", "--retry-for", "1m")
    finally:
        timer.join(0)
        while not servers:
            time.sleep(0.1)
        servers[0].shutdown()
        servers[0].server_close()
    assert sent.returncode == 0, sent.stderr
    assert "trying again in" in sent.stderr


def test_service_that_never_comes_has_accepted_nothing(tmp_path: Path, service: Service) -> None:
    shell = Shell(tmp_path, service)
    shell.environment["MAILER_SITE_URL"] = "http://127.0.0.1:1"
    sent = shell.send("--everybody", "--retry-for", "2s")
    assert sent.returncode == 4
    assert sent.stderr.endswith("Connection refused\n")


@pytest.mark.parametrize("given", ["", "15", "25h", "soon", "-1m", "1d"])
@pytest.mark.ci
def test_time_that_is_none_or_longer_than_a_key_lasts_is_refused(front: Shell, given: str) -> None:
    refused = front.send("--everybody", "--retry-for", given)
    assert refused.returncode == 2
    assert "--retry-for" in refused.stderr
    assert Front.keys == []


def test_recipe_for_cron_sends_once_a_week_though_it_runs_twice(service: Service, tmp_path: Path) -> None:
    shell = Shell(tmp_path, service)
    (tmp_path / "news.html").write_text("Hi [name], [unsubscribe]", "utf-8")
    [recipe] = [block for block in blocks(ROOT / "docs/reference/command-line.md") if block.words == ("sh",)]
    before = len(shell.campaigns())
    environment = {**shell.environment, "PATH": f"{BIN}:{os.environ['PATH']}"}
    for command in (recipe.text, "sh weekly", "sh weekly"):
        subprocess.run(["bash", "-euc", command], cwd=tmp_path, env=environment, check=True, timeout=60)
    assert len(shell.campaigns()) == before + 1
