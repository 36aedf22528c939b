"""Hosts that lose each other: web, two workers, broker and database, each in a network namespace of its own.

Only with TEST_LONG=1, since it needs root, `ip netns`, and a PostgreSQL and a Redis of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from mailer.callers.tokens import Tokens
from mailer.campaigns.invariants import examine
from mailer.campaigns.progress import progress
from mailer.selector import database_at
from mailer.storage.database import Database
from mailer.storage.models import User
from tests.celery_engine import forward
from tests.conftest import user_row
from tests.drills import LONG
from tests.killable import attempts
from tests.recording_smtp import Fault, RecordingServer, recording_smtp
from tests.service import PAYLOAD, ROOT
from tests.test_crash import extra_copies

pytestmark = [pytest.mark.slow, pytest.mark.drill]

BIN = Path(sys.executable).parent
BRIDGE, NETWORK = "mailerdrill", "10.77.13"
HOSTS = {"database": 2, "broker": 3, "web": 4, "one": 5, "two": 6}
RECIPIENTS, CHECKPOINT, CUT_SECONDS = 3000, 20, 45


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def address(host: str) -> str:
    return f"{NETWORK}.{HOSTS[host]}"


def inside(host: str, *command: object) -> list[str]:
    return ["ip", "netns", "exec", f"{BRIDGE}-{host}", *map(str, command)]


def connected(host: str, up: bool) -> None:
    """Plug the host's cable in, or pull it."""
    ip("link", "set", f"md-{host}", "up" if up else "down")


@contextmanager
def network() -> Iterator[None]:
    """The hosts, on one switch."""
    ip("link", "add", BRIDGE, "type", "bridge")
    try:
        ip("addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for host in HOSTS:
            ip("netns", "add", f"{BRIDGE}-{host}")
            ip("link", "add", f"md-{host}", "type", "veth", "peer", "name", "eth0", "netns", f"{BRIDGE}-{host}")
            ip("link", "set", f"md-{host}", "master", BRIDGE)
            connected(host, True)
            for words in (["link", "set", "lo", "up"], ["addr", "add", f"{address(host)}/24", "dev", "eth0"]):
                ip("-n", f"{BRIDGE}-{host}", *words)
            ip("-n", f"{BRIDGE}-{host}", "link", "set", "eth0", "up")
        yield
    finally:
        for host in HOSTS:
            with suppress(subprocess.CalledProcessError):
                ip("netns", "del", f"{BRIDGE}-{host}")
        ip("link", "del", BRIDGE)


@contextmanager
def running(host: str, log: Path, *command: object, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program on that host, all of which is killed afterwards."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            inside(host, *command),
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(40)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def database(folder: Path) -> Iterator[Database]:
    """A PostgreSQL of its own on its host, with the users."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"))
    data = folder / "data"
    data.mkdir()
    shutil.chown(data, "postgres", "postgres")
    for parent in [data, *data.parents][:-2]:
        parent.chmod(parent.stat().st_mode | 0o711)
    as_user = ("setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups")
    subprocess.run([*as_user, programs / "initdb", "-A", "trust", "-D", data], check=True, capture_output=True)
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 0.0.0.0/0 trust\n")
    server = (*as_user, programs / "postgres", "-D", data, "-h", "0.0.0.0", "-k", data)
    url = f"postgresql://postgres@{address('database')}/postgres"
    with running("database", folder / "postgres.log", *server):
        for _ in attempts(60, pause=0.2):
            with suppress(psycopg.OperationalError), psycopg.connect(url):
                break
        with closing(database_at(url)) as db:
            db.migrate()
            with db.write() as connection:
                connection.execute(User.__table__.insert(), [user_row(number) for number in range(RECIPIENTS)])
            yield db


@contextmanager
def mail_server(folder: Path) -> Iterator[tuple[RecordingServer, int]]:
    """A slow server that remembers, and the port of the switch at which the hosts reach it."""
    slow = Fault("DOT", "250 2.0.0 kept", delay=0.02, keep=True)
    with recording_smtp(folder, slow) as server, socket.create_server((f"{NETWORK}.1", 0)) as line:
        target, opened = ("127.0.0.1", server.port), list[socket.socket]()
        threading.Thread(target=forward, args=(line, target, opened), daemon=True).start()
        yield server, line.getsockname()[1]
        for end in opened:
            end.close()


def settings(db: Database, port: int) -> dict[str, str]:
    named: dict[str, Any] = {
        "engine": "celery",
        "database_url": str(db.url),
        "broker_url": f"redis://{address('broker')}/0",
        "transport": f"smtp://{NETWORK}.1:{port}?starttls=never",
        "site_url": f"http://{address('web')}:8000",
        "secret_key": "k" * 40,
        "workers": 2,
        "lease_seconds": 5,
        "slice_seconds": 5,
        "checkpoint": CHECKPOINT,
        "batch_size": 100,
        "rate_limit": "",
        "repeat_window": 0,
    }
    return {f"MAILER_{name.upper()}": str(value) for name, value in named.items()}


def posted(headers: dict[str, str]) -> str:
    """The id of a campaign that the web has accepted."""
    url = f"http://{address('web')}:8000/api/v1/mailer"
    answer = requests.post(url, json=PAYLOAD, headers=headers, timeout=20)
    assert answer.json() == {"success": True}
    return answer.headers["Location"].rpartition("/")[2]


def finished(db: Database, campaign_id: str, seconds: float) -> Any:
    for _ in attempts(seconds, pause=0.2):
        now = progress(db, campaign_id)
        assert examine(db) == []
        if now.finished_at:
            return now
    raise AssertionError(f"not finished within {seconds} s: {now}")


if LONG:

    @pytest.mark.timeout(900)
    def test_worker_that_is_cut_off_in_a_batch_and_comes_back_does_no_harm(tmp_path: Path) -> None:
        with ExitStack() as stack:
            stack.enter_context(network())
            db = stack.enter_context(database(tmp_path))
            redis = ("redis-server", "--protected-mode", "no", "--save", "", "--dir", tmp_path)
            stack.enter_context(running("broker", tmp_path / "redis.log", *redis))
            server, port = stack.enter_context(mail_server(tmp_path))
            environment = settings(db, port)
            web = (BIN / "gunicorn", "-w", "1", "-b", "0.0.0.0:8000", "wsgi:app")
            stack.enter_context(running("web", tmp_path / "web.log", *web, **environment))
            one, two = (
                stack.enter_context(running(host, tmp_path / f"{host}.log", BIN / "mailer", "worker", **environment))
                for host in ("one", "two")
            )
            headers = {"X-User-Id": "user00000", "X-Auth-Token": Tokens(db).create("user00000", ("send-mail",))}
            for _ in attempts(60, pause=0.2):
                with suppress(requests.ConnectionError):
                    if requests.get(f"http://{address('web')}:8000/readyz", timeout=5).json()["engine"] == "ok":
                        break

            first = posted(headers)
            for _ in attempts(60):
                if progress(db, first).sent > RECIPIENTS / 10:
                    break
            connected("one", False)
            began = time.monotonic()
            done = finished(db, first, 120)  # the other worker takes over what the first one held
            assert done.sent + done.uncertain == RECIPIENTS
            took = time.monotonic() - began
            time.sleep(max(0.0, CUT_SECONDS - took))
            connected("one", True)
            assert len(server.copies()) == RECIPIENTS
            assert extra_copies(server) <= 2 * CHECKPOINT  # of each process that was cut off

            os.killpg(two.pid, signal.SIGKILL)  # from now on the one that was cut off is alone
            assert finished(db, posted(headers), 240).state == "completed"
            os.killpg(one.pid, signal.SIGTERM)
            assert one.wait(60) == 0
