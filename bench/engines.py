"""Part 8: what the broker costs: Celery beside the local engine, both on PostgreSQL with as many processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import median

from kombu import Connection, Queue

from bench import directory, newsletter
from bench.audience import postgresql
from bench.contestants import Cost
from bench.figures import Figure, Part, Ratio, in_turn
from bench.processes import children, cpu_seconds, stop
from bench.scale import Bench
from bench.service import CALLER, Unfinished
from mailer.campaigns.accept import accept
from mailer.campaigns.draft import make_draft
from mailer.campaigns.progress import progress
from mailer.engines.celery.application import make_application
from mailer.engines.celery.doorbell import Doorbell
from mailer.settings import Settings
from mailer.storage.database import Database

TITLE = "8. Celery beside the local engine, on PostgreSQL"
PROCESSES = 2
BROKERS = {"RabbitMQ": "amqp://guest:guest@127.0.0.1", "Redis": "redis://127.0.0.1:6379/0"}
QUEUE = "mailer-bench"
SECONDS = 600

Pair = tuple[Cost, Cost]  # of the local engine and of Celery


def measure(bench: Bench) -> Part:
    """Both engines send the same campaign at the same time, each over a database of its own."""
    with postgresql() as mine, postgresql() as theirs:
        if mine is None or theirs is None:
            return Part("engines", TITLE, notes=("Left out: PostgreSQL (none answers at BENCH_POSTGRESQL).",))
        people = bench.scale.recipients
        with closing(directory.filled(mine, people)) as one, closing(directory.filled(theirs, people)) as other:
            found = {name: broker for name, broker in BROKERS.items() if _answers(broker)}
            runs = in_turn(bench.scale.rounds, {n: partial(_pair, bench, one, other, b) for n, b in found.items()})
            numbers = {n: partial(_run, bench, one, n, engine="local", workers=1) for n in (1, PROCESSES)}
            alone = in_turn(bench.scale.rounds, numbers)
    for broker in found.values():
        _delete(broker)
    figures = (*_figures(runs), *_alone(alone))
    return Part("engines", TITLE, _ratios(runs), figures, _notes(bench, set(BROKERS) - set(found)))


def _pair(bench: Bench, one: Database, other: Database, broker: str) -> Pair:
    """The local engine and Celery at once, so that whatever else the machine does hits both."""
    celery = {"engine": "celery", "broker_url": broker, "broker_queue": QUEUE, "workers": PROCESSES}
    with ThreadPoolExecutor(2) as threads:
        local = threads.submit(_run, bench, one, PROCESSES, engine="local", workers=1)
        called = threads.submit(_run, bench, other, 1, **celery)
        return local.result(), called.result()


def _run(bench: Bench, db: Database, processes: int, **settings: object) -> Cost:
    """One campaign to everybody, from accepting it to its last recorded outcome; CPU of all the workers."""
    named = {"database_url": db.url, "transport": "memory:?keep=0", "mailbox": "false", "secret_key": "k" * 40}
    named |= {name: str(value) for name, value in settings.items()}
    with _workers(bench.work, processes, named) as workers:
        _settle(workers)
        cpu, begun = _cpu(workers), time.time()
        content = {"sender": newsletter.SENDER, "subject": newsletter.SUBJECT, "body": newsletter.HTML}
        campaign_id = accept(db, CALLER, make_draft(Settings(), **content)).campaign_id
        _announce(settings)
        ends = time.monotonic() + SECONDS
        while (now := progress(db, campaign_id)).finished_at is None:
            if time.monotonic() > ends:
                raise Unfinished(f"{now.state}, {now.sent} of {now.planned} sent")
            time.sleep(0.05)
        return Cost(now.sent, now.finished_at / 1000 - begun, _cpu(workers) - cpu)


@contextmanager
def _workers(folder: Path, processes: int, settings: dict[str, object]) -> Iterator[list[subprocess.Popen[bytes]]]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAILER_")}
    environment = clean | {f"MAILER_{name.upper()}": str(value) for name, value in settings.items()}
    command = [Path(sys.executable).with_name("mailer"), "worker"]
    with (folder / f"workers-{settings['engine']}.log").open("ab") as log:
        started = [  # all in one session, since the kernel shares a busy processor out to sessions
            subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, process_group=0)
            for _ in range(processes)
        ]
    try:
        yield started
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            stop(process)


def _announce(settings: dict[str, object]) -> None:
    """Ring as the web does; the local engine's workers look by themselves."""
    if settings["engine"] == "celery":
        ours = Settings(broker_url=str(settings["broker_url"]), broker_queue=QUEUE)
        bell = Doorbell(make_application(ours), ours)
        bell.ring()
        bell.close()


def _settle(workers: list[subprocess.Popen[bytes]]) -> None:
    """Wait until they have started: until they take no more time."""
    before = -1.0
    while (now := _cpu(workers)) - before > 0.05:
        before = now
        time.sleep(2)


def _cpu(workers: list[subprocess.Popen[bytes]]) -> float:
    return sum(cpu_seconds(pid) for worker in workers for pid in (worker.pid, *children(worker.pid)))


def _answers(broker: str) -> bool:
    with suppress(OSError), Connection(broker, connect_timeout=2) as connection:
        connection.ensure_connection(max_retries=1)
        return True
    return False


def _delete(broker: str) -> None:
    with Connection(broker) as connection:
        Queue(QUEUE, channel=connection.channel()).delete()


def _figures(runs: dict[str, list[Pair]]) -> tuple[Figure, ...]:
    figures = []
    for broker, pairs in runs.items():
        for place, name in enumerate((f"local, beside {broker}", f"Celery on {broker}")):
            costs = [pair[place] for pair in pairs]
            figures.append(Figure(name, "messages/s", tuple(cost.rate for cost in costs)))
            figures.append(Figure(f"{name}: CPU", "us/message", tuple(cost.cpu_us for cost in costs)))
    return tuple(figures)


def _alone(runs: dict[int, list[Cost]]) -> tuple[Figure, ...]:
    """What so many processes of the local engine do with the machine to themselves."""
    names = {number: f"local alone, {number} {'process' if number == 1 else 'processes'}" for number in runs}
    rates = [Figure(names[n], "messages/s", tuple(cost.rate for cost in costs)) for n, costs in runs.items()]
    cpu = [Figure(f"{names[n]}: CPU", "us/message", tuple(cost.cpu_us for cost in costs)) for n, costs in runs.items()]
    return (*rates, *cpu)


def _ratios(runs: dict[str, list[Pair]]) -> tuple[Ratio, ...]:
    """The median of the ratios of the pairs, since each pair had the same machine."""
    ratios = []
    for broker, pairs in runs.items():
        rates = median(celery.rate / local.rate for local, celery in pairs)
        ratios.append(Ratio(f"messages/s: Celery on {broker} / local", rates, 0.8))
        cpu = median(celery.cpu_us / local.cpu_us for local, celery in pairs)
        ratios.append(Ratio(f"CPU per message: Celery on {broker} / local", cpu))
    return tuple(ratios)


def _notes(bench: Bench, missing: set[str]) -> tuple[str, ...]:
    about = (
        f"{bench.scale.recipients:,} recipients each, transport `memory:`, {PROCESSES} processes that deliver: two of "
        "`mailer worker` with the local engine, one with two children with Celery, both at the same time. CPU is that "
        "of all their processes, not of the database and the broker."
    )
    return (about, *(f"Left out: {name} (none answers at its usual port)." for name in sorted(missing)))
