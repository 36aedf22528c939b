"""The service as it is deployed: gunicorn in processes of its own, on a free port, over a directory of its own.

gunicorn is forked from a process that has imported its code and ours already, since that is half of what a start takes.
The command itself is started by the tests of the documentation and of `mailer serve`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import requests
from gunicorn.app.wsgiapp import run

from bench.processes import free_port
from mailer.callers.tokens import Tokens
from mailer.selector import database_at
from tests.databases import any_database
from tests.killable import PROCESSES, signal_process

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
END_STATES = {"completed", "completed_with_issues", "cancelled", "failed"}
PAYLOAD = {"from": "news@example.com", "subject": "Hi [fname]", "body": "<p>Hello [name] [unsubscribe]</p>"}


class Service:
    """Start it with settings (names without `MAILER_`), talk to it, stop it or kill it; the database is migrated.

    `code` is the folder of the version that runs.
    """

    def __init__(
        self,
        folder: Path,
        *,
        workers: int = 1,
        database_url: str | None = None,
        code: Path = ROOT,
        **settings: object,
    ) -> None:
        self.folder = folder
        self.code = code
        self.database_url = database_url or any_database(folder / "mailer.db")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        named = {"database_url": self.database_url, "site_url": self.url, "secret_key": "k" * 40}
        named |= {"repeat_window": 0, **settings}  # tests post the same again and mean it
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MAILER_")}
        self.environment = clean | {f"MAILER_{name.upper()}": str(value) for name, value in named.items()}
        if code != ROOT:
            self.environment["PYTHONPATH"] = str(code)  # goes before the version that is installed
        self.workers = workers
        self.process: BaseProcess | None = None
        self.output = folder / "server.out"
        self.db = database_at(self.database_url, prepare=bool(settings.get("database_prepare", True)))

    def start(self) -> Service:
        """Start gunicorn and wait until it answers."""
        command = ["gunicorn", "-w", str(self.workers), "-b", f"127.0.0.1:{self.port}", "wsgi:app"]
        self.process = PROCESSES.Process(
            target=_run, args=(command, self.environment, self.output, self.code), daemon=True
        )
        self.process.start()
        ends = time.monotonic() + 30
        while time.monotonic() < ends:
            assert self.process.is_alive(), self.output.read_text()
            try:
                if requests.get(f"{self.url}/healthz", timeout=30).ok:
                    return self
            except requests.ConnectionError:
                time.sleep(0.05)
        raise AssertionError("the server did not answer within 30 s")

    def stop(self) -> int | None:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        signal_process(self.process, signal.SIGTERM)
        self.process.join(40)
        return self.process.exitcode

    def close(self) -> None:
        """Leave nothing behind."""
        if self.process and self.process.is_alive():
            self.stop()
        self.db.close()

    def __enter__(self) -> Service:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def headers(self, user_id: str, *permissions: str) -> dict[str, str]:
        """Credentials of a user."""
        token = Tokens(self.db).create(user_id, permissions or ("send-mail",))
        return {"X-User-Id": user_id, "X-Auth-Token": token}

    def post(self, headers: dict[str, str], **changes: Any) -> requests.Response:
        """POST a campaign that is fine but for `changes`; a change to None leaves the field out."""
        payload = {name: value for name, value in {**PAYLOAD, **changes}.items() if value is not None}
        return requests.post(f"{self.url}/api/v1/mailer", json=payload, headers=headers, timeout=30)

    def get(self, path: str, headers: dict[str, str] | None = None) -> requests.Response:
        """GET a path."""
        return requests.get(self.url + path, headers=headers, timeout=30)

    def finish(self, headers: dict[str, str], posted: requests.Response, seconds: float = 90) -> dict[str, Any]:
        """Wait for the campaign's end and return it."""
        assert posted.status_code == 200, posted.text
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            campaign = self.get(posted.headers["Location"], headers).json()["campaign"]
            if campaign["state"] in END_STATES:
                return campaign
            time.sleep(0.05)
        raise AssertionError(f"not finished within {seconds} s: {campaign}\n{self.output.read_text()[-3000:]}")


def _run(command: list[str], environment: dict[str, str], output: Path, code: Path) -> None:
    """Become gunicorn, as a shell would have started it; anew if it is to run other code than what is imported."""
    os.chdir(code)
    os.environ.clear()
    os.environ.update(environment)
    with output.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if code != ROOT:
        os.execv(sys.executable, [sys.executable, "-m", *command])
    sys.argv = command
    run()
