"""Everybody who sends, behind one call that says what it cost; and who is not installed."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench import newsletter, peers

HERE = Path(__file__).resolve().parent
MODULES = HERE / "node_modules" / "nodemailer"
NPM_SECONDS = 120
RUN_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Cost:
    """What `count` messages took: wall seconds, and CPU seconds of the sending process."""

    count: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.count / self.seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU a message."""
        return self.cpu / self.count * 1e6


def postfix_tool(name: str) -> str | None:
    """Where Postfix's `smtp-sink` or `smtp-source` is; Debian puts them outside a user's PATH."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))


def has_nodemailer() -> bool:
    """Whether Nodemailer can run here."""
    return MODULES.is_dir() and shutil.which("node") is not None


def install_nodemailer() -> None:
    """Try to have Nodemailer in `bench/node_modules`, by npm; without success it is left out."""
    npm = shutil.which("npm")
    if npm is None or has_nodemailer():
        return
    command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
    with suppress(subprocess.CalledProcessError, subprocess.TimeoutExpired):
        subprocess.run(command, cwd=HERE, capture_output=True, timeout=NPM_SECONDS, check=True)


def nodemailer_version() -> str:
    """The version that is installed."""
    version: str = json.loads((MODULES / "package.json").read_text("utf-8"))["version"]
    return version


def nodemailer(what: str, count: int, *more: object) -> Cost:
    """Run `nodemailer.mjs`."""
    given = {
        "newsletter": {
            "senderName": newsletter.SENDER_NAME,
            "sender": newsletter.SENDER,
            "subject": newsletter.SUBJECT,
            "text": newsletter.TEXT,
            "html": newsletter.HTML,
            "siteName": newsletter.SITE_NAME,
            "siteUrl": newsletter.SITE_URL,
        },
        "firstNames": newsletter.FIRST_NAMES,
        "lastNames": newsletter.LAST_NAMES,
    }
    command = ["node", str(HERE / "nodemailer.mjs"), what, str(count), *map(str, more)]
    return _cost(count, command, json.dumps(given))


def python_peer(name: str, count: int, *where: object) -> Cost:
    """Run one of `bench.peers`."""
    return _cost(count, [sys.executable, "-m", "bench.peers", name, str(count), *map(str, where)])


def smtp_source(program: str, count: int, sessions: int, size: int, port: int) -> Cost:
    """Run Postfix's own load generator over kept connections; it personalises nothing and records nothing."""
    command = [program, "-d", "-s", str(sessions), "-l", str(size), "-m", str(count), f"127.0.0.1:{port}"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    subprocess.run(command, check=True, timeout=RUN_SECONDS, capture_output=True)
    seconds = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(count, seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def missing() -> list[str]:
    """What cannot be compared with here, for the report."""
    names = [f"{tool} (Debian: postfix)" for tool in ("smtp-sink", "smtp-source") if postfix_tool(tool) is None]
    names += [f"{peer} (pip: .[bench])" for peer in ("aiosmtplib", "django", peers.QUEUE) if not peers.installed(peer)]
    return names if has_nodemailer() else [*names, "Nodemailer (npm)"]


def _cost(count: int, command: list[str], given: str = "") -> Cost:
    done = subprocess.run(
        command, input=given, cwd=HERE.parent, stdout=subprocess.PIPE, text=True, check=True, timeout=RUN_SECONDS
    )
    return Cost(count, **json.loads(done.stdout))
