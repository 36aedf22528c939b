"""Part 12: how soon a message to one person is out when the service has nothing else to do."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench import directory, newsletter
from bench.audience import postgresql
from bench.figures import Figure, Part, Ratio
from bench.scale import Bench
from bench.service import Service, serving

TITLE = "12. At rest: from the POST of a message to one person to its outcome on record"
USERS = 100
REST_SECONDS = 0.5
FEW = 5  # times as many as rounds, since one is over in a moment
ONE = json.dumps({"_id": next(newsletter.people(1)).id})


def measure(bench: Bench) -> Part:
    """On both databases, with the checked-in settings."""
    figures = []
    file = directory.create(bench.work / "at-rest.db", USERS)
    figures.append(Figure("SQLite", "ms", _latencies(bench, directory.url_of(file))))
    with _filled() as url:
        if url is not None:
            figures.append(Figure("PostgreSQL", "ms", _latencies(bench, url)))
    ratios = tuple(Ratio(f"ms on {figure.name}", figure.median, 50.0, at_most=True) for figure in figures)
    notes = ["Two processes, transport `memory:`, half a second of rest before each POST."]
    if len(figures) < 2:
        notes.append("Left out: PostgreSQL (none answers at BENCH_POSTGRESQL).")
    return Part("latency", TITLE, ratios, tuple(figures), tuple(notes))


@contextmanager
def _filled() -> Iterator[str | None]:
    with postgresql() as url:
        if url is not None:
            directory.filled(url, USERS).close()
        yield url


def _latencies(bench: Bench, url: str) -> tuple[float, ...]:
    folder = bench.work / "latency"
    folder.mkdir(exist_ok=True)
    with serving(folder / "none.db", processes=2, database_url=url) as service:
        headers = service.headers()
        _one(service, headers)
        return tuple(_one(service, headers) for _ in range(FEW * bench.scale.rounds))


def _one(service: Service, headers: dict[str, str]) -> float:
    time.sleep(REST_SECONDS)
    return service.send(headers, query=ONE).seconds * 1000
