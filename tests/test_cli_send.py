"""`mailer send` as people and scripts use it: the question, the notes, the bar, Ctrl-C. Over a real gunicorn."""

from __future__ import annotations

import http.server
import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailer.cli.watch import counts_shown, why_it_stands_still
from mailer.directory.imports import upsert_documents
from tests.service import BIN, PAYLOAD, Service
from tests.terminal import CTRL_C, Terminal

pytestmark = pytest.mark.slow

PEOPLE = [{"_id": f"u{n}", "name": f"User {n}", "emails": [{"address": f"u{n}@example.org"}]} for n in range(3)]
PEOPLE = [{**one, "roles": ["newsletter"]} for one in PEOPLE]
MAILER = BIN / "mailer"


def serve(folder: Path, transport: str) -> Service:
    service = Service(folder, transport=transport, rate_limit="")
    upsert_documents(service.db, enumerate(PEOPLE, 1))
    return service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serve(tmp_path_factory.mktemp("send"), "memory:") as service:
        yield service


@pytest.fixture(scope="module")
def blocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose mail server does not answer."""
    with serve(tmp_path_factory.mktemp("blocked"), "smtp://127.0.0.1:1") as service:
        yield service


class Shell:
    """A folder with a letter in it and the credentials in `.env`, where `mailer` is run."""

    def __init__(self, folder: Path, service: Service, user_id: str = "u0") -> None:
        self.folder, self.service = folder, service
        self.headers = service.headers(user_id)
        self.environment = {k: v for k, v in service.environment.items() if not k.startswith("MAILER_")}
        self.letter(str(PAYLOAD["body"]))
        names = {"SITE_URL": service.url, "USER_ID": user_id, "AUTH_TOKEN": self.headers["X-Auth-Token"]}
        (folder / ".env").write_text("".join(f"MAILER_{name}={value}\n" for name, value in names.items()))

    def letter(self, body: str, subject: str = "Hi [fname]") -> None:
        (self.folder / "body.html").write_text(body, "utf-8")
        self.options = ("--from", "news@example.com", "--subject", subject, "--body-file", "body.html")

    def run(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Without a terminal."""
        command = [MAILER, *arguments]
        given = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": 60, **options}
        return subprocess.run(command, check=False, cwd=self.folder, env=self.environment, **given)

    def send(self, *more: str) -> subprocess.CompletedProcess[str]:
        return self.run("send", *self.options, *more)

    def at_terminal(self, *more: str) -> Terminal:
        return Terminal([MAILER, "send", *self.options, *more], cwd=self.folder, env=self.environment)

    def campaigns(self) -> list[dict[str, Any]]:
        found = self.service.get("/api/v1/mailer/campaigns", self.headers).json()["campaigns"]
        assert isinstance(found, list)
        return found


@pytest.fixture
def shell(service: Service, tmp_path: Path) -> Shell:
    return Shell(tmp_path, service)


def test_priority_goes_with_the_campaign_and_urgent_takes_a_permission(shell: Shell) -> None:
    before = len(shell.campaigns())
    sent = shell.send("--yes", "--priority", "bulk")
    assert "priority: bulk" in sent.stdout
    assert shell.campaigns()[0]["priority"] == "bulk"
    refused = shell.send("--yes", "--priority", "urgent")
    assert refused.returncode == 1
    assert "permissions required" in refused.stderr
    assert len(shell.campaigns()) == before + 1


@pytest.mark.parametrize("query", [None, '{"_id": "u1"}'], ids=["everyone", "one"])
def test_terminal_is_asked_with_the_number_of_people(shell: Shell, query: str | None) -> None:
    before = len(shell.campaigns())
    terminal = shell.at_terminal(*(["--query", query] if query else []))
    terminal.wait_for("Send to 1 person? [y/N]" if query else "Send to 3 people? [y/N]")
    assert len(shell.campaigns()) == before
    terminal.type("n\n")
    assert terminal.end() == 1
    assert "Error: nothing was sent" in terminal.shown
    assert len(shell.campaigns()) == before


@pytest.mark.parametrize("more", [(), ("--everybody",)], ids=["", "everybody"])
def test_yes_at_the_terminal_sends_and_the_id_comes_first(shell: Shell, more: tuple[str, ...]) -> None:
    terminal = shell.at_terminal("--watch", *more)
    terminal.wait_for("[y/N]")
    terminal.type("y\n")
    assert terminal.end() == 0, terminal.shown
    newest = shell.campaigns()[0]
    after = terminal.shown.partition("[y/N]: y\n")[2]
    assert after.startswith(f"_id: {newest['_id']}\n")
    assert "3 sent" in after
    assert after.count("_id: ") == 1
    assert newest["state"] == "completed"


@pytest.mark.parametrize("keys", [CTRL_C, "\x04"], ids=["ctrl-c", "ctrl-d"])
def test_who_leaves_the_question_has_sent_nothing(shell: Shell, keys: str) -> None:
    before = len(shell.campaigns())
    terminal = shell.at_terminal()
    terminal.wait_for("[y/N]")
    time.sleep(0.5)  # Python sees a signal between the prompt and the wait for a key only with the next key
    terminal.type(keys)
    assert terminal.end() == 130
    assert terminal.shown.splitlines()[-1] == "nothing was sent"
    assert len(shell.campaigns()) == before


@pytest.mark.parametrize("more", [("--yes",), ("--dry-run",)], ids=["yes", "dry run"])
def test_terminal_is_not_asked_where_the_answer_is_known(shell: Shell, more: tuple[str, ...]) -> None:
    terminal = shell.at_terminal(*more)
    assert terminal.end() == 0
    assert "[y/N]" not in terminal.shown


def test_script_must_say_that_everyone_is_meant(shell: Shell) -> None:
    before = len(shell.campaigns())
    refused = shell.send()
    assert refused.returncode == 2
    assert re.fullmatch(r"Error: without --query everyone receives it: say --everybody or --yes.*\n", refused.stderr)
    assert len(shell.campaigns()) == before


@pytest.mark.parametrize("more", [("--yes",), ("--everybody",), ("--query", '{"_id": "u1"}'), ("--query", "{}")])
def test_script_that_says_who_is_meant_is_not_asked(shell: Shell, more: tuple[str, ...]) -> None:
    sent = shell.send(*more)
    assert (sent.returncode, besides_overlaps(sent.stderr)) == (0, "")
    assert sent.stdout.startswith(f"_id: {shell.campaigns()[0]['_id']}\nstate: ")


@pytest.mark.parametrize("command", ["send", "preview", "audience"])
@pytest.mark.parametrize("query", ["", "  ", "\n"])
def test_empty_query_is_refused(shell: Shell, command: str, query: str) -> None:
    before = len(shell.campaigns())
    options = () if command == "audience" else shell.options
    refused = shell.run(command, *options, "--query", query)
    assert refused.returncode == 2
    assert "--query': empty; leave it out to mean everyone" in refused.stderr
    assert len(shell.campaigns()) == before


def test_everybody_contradicts_a_query(shell: Shell) -> None:
    refused = shell.send("--everybody", "--query", '{"_id": "u1"}')
    assert (refused.returncode, refused.stderr) == (2, "Error: --everybody and --query contradict each other\n")


def besides_overlaps(told: str) -> str:
    """Without the note of earlier campaigns of this file, which go to the same people."""
    return re.sub(r"^Note: Campaign .* reaches most of the same people\.\n", "", told, flags=re.MULTILINE)


def test_json_stays_json_and_the_id_comes_first_on_stderr(shell: Shell) -> None:
    sent = shell.send("--everybody", "--json", "--watch")
    campaign = json.loads(sent.stdout)
    assert besides_overlaps(sent.stderr) == f"_id: {campaign['_id']}\n"
    assert campaign["sent"] == 3


def test_word_that_is_no_placeholder_is_named_with_the_nearest(shell: Shell) -> None:
    shell.letter("<p>Dear [nmae] [unsubscribe]</p>", subject="Hi [fnam]")
    notes = [
        "Note: [fnam] is no placeholder and goes out as it stands; did you mean [fname]?",
        "Note: [nmae] is no placeholder and goes out as it stands; did you mean [name]?",
    ]
    assert shell.send("--yes", "--dry-run").stderr.splitlines() == notes
    assert shell.run("preview", *shell.options).stderr.splitlines() == notes
    terminal = shell.at_terminal()
    terminal.wait_for("[y/N]")
    assert terminal.shown.splitlines()[:2] == notes
    terminal.type("n\n")
    terminal.end()


def test_field_that_nobody_has_is_named(shell: Shell) -> None:
    query = '{"role": "newsletter"}'
    note = 'Note: No user has the field "role"; did you mean "roles"?\n'
    assert shell.run("audience", "--query", query).stderr == note
    assert json.loads(shell.run("audience", "--query", query, "--json").stdout)["warnings"] == [note[6:-1]]
    watched = shell.send("--query", query, "--watch")
    told = f"{note}Note: Nobody was to receive it.\nError: the campaign was for nobody\n"
    assert (watched.returncode, watched.stderr) == (7, told)
    terminal = shell.at_terminal("--query", query)
    terminal.wait_for("Send to 0 people? [y/N]")
    terminal.type("\n")
    assert terminal.end() == 1
    assert note in terminal.shown


def test_dry_run_goes_to_those_who_are_named(shell: Shell) -> None:
    refused = shell.send("--to", "ann@example.com", "--yes")
    assert (refused.returncode, "--to: only with --dry-run" in refused.stderr) == (2, True)
    sent = shell.send("--dry-run", "--to", "ann@example.com", "--to", "ben@example.com", "--watch", "--json")
    assert (sent.returncode, json.loads(sent.stdout)["sent"]) == (0, 2)
    wrong = shell.send("--dry-run", "--to", "nobody")
    assert (wrong.returncode, "to: Has something that is no email address." in wrong.stderr) == (1, True)


def test_estimate_comes_before_the_question(shell: Shell) -> None:
    shell.send("--yes", "--watch")
    terminal = shell.at_terminal()
    terminal.wait_for("Send to 3 people? [y/N]")
    assert re.search(r"^(It takes about|How long it takes cannot be told now:) .*\.$", terminal.shown, re.MULTILINE)
    terminal.type("n\n")
    terminal.end()
    audience = json.loads(shell.run("audience", "--json").stdout)
    assert {"estimatedSeconds", "startsIn", "estimate"} <= audience.keys()


def test_list_is_of_a_state_and_of_a_time(shell: Shell) -> None:
    shell.send("--yes", "--expect", "150..", "--watch")

    def listed(*more: str) -> list[str]:
        return [one["state"] for one in json.loads(shell.run("campaigns", "list", "--json", *more).stdout)]

    assert set(listed("--state", "paused")) == {"paused"}
    assert listed("--since", "2100-01-01") == []
    assert listed("--since", "1h") == listed()
    assert "neither a date" in shell.run("campaigns", "list", "--since", "soon").stderr


def test_another_number_than_expected_is_paused_and_told_by_the_exit_code(shell: Shell) -> None:
    told = "3 people would receive it, and its caller expects 150 to 250"
    watched = shell.send("--yes", "--expect", "150..250", "--watch")
    assert (watched.returncode, watched.stderr.splitlines()[-1]) == (7, f"Error: the campaign is paused: {told}")
    newest = shell.campaigns()[0]
    assert (newest["state"], newest["reason"], newest["sent"]) == ("paused", told, 0)
    resumed = shell.run("campaigns", "resume", newest["_id"])
    assert "minRecipients: 150\nmaxRecipients: 250\n" in resumed.stdout
    assert shell.send("--yes", "--expect", "3", "--watch").returncode == 0


def test_bar_says_why_it_stands_still_and_ctrl_c_how_to_cancel(blocked: Service, tmp_path: Path) -> None:
    shell = Shell(tmp_path, blocked)
    terminal = shell.at_terminal("--yes", "--watch")
    terminal.wait_for("blocked: ")
    terminal.wait_for("0 sent, blocked")
    terminal.type(CTRL_C)
    assert terminal.end() == 130
    (campaign,) = shell.campaigns()
    last = terminal.shown.splitlines()[-1]
    assert last == f"the campaign goes on; `mailer campaigns cancel {campaign['_id']}` ends it"
    assert campaign["state"] == "blocked"
    assert f"blocked: {campaign['reason']}" in terminal.shown
    assert shell.run(*re.search("`mailer (.*)`", last)[1].split()).returncode == 0  # type: ignore[index]
    assert shell.campaigns()[0]["state"] == "cancelled"


def test_watching_without_a_terminal_tells_changes_in_lines(blocked: Service, tmp_path: Path) -> None:
    shell = Shell(tmp_path, blocked)
    command = [MAILER, "send", *shell.options, "--yes", "--watch"]
    options: dict[str, Any] = {"cwd": tmp_path, "env": shell.environment, "text": True}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as watcher:
        assert watcher.stderr is not None
        assert watcher.stderr.readline().startswith("blocked: ")
        shell.run("campaigns", "cancel", shell.campaigns()[0]["_id"])
        rest = watcher.stderr.read()
        assert watcher.wait(60) == 6
    assert rest.splitlines()[-1] == "Error: the campaign is cancelled"
    assert "\x1b" not in rest


def test_service_that_goes_away_while_watched_leaves_the_campaign(tmp_path: Path) -> None:
    with serve(tmp_path, "smtp://127.0.0.1:1") as service:
        shell = Shell(tmp_path, service)
        terminal = shell.at_terminal("--yes", "--watch")
        terminal.wait_for("blocked: ")
        service.stop()
        assert terminal.end() == 6
    assert re.search(
        r"Error: no answer from http\S+: Connection refused; the campaign goes on; `mailer", terminal.shown
    )


STATE = {"state": "running", "reason": None, "planned": 9, "pending": 4}
STATE |= {"sent": 4, "failed": 1, "deferred": 0, "uncertain": 0, "skipped": 0}


@pytest.mark.parametrize(
    ("changes", "shown", "why"),
    [
        ({}, "4 sent, 1 failed", None),
        ({"sent": 0, "failed": 0}, "0 sent", None),
        ({"state": "blocked", "reason": "a:25: no"}, "4 sent, 1 failed, blocked", "blocked: a:25: no"),
        ({"state": "resting", "reason": "550 no"}, "4 sent, 1 failed, resting", "resting: 550 no"),
        ({"state": "paused", "reason": None}, "4 sent, 1 failed, paused", "paused"),
        ({"state": "blocked", "reason": "\x1b[2J"}, "4 sent, 1 failed, blocked", r"blocked: \x1b[2J"),
        ({"deferred": 2, "uncertain": 1}, "4 sent, 1 failed, 2 deferred, 1 uncertain", None),
    ],
)
def test_bar_and_line_of_a_state(changes: dict[str, Any], shown: str, why: str | None) -> None:
    assert counts_shown({**STATE, **changes}) == shown
    assert why_it_stands_still({**STATE, **changes}) == why


class Troubled(http.server.BaseHTTPRequestHandler):
    """Answers as `mood` says, whatever is asked."""

    mood = "busy"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.mood == "silent" and self.path == "/api/v1/mailer":
            self.close_connection = True
            return
        error = {"success": False, "error": "Too many. [error-too-many-requests]"}
        content = json.dumps(error).encode()
        self.send_response(429)
        self.send_header("Retry-After", "17")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def troubled(shell: Shell) -> Iterator[Shell]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Troubled) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        shell.environment["MAILER_SITE_URL"] = f"http://127.0.0.1:{server.server_port}"
        yield shell
        server.shutdown()


def test_too_many_requests_say_how_long_to_wait(troubled: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Troubled, "mood", "busy")
    refused = troubled.send("--yes")
    assert refused.returncode == 4
    assert refused.stderr == ("Error: refused with 429: Too many. [error-too-many-requests]; try again in 17 seconds\n")


def test_lost_answer_to_a_campaign_says_that_it_may_have_been_accepted(troubled, monkeypatch) -> None:
    monkeypatch.setattr(Troubled, "mood", "silent")
    lost = troubled.send("--yes")
    assert lost.returncode == 5
    assert lost.stderr.endswith("; it may have been accepted: `mailer campaigns list` shows it\n")
    assert "Remote" not in lost.stderr
    assert "Error(" not in lost.stderr
