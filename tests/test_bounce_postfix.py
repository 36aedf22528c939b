"""The recipes of docs/bounces.md in a real Postfix: a pipe that keeps what cannot be recorded, and headers copied."""

from __future__ import annotations

import smtplib
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bench.processes import free_port
from mailer.selector import database_at
from tests.bounce_mails import BOUNCE
from tests.doc_pages import ROOT, blocks
from tests.postfix_servers import Postfix, listening, postfix_server
from tests.service import BIN

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "bounces.md"
DOMAIN = "bounces.example.com"
SOON = "fast_flush_domains =\nqueue_run_delay = 2s\nminimal_backoff_time = 4s\nmaximal_backoff_time = 4s\n"
BRIDGE = """\
import socket, sys
with socket.socket(socket.AF_UNIX) as line:
    line.connect(sys.argv[1])
    line.sendall(sys.stdin.buffer.read())
    line.shutdown(socket.SHUT_WR)
    sys.exit(line.recv(1)[0])
"""


def recipe(begins: str) -> str:
    """The block of the page that begins so."""
    [found] = [block.text for block in blocks(PAGE) if block.text.startswith(begins)]
    return found


class Command:
    """The command behind the pipe. Postfix runs it as a user who may not read this folder, so it is run from here."""

    def __init__(self, folder: Path, place: Path) -> None:
        self.folder, self.database = folder, "sqlite:////proc/nowhere/mailer.db"  # away at first
        self.taken: list[tuple[bytes, int]] = []  # what came, and with what code it ended
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(place))
        place.chmod(0o666)
        self._server.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._server.accept()
            except OSError:
                return
            with line, line.makefile("rb") as stream:
                mail = stream.read()
                command = [str(BIN / "mailer"), "bounces", "read", "-"]
                settings = {"PATH": "/usr/bin:/bin", "MAILER_DATABASE_URL": self.database}
                settings["MAILER_SECRET_KEY"] = "k" * 40
                done = subprocess.run(
                    command, cwd=self.folder, env=settings, input=mail, capture_output=True, check=False, timeout=60
                )
                self.taken.append((mail, done.returncode))
                line.sendall(bytes([done.returncode]))


class Piping:
    """A Postfix that is set up as the page says."""

    def __init__(self, postfix: Postfix, command: Command) -> None:
        self.port, self.command, self.log = free_port(), command, postfix.log
        (postfix.root / "bridge.py").write_text(BRIDGE)
        argv = f"/usr/bin/env python3 {postfix.root}/bridge.py {postfix.root}/line"
        pipe = recipe("mailer-bounces unix").replace("user=mailer", "user=nobody")
        pipe = pipe.replace("/usr/local/bin/mailer bounces read -", argv)
        settings = postfix.with_box("example.org") + recipe("relay_domains") + SOON
        postfix.start(settings, listening(self.port) + pipe, [self.port])


@pytest.fixture
def piping(tmp_path: Path) -> Iterator[Piping]:
    with postfix_server() as server, closing(Command(tmp_path, server.root / "line")) as command:
        yield Piping(server, command)


def test_postfix_keeps_a_bounce_until_it_can_be_recorded(piping: Piping, tmp_path: Path) -> None:
    token = f"bounce+C4MPA1GN@{DOMAIN}"
    with smtplib.SMTP("127.0.0.1", piping.port) as client:
        client.sendmail("", [token], BOUNCE)
    assert "status=deferred (temporary failure" in piping.log("status=deferred")

    with closing(database_at(f"sqlite:///{tmp_path}/mailer.db")) as db:
        db.migrate()
    piping.command.database = f"sqlite:///{tmp_path}/mailer.db"
    assert "status=sent (delivered via mailer-bounces service)" in piping.log("status=sent")
    (first, code), (last, done) = piping.command.taken[0], piping.command.taken[-1]
    assert (code, done) == (75, 0)
    assert first == last
    head = last.partition(b"\n\n")[0].splitlines()
    assert f"Delivered-To: {token}".encode() in head
    assert f"X-Original-To: {token}".encode() in head
    assert b"Return-Path: <>" in head


@pytest.mark.parametrize(
    "wanted",
    [
        'X-Mailgun-Variables: {"campaign": "c4mpa1gn"}',
        'X-SMTPAPI: {"unique_args": {"campaign": "c4mpa1gn"}}',
        "X-PM-Metadata-campaign: c4mpa1gn",
        'X-MSYS-API: {"metadata": {"campaign": "c4mpa1gn"}}',
        "X-MJ-CustomID: c4mpa1gn",
    ],
)
def test_postfix_copies_the_campaign_into_a_header_of_the_provider(tmp_path: Path, wanted: str) -> None:
    [line] = [one for one in recipe("/^Feedback-ID").splitlines() if wanted.partition(":")[0] in one]
    (tmp_path / "campaign").write_text(line + "\n")
    command = ["postmap", "-q", "Feedback-ID: c4mpa1gn:news:example:mailer", f"regexp:{tmp_path}/campaign"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout == f"PREPEND {wanted}\n"
