"""The service as it is deployed: gunicorn with the checked-in settings, over a database of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from bench import newsletter
from bench.contestants import Cost
from bench.directory import url_of
from bench.processes import children, cpu_seconds, free_port, memory_mb, running
from mailer.callers.tokens import Tokens
from mailer.campaigns.progress import progress
from mailer.selector import database_at

ROOT = Path(__file__).resolve().parent.parent
ENDS = ("paused", "failed")  # without an end that is on record
POLL_SECONDS = 0.1
CALLER = "user0000000"


class Unfinished(Exception):
    """A campaign did not end as it should."""


@dataclass(frozen=True, slots=True)
class Sent(Cost):
    """A whole campaign: `seconds` from the POST to the last recorded outcome, `cpu` of all the service's processes."""

    peak_mb: float


class Service:
    """A running service; the database can be looked at past it."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, database_url: str) -> None:
        self._process = process
        self._database_url = database_url
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def headers(self) -> dict[str, str]:
        """Credentials that may send."""
        with closing(database_at(self._database_url)) as db:
            token = Tokens(db).create(CALLER, ["send-mail"])
        return {"X-User-Id": CALLER, "X-Auth-Token": token}

    def pids(self) -> list[int]:
        """The master and its workers."""
        return [self._process.pid, *children(self._process.pid)]

    def send(self, headers: dict[str, str], seconds: float = 600, **changes: Any) -> Sent:
        """POST a campaign and wait for its end. Raises `Unfinished` unless everyone was sent to."""
        cpu = sum(map(cpu_seconds, self.pids()))
        begun = time.time()
        answer = requests.post(
            f"{self.url}/api/v1/mailer", json=newsletter.payload(**changes), headers=headers, timeout=60
        )
        answer.raise_for_status()
        ended, sent = self._wait(answer.headers["Location"].rpartition("/")[2], time.monotonic() + seconds)
        cpu = sum(map(cpu_seconds, self.pids())) - cpu
        peak = sum(memory_mb(pid, "VmHWM") for pid in self.pids()[1:])
        return Sent(sent, ended / 1000 - begun, cpu, peak)

    def _wait(self, campaign_id: str, deadline: float) -> tuple[int, int]:
        """When the campaign ended, in ms since 1970, and how many were sent to."""
        with closing(database_at(self._database_url)) as db:
            while (now := progress(db, campaign_id)).finished_at is None:
                if now.state in ENDS or time.monotonic() > deadline:
                    raise Unfinished(f"{now.state}, {now.sent} of {now.planned} sent")
                time.sleep(POLL_SECONDS)
        if now.state != "completed" or now.sent != now.planned:
            raise Unfinished(f"{now.state}, {now.sent} of {now.planned} sent")
        return now.finished_at, now.sent


@contextmanager
def serving(
    database: Path, *, processes: int = 1, app: str = "wsgi:app", config: str = "gunicorn.conf.py", **settings: object
) -> Iterator[Service]:
    """gunicorn over the SQLite file, or over `database_url`; `settings` are named without `MAILER_`."""
    port = free_port()
    named: dict[str, object] = {
        "database_url": url_of(database),
        "secret_key": "k" * 40,
        "repeat_window": 0,  # the same is posted again and again
        "site_url": newsletter.SITE_URL,
    }
    named |= {"site_name": newsletter.SITE_NAME, "rate_limit": "", "transport": "memory:?keep=0", "mailbox": "false"}
    named |= settings
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAILER_")}
    environment = clean | {f"MAILER_{name.upper()}": str(value) for name, value in named.items()}
    command = [sys.executable, "-m", "gunicorn", "-c", config, "-w", str(processes), "-b", f"127.0.0.1:{port}", app]
    output = database.with_name("server.log")
    with running(command, port, output, cwd=ROOT, env=environment) as process:
        requests.get(f"http://127.0.0.1:{port}/healthz", timeout=60)
        yield Service(process, port, str(named["database_url"]))
