"""Part 4: how fast a POST is accepted, with a small and a big directory, beside an endpoint that does nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import requests

from bench import directory, newsletter
from bench.figures import Figure, Part, Ratio, in_turn
from bench.load import Latencies, hammer, request_bytes
from bench.scale import Bench
from bench.service import CALLER, serving

TITLE = "4. Accepting a POST"
SMALL = 100
PROCESSES = 2
CONNECTIONS = 8
RATE = "1000000/minute"  # counted as by default, and never used up
IDLE = "bench/gunicorn_idle.py"
BARE = "bare flask-smorest endpoint"
NOBODY = json.dumps({"_id": "nobody"})


def _post(headers: dict[str, str]) -> bytes:
    return request_bytes("/api/v1/mailer", newsletter.payload(query=NOBODY), headers)


def _load(database: Path, app: str, config: str, count: int) -> Latencies:
    with serving(database, processes=PROCESSES, app=app, config=config, rate_limit=RATE) as service:
        headers = service.headers() if app == "wsgi:app" else {"X-User-Id": CALLER, "X-Auth-Token": "t" * 43}
        check = requests.post(f"{service.url}/api/v1/mailer", json=newsletter.payload(), headers=headers, timeout=60)
        check.raise_for_status()
        hammer(service.port, _post(headers), count // 10, CONNECTIONS)  # warm
        return hammer(service.port, _post(headers), count, CONNECTIONS)


def measure(bench: Bench, big: Path) -> Part:
    """Requests a second and latencies. `big` is a database with many users."""
    small = directory.create(bench.work / "small.db", SMALL)
    many = f"mailer, {bench.scale.users:,} users"
    few = f"mailer, {SMALL} users"
    run = partial(_load, config=IDLE, count=bench.scale.requests)
    contestants: dict[str, Callable[[], Latencies]] = {
        BARE: partial(run, small, "bench.bare_app:app"),
        few: partial(run, small, "wsgi:app"),
        many: partial(run, big, "wsgi:app"),
        f"{few}, engine at work": partial(run, small, "wsgi:app", config="gunicorn.conf.py"),
    }
    results = in_turn(bench.scale.rounds, contestants)
    figures = []
    for name, runs in results.items():
        figures.append(Figure(f"{name}: rate", "requests/s", tuple(run.rate for run in runs)))
        for percent in (50, 99):
            values = tuple(run.percentile(percent) * 1000 for run in runs)
            figures.append(Figure(f"{name}: p{percent}", "ms", values))
    part = Part("accept", TITLE, figures=tuple(figures))
    ratios = (
        Ratio(f"requests/s: {few} / bare", _compare(part, few, BARE, "rate"), 0.5),
        Ratio(f"p99: {many} / {few}", _compare(part, many, few, "p99"), 1.2, at_most=True),
        Ratio(f"p50: {many} / {few}", _compare(part, many, few, "p50")),
    )
    notes = (
        f"{PROCESSES} gunicorn worker processes with the checked-in settings, {CONNECTIONS} kept connections. The "
        "engine rests, but for the last rows, so that delivering what was accepted is not measured here.",
        f"The caller's rate is counted as it is by default, but is {RATE}. Repeats are not looked for, since the same "
        "is posted again and again.",
        "The bare endpoint validates the same body and answers; it has no database and no credentials. The service "
        "answers after its commit is on the disk.",
    )
    return Part("accept", TITLE, ratios, part.figures, notes)


def _compare(part: Part, one: str, other: str, what: str) -> float:
    return part.figure(f"{one}: {what}").median / part.figure(f"{other}: {what}").median
