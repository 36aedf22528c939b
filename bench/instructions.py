"""Part 10: instructions a message by valgrind's callgrind, which other programs on the machine do not move.

`python -m bench.instructions` compares with `instructions.json`, and ends with 1 when a message has become dearer by
more than a twentieth. `--accept` keeps what was measured as what the next runs are compared with.

The road is run in a process under callgrind, which counts from one line on its standard input to the next. Its start
and a first campaign, which fills the caches, are not counted.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import directory, rendering
from bench.contestants import postfix_tool
from bench.figures import Figure, Part, Ratio, report
from bench.processes import smtp_sink
from bench.road import Road
from bench.scale import QUICK, Bench
from mailer.delivery import attempt, turns
from mailer.delivery.outbox import Outbox
from transports import from_url

TITLE = "10. Instructions a message"
BASELINE = Path(__file__).resolve().with_name("instructions.json")
TOLERANCE = 1.05
COUNT = 1_000  # messages that are counted
WARM_UP = 200
SECONDS = 600
ROAD, RENDER, TRANSPORT = "the whole road", "link and render", "transport"
ROWS = (ROAD, RENDER, TRANSPORT)


def available() -> str:
    """What is missing here, for people to read; nothing if all is there."""
    if shutil.which("valgrind") is None:
        return "valgrind (Debian: valgrind)"
    return "" if postfix_tool("smtp-sink") else "smtp-sink (Debian: postfix)"


def key() -> str:
    """What the numbers depend on beside our code."""
    return f"CPython {platform.python_version()}, {platform.machine()}"


def measure(bench: Bench) -> Part:
    """Count, and compare with the baseline of this Python, if there is one."""
    if lacking := available():
        return Part("instructions", TITLE, notes=(f"Left out: {lacking}.",))
    counted = count(bench.work)
    before = baseline()
    ratios = [Ratio(f"{row} / the baseline", counted[row] / before[row], TOLERANCE, at_most=True) for row in before]
    figures = [Figure(row, "instructions", (number,)) for row, number in counted.items()]
    notes = (
        f"{COUNT:,} messages of one delivery thread into smtp-sink, in user space. The start and a first campaign of "
        f"{WARM_UP} are not counted. The whole road has the checkpoints and the claims too.",
        *(() if before else (f"There is no baseline for {key()}.",)),
    )
    return Part("instructions", TITLE, tuple(ratios), tuple(figures), notes)


def baseline() -> dict[str, float]:
    """What was accepted for this Python on this kind of machine; empty if nothing was."""
    stored: dict[str, dict[str, float]] = json.loads(BASELINE.read_text("utf-8"))
    return stored.get(key(), {})


def accept(counted: dict[str, float]) -> None:
    """Keep it as the baseline of this Python."""
    stored = json.loads(BASELINE.read_text("utf-8"))
    stored[key()] = {row: round(number) for row, number in counted.items()}
    BASELINE.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n", "utf-8")


def count(folder: Path) -> dict[str, float]:
    """Instructions a message of each of `ROWS`."""
    with smtp_sink(str(postfix_tool("smtp-sink")), folder) as port:
        return {row: _count(folder, row, port) for row in ROWS}


def _count(folder: Path, row: str, port: int) -> float:
    result = folder / f"callgrind.{ROWS.index(row)}"
    valgrind = ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={result}"]
    command = [*valgrind, sys.executable, "-m", "bench.instructions", "--run", row, str(folder), str(port)]
    fixed = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": ""}  # sets in one order, and no compiling
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | fixed
    )
    with process:
        _await(process, "ready")
        _switch(process.pid, "on")
        _tell(process)
        _await(process, "done")
        _switch(process.pid, "off")
        _tell(process)
    found = re.search(r"^totals: (\d+)", result.read_text("utf-8"), re.MULTILINE)
    if process.returncode or found is None:
        raise RuntimeError(f"callgrind ended with {process.returncode}")
    return int(found[1]) / COUNT


def _switch(pid: int, to: str) -> None:
    subprocess.run(["callgrind_control", "-i", to, str(pid)], check=True, capture_output=True, timeout=SECONDS)


def _await(process: subprocess.Popen[str], word: str) -> None:
    if process.stdout is None or process.stdout.readline().strip() != word:
        raise RuntimeError(f"the process under callgrind did not come to say {word!r}")


def _tell(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None:
        process.stdin.write("\n")
        process.stdin.flush()


def run(row: str, folder: Path, port: int) -> None:
    """In the process under callgrind: warm up, say so, and do what is counted when a line comes.

    There everything takes fifty times as long. So a checkpoint does not end by its time, and nobody asks several times
    a second whose turn it is: on a busy machine that would be counted, and is not what a message takes.
    """
    attempt.CHECKPOINT_SECONDS = turns.ASK_SECONDS = float(SECONDS)
    with _prepared(row, folder, f"smtp://127.0.0.1:{port}") as counted:
        gc.collect()
        gc.freeze()  # else it would be counted how often all that was imported is looked through, which is chance
        for word in ("ready", "done"):
            print(word, flush=True)
            sys.stdin.readline()
            if word == "ready":
                counted()


@contextmanager
def _prepared(row: str, folder: Path, url: str) -> Iterator[Callable[[], object]]:
    if row == ROAD:
        road = Road(directory.create(folder / "road.db", COUNT), from_url(url), Outbox)
        _send(road, json.dumps({"_id": {"$lt": f"user{WARM_UP:07d}"}}))
        yield lambda: _send(road)
        road.close()
        return
    messages = list(rendering.messages(WARM_UP + COUNT if row == TRANSPORT else WARM_UP))
    if row == RENDER:
        yield lambda: sum(1 for _ in rendering.messages(COUNT))
        return
    transport = from_url(url)
    list(transport.send(iter(messages[:WARM_UP])))
    yield lambda: list(transport.send(iter(messages[WARM_UP:])))
    transport.close()


def _send(road: Road[Outbox], query: str = "") -> None:
    road.accept(query)
    road.plan()
    road.deliver()


def main(arguments: list[str] | None = None) -> int:
    """Count, compare, and give the exit code: 1 when a message has become dearer, 2 when nothing can be compared."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.instructions", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--accept", action="store_true", help="keep what is measured as the baseline")
    parser.add_argument("--run", nargs=3, metavar=("ROW", "FOLDER", "PORT"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.run:
        row, folder, port = options.run
        run(row, Path(folder), int(port))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        part = measure(Bench(QUICK, Path(folder)))
    print(report(part))
    if options.accept and part.figures:
        accept({figure.name: figure.median for figure in part.figures})
        return 0
    if not part.ratios:
        return 2
    return 1 if any(ratio.verdict == "missed" for ratio in part.ratios) else 0


if __name__ == "__main__":
    sys.exit(main())
