"""Part 1: from the POST to the last recorded outcome, into smtp-sink, beside everybody else."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench import directory
from bench.audience import postgresql
from bench.contestants import Cost, has_nodemailer, missing, nodemailer, postfix_tool, python_peer, smtp_source
from bench.figures import Figure, Part, Ratio, in_turn
from bench.peers import QUEUE, installed
from bench.processes import smtp_sink
from bench.rendering import message_size
from bench.scale import Bench
from bench.service import Sent, serving

ON_POSTGRESQL = "mailer on PostgreSQL, 1 process"
SHAPES = {"1 process": (1, 1), "1 process of 2 threads": (1, 2), "2 processes": (2, 1)}
SESSIONS = (1, 4, 16)
CONNECTIONS = (1, 5, 10)
TITLE = "1. End to end: POST to the last recorded outcome"
OURS, DEPLOYED, SOURCE, NODEMAILER = "mailer, 1 process", "mailer, 2 processes", "smtp-source", "Nodemailer"
# wanted of one process and of two, by rival; None: no target
TARGETS = {
    NODEMAILER: (12.0, None),
    SOURCE: (0.65, 0.8),
    "django, ": (None, None),
    QUEUE: (None, None),
    "aiosmtplib": (None, None),
    "smtplib": (None, None),
}

Contestants = dict[str, Callable[[], "Cost | Sent"]]


def measure(bench: Bench) -> Part:
    """Everybody in turn."""
    sink = postfix_tool("smtp-sink")
    if sink is None:
        return Part("end_to_end", TITLE, notes=("Left out: there is no smtp-sink (Debian: postfix).",))
    original = directory.create(bench.work / "users.db", bench.scale.recipients)
    with smtp_sink(sink, bench.work) as port:
        contestants: Contestants = {
            f"mailer, {name}": partial(_ours, bench, original, *shape, port) for name, shape in SHAPES.items()
        }
        if _has_postgresql():
            contestants[ON_POSTGRESQL] = partial(_on_postgresql, bench, port)
        contestants |= _peers(bench, port)
        results = in_turn(bench.scale.rounds, contestants)
    return Part("end_to_end", TITLE, _ratios(results), _figures(results), _notes(bench))


def _ours(bench: Bench, original: Path, processes: int, threads: int, port: int) -> Sent:
    database = directory.copy(original, bench.work / "run")
    url = f"smtp://127.0.0.1:{port}"
    with serving(database, processes=processes, workers=threads, transport=url) as service:
        return service.send(service.headers())


def _on_postgresql(bench: Bench, port: int) -> Sent:
    """The same over a database of its own, which is filled first."""
    with postgresql() as url:
        directory.filled(str(url), bench.scale.recipients).close()
        folder = bench.work / "postgresql"
        folder.mkdir(exist_ok=True)
        settings = {"database_url": url, "workers": 1, "transport": f"smtp://127.0.0.1:{port}"}
        with serving(folder / "none.db", **settings) as service:
            return service.send(service.headers())


def _has_postgresql() -> bool:
    with postgresql() as url:
        return url is not None


def _peers(bench: Bench, port: int) -> Contestants:
    scale, contestants = bench.scale, Contestants()
    source = postfix_tool("smtp-source")
    for sessions in SESSIONS if source else ():
        run = partial(smtp_source, str(source), scale.recipients, sessions, message_size(), port)
        contestants[f"{SOURCE}, {sessions} sessions"] = run
    for connections in CONNECTIONS if has_nodemailer() else ():
        run = partial(nodemailer, "pool", scale.peer_messages, connections, port)
        contestants[f"{NODEMAILER}, pool of {connections}"] = run
    for name in ("django", "aiosmtplib", "smtplib"):
        if installed(name):
            contestants[f"{name}, 1 connection"] = partial(python_peer, name, scale.slow_messages, port)
    if installed(QUEUE):
        contestants[QUEUE] = partial(python_peer, QUEUE, scale.slow_messages, port, bench.work / "queue")
    return contestants


def _figures(results: dict[str, list[Cost | Sent]]) -> tuple[Figure, ...]:
    rates = [Figure(name, "messages/s", tuple(run.rate for run in runs)) for name, runs in results.items()]
    cpu = [Figure(f"{name}: CPU", "us/message", tuple(run.cpu_us for run in runs)) for name, runs in results.items()]
    return (*rates, *cpu)


def _ratios(results: dict[str, list[Cost | Sent]]) -> tuple[Ratio, ...]:
    ratios = []
    figures = {figure.name: figure.median for figure in _figures(results)}
    ours, rate = _best(results, OURS)
    for rival, (of_one, of_two) in TARGETS.items():
        name, theirs = _best(results, rival)
        if name:
            ratios.append(Ratio(f"messages/s: {ours} / {name}", rate / theirs, of_one))
            ratios.append(Ratio(f"messages/s: {DEPLOYED} / {name}", figures[DEPLOYED] / theirs, of_two))
    if ON_POSTGRESQL in figures:
        ratios.append(Ratio(f"messages/s: {ON_POSTGRESQL} / {ours}", figures[ON_POSTGRESQL] / rate, 0.6))
    cpu = figures[f"{ours}: CPU"]
    node, _ = _best(results, NODEMAILER)
    if node:
        ratios.append(Ratio(f"CPU per message: {ours} / {node}", cpu / figures[f"{node}: CPU"], 0.1, at_most=True))
    ratios.append(Ratio(f"CPU per message in ms: {ours}", cpu / 1000, 0.055, at_most=True))
    return tuple(ratios)


def _best(results: dict[str, list[Cost | Sent]], rival: str) -> tuple[str, float]:
    """The rival's best configuration and its median rate."""
    medians = {f.name: f.median for f in _figures(results) if f.unit == "messages/s" and f.name.startswith(rival)}
    return max(medians.items(), key=lambda item: item[1]) if medians else ("", 0.0)


def _notes(bench: Bench) -> tuple[str, ...]:
    scale = bench.scale
    notes = [
        f"{scale.recipients:,} recipients for mailer and smtp-source, {scale.peer_messages:,} messages for Nodemailer, "
        f"{scale.slow_messages:,} for the slow ones; a message of the service has {message_size():,} octets.",
        "mailer: gunicorn with so many worker processes, SQLite unless said otherwise, every outcome on record; two "
        "processes are what the checked-in settings start. django-post_office queues and records in SQLite too. The "
        "others record nothing, and smtp-source personalises nothing: it is the limit, not a mailer.",
        "CPU is that of the sending processes, not of smtp-sink.",
    ]
    return (*notes, *(f"Left out: {name}." for name in missing()))
