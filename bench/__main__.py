"""`python -m bench`: measure, print the tables, write JSON and a chart into bench/out."""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from bench import (
    accept,
    audience,
    chart,
    distant,
    end_to_end,
    engines,
    fairness,
    files,
    growth,
    instructions,
    latency,
    rendering,
    signing,
    stages,
)
from bench.contestants import has_nodemailer, install_nodemailer, nodemailer_version
from bench.figures import Part, report
from bench.scale import FULL, QUICK, Bench, Scale

OUT = Path(__file__).resolve().parent / "out"
PARTS = (
    "end_to_end",
    "rendering",
    "files",
    "accept",
    "growth",
    "stages",
    "audience",
    "engines",
    "distant",
    "instructions",
    "fairness",
    "latency",
    "signing",
)
NEED_BIG = {"accept", "audience", "fairness"}
LONG = ("engines", "instructions")  # what `--quick` leaves out
QUICKLY = (
    "A quick run: one round and small counts, so that nobody knows how far its figures spread, and starting weighs "
    f"more than in a whole run. Left out: {', '.join(LONG)}; `--only` runs them."
)


@contextmanager
def workplace(scale: Scale, out: Path) -> Iterator[Bench]:
    """A folder on this disk, not in memory, since commits are what takes time; removed afterwards."""
    out.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="work-", dir=out.resolve()))
    try:
        yield Bench(scale, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measured(bench: Bench, wanted: tuple[str, ...]) -> Iterator[Part]:
    """The parts, as they are done."""
    simple: dict[str, Callable[[Bench], Part]] = {
        "end_to_end": end_to_end.measure,
        "rendering": rendering.measure,
        "files": files.measure,
        "growth": growth.measure,
        "stages": stages.measure,
        "engines": engines.measure,
        "distant": distant.measure,
        "instructions": instructions.measure,
        "latency": latency.measure,
        "signing": signing.measure,
    }
    big, imported = audience.make_big(bench) if NEED_BIG & set(wanted) else (bench.work, 0.0)
    for key in wanted:
        if key in simple:
            yield simple[key](bench)
        elif key == "accept":
            yield accept.measure(bench, big)
        elif key == "fairness":
            yield fairness.measure(bench, big)
        else:
            yield audience.measure(bench, big, imported)


def machine() -> str:
    """What it ran on."""
    node = f", Nodemailer {nodemailer_version()}" if has_nodemailer() else ""
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}{node}"


def save(parts: list[Part], seconds: float, out: Path, *, quick: bool = False) -> None:
    """Everything, with each round, as JSON; the tables as Markdown; the chart."""
    content = {"machine": machine(), "quick": quick, "seconds": round(seconds), "parts": [asdict(one) for one in parts]}
    (out / "results.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    blocks = [machine(), *([QUICKLY] if quick else []), *map(report, parts)]
    (out / "results.md").write_text("\n\n".join(blocks) + "\n", "utf-8")
    for part in parts:
        if part.key == "end_to_end" and not chart.draw(part, out / "performance.png"):
            print("Left out: the chart (pip: .[bench]).")


def main(arguments: list[str] | None = None) -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure beside peers; see docs/performance.md."
    )
    parser.add_argument(
        "--quick", action="store_true", help="one round of small counts: two minutes, to be relied on less"
    )
    parser.add_argument("--only", action="append", choices=PARTS, help="measure this part; may be repeated")
    parser.add_argument("--out", type=Path, default=OUT, help="where the results go, and the databases meanwhile")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # else the servers would outlive us
    logging.getLogger("alembic").setLevel("WARNING")
    install_nodemailer()
    begun = before = time.monotonic()
    parts = []
    if options.quick:
        print(QUICKLY, end="\n\n", flush=True)
    usual = tuple(part for part in PARTS if not (options.quick and part in LONG))
    with workplace(QUICK if options.quick else FULL, options.out) as bench:
        for part in measured(bench, tuple(options.only or usual)):
            before, took = time.monotonic(), time.monotonic() - before
            parts.append(replace(part, notes=(*part.notes, f"This part took {took:.0f} s.")))
            print(report(parts[-1]), end="\n\n", flush=True)
            save(parts, time.monotonic() - begun, options.out, quick=options.quick)
    print(f"{machine()}; {time.monotonic() - begun:.0f} s; results and chart are in {options.out.name}/")


if __name__ == "__main__":
    main()
