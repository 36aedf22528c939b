"""Part 3: the file transport with the durability it has in production, beside those that write and hope."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.contestants import has_nodemailer, nodemailer, python_peer
from bench.figures import Figure, Part, Ratio, in_turn
from bench.peers import installed
from bench.rendering import messages
from bench.scale import Bench
from transports import from_url

TITLE = "3. The file transport"
FORMATS = ("eml", "maildir", "mbox")
CHECKPOINT = 50  # messages handed over at a time, as the service does


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    return folder


def _ours(folder: Path, form: str, count: int) -> float:
    transport = from_url(f"file:{_fresh(folder) / 'outbox'}?format={form}")
    begun = time.perf_counter()
    source = messages(count)
    for _ in range(0, count, CHECKPOINT):
        some = [message for message, _ in zip(source, range(CHECKPOINT), strict=False)]
        for outcome in transport.send(some):
            assert outcome.status == "sent", outcome
    seconds = time.perf_counter() - begun
    transport.close()
    return count / seconds


def _plain(folder: Path, count: int, *, durable: bool) -> float:
    ready = list(messages(count))
    _fresh(folder)
    begun = time.perf_counter()
    for message in ready:
        with (folder / message.id).open("wb") as file:
            file.write(message.content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
    return count / (time.perf_counter() - begun)


def measure(bench: Bench) -> Part:
    """Messages a second, rendering included but for the plain writes."""
    count, folder = bench.scale.files, bench.work / "files"
    contestants: dict[str, Callable[[], float]] = {
        f"mailer, {form}": partial(_ours, folder, form, count) for form in FORMATS
    }
    contestants["plain writes, with fsync"] = partial(_plain, folder, count, durable=True)
    contestants["plain writes, not durable"] = partial(_plain, folder, count, durable=False)
    if installed("django"):
        contestants["Django's file backend, not durable"] = lambda: (
            python_peer("django-files", count // 3 or 1, _fresh(folder)).rate
        )
    if has_nodemailer():
        contestants["Nodemailer composed to files, not durable"] = lambda: (
            nodemailer("files", count // 3 or 1, _fresh(folder)).rate
        )
    figures = {n: Figure(n, "messages/s", tuple(v)) for n, v in in_turn(bench.scale.rounds, contestants).items()}
    shutil.rmtree(folder, ignore_errors=True)
    ours = figures["mailer, eml"].median
    ratios = [Ratio(f"mailer, eml / {name}", ours / f.median) for name, f in figures.items() if "mailer" not in name]
    notes = ("mailer: an outcome is given when the message and its name are on the disk, as in production.",)
    return Part("files", TITLE, tuple(ratios), tuple(figures.values()), notes)
