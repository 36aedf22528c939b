"""The documentation's shell blocks, run top to bottom in one bash, as a reader would.

A block that begins with ```sh is run. ```sh server is left running while those after it are run. ```json output and
```text output hold what the block before printed. Nothing else is run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from tests.doc_pages import ROOT, Block, blocks

SERVICE = "127.0.0.1:8000"
MAIL_CATCHER = "127.0.0.1:1025"
DATABASE = "postgresql://mailer:secret@db.example.com/mailer"
BROKER = "amqp://mailer:secret@rabbitmq.example.com/mailer"
STORES = {"database": DATABASE, "broker": BROKER}
BIN = Path(sys.executable).parent
SECONDS = 300
CHECKOUT = (
    "app.py",
    "constraints.txt",
    "deploy",
    "examples",
    "gunicorn.conf.py",
    "mailer",
    "transports",
    "wsgi.py",
)  # what commands run beside
PRELUDE = r"""
set -eu
servers=()
make() { grep -q "^$1:" "$ROOT/Makefile" || { echo "the Makefile has no target $1" >&2; return 1; }; }
stop() {
    code=$?
    trap - EXIT
    for server in "${servers[@]}"; do
        kill "$server" || { echo "a server had ended by itself" >&2; code=1; }
        wait "$server" || { echo "a server ended with $?" >&2; code=1; }
    done
    exit "$code"
}
trap stop EXIT
answers() {
    for _ in {1..600}; do
        if curl --silent --fail --output /dev/null "http://$ADDRESS/healthz"; then return; fi
        sleep 0.1
    done
    return 1
}
"""


def free_addresses() -> dict[str, str]:
    """An address that is free now for each one that the pages name."""
    with socket.socket() as service, socket.socket() as catcher:  # both at once, so that they differ
        for probe in (service, catcher):
            probe.bind(("127.0.0.1", 0))
        return {
            SERVICE: f"127.0.0.1:{service.getsockname()[1]}",
            MAIL_CATCHER: f"127.0.0.1:{catcher.getsockname()[1]}",
        }


def script(page: Path, addresses: dict[str, str]) -> str:
    """One bash script; each block's output goes into files named after the line it starts on."""
    steps = [PRELUDE]
    for block in blocks(page):
        if block.words[:1] != ("sh",):
            continue
        steps.append(f"exec >{block.line}.out 2>{block.line}.err\n: >running.{block.line}")
        text = block.text
        for shown, address in addresses.items():
            text = text.replace(shown, address)
        steps.append(f"exec {text.strip()} &\nservers+=($!)\nanswers" if "server" in block.words else text)
        steps.append(f"rm running.{block.line}")
    return "\n".join(steps)


def run(page: Path, folder: Path, **elsewhere: str) -> None:
    """Run a page's blocks in `folder`. Raises AssertionError with the block that failed and what it said.

    `elsewhere` are more settings, and with `database` and `broker` what stands for the addresses on the page.
    """
    addresses = free_addresses()
    address = addresses[SERVICE]
    addresses |= {shown: elsewhere.pop(name) for name, shown in STORES.items() if name in elsewhere}
    for name in CHECKOUT:
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").symlink_to(BIN.parent)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAILER_")}
    settings = {"ADDRESS": address, "ROOT": str(ROOT), "MAILER_SITE_URL": f"http://{address}", **elsewhere}
    path = f"{BIN}:{clean['PATH']}"
    process = subprocess.Popen(
        ["bash", "-c", script(page, addresses)],
        cwd=folder,
        env={**clean, **settings, "PATH": path},
        start_new_session=True,
    )
    try:
        code = process.wait(SECONDS)
    finally:
        with suppress(ProcessLookupError):  # nobody of the session is left, as it should be
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert code == 0, f"{page.name}: {explain(folder)}"


def explain(folder: Path) -> str:
    """The block that was running last, and its output."""
    lines = sorted(int(path.name.partition(".")[2]) for path in folder.glob("running.*"))
    outputs = sorted(folder.glob("[0-9]*.err"), key=lambda path: path.stat().st_mtime)
    shown = "".join(path.read_text("utf-8", "replace")[-2000:] for path in outputs[-2:])
    return f"the block at line {lines} failed\n{shown}"


def expected_outputs(page: Path) -> list[tuple[Block, Block]]:
    """Pairs of a shell block and the block that says what it prints."""
    found = blocks(page)
    return [(before, after) for before, after in pairwise(found) if "output" in after.words]


def printed(folder: Path, block: Block) -> str:
    return (folder / f"{block.line}.out").read_text("utf-8")


def same(kind: str, shown: str, actual: str) -> bool:
    """Whether it printed what is shown; `…` in a text stands for what differs from machine to machine."""
    if kind == "json":
        return bool(json.loads(shown) == json.loads(actual))
    return re.fullmatch(re.escape(shown.strip()).replace("…", ".*"), actual.strip()) is not None


def available() -> str | None:
    """The program that is missing, or None."""
    return next((name for name in ("bash", "curl") if shutil.which(name) is None), None)
