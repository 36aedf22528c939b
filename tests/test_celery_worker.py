"""`mailer worker` of Celery as it is deployed: its metrics, its log, and what it is told by the database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import select

from app import build
from bench.processes import free_port
from mailer.engines.celery import sweep
from mailer.engines.celery.application import make_application, queue_of
from mailer.engines.celery.engine import CeleryEngine
from mailer.engines.celery.task_process import TaskProcess
from mailer.engines.celery.worker import SharedFlag
from mailer.storage.models import SeenWorker
from mailer.storage.notifications import announce_work
from tests.celery_engine import RABBITMQ, REDIS, own_queue
from tests.killable import attempts, settings_for
from tests.service import BIN, ROOT
from tests.test_crash import Campaigns, prepared
from tests.test_metrics import Sample, samples, value

pytestmark = pytest.mark.slow

RECIPIENTS = 400


class RealWorker:
    """A worker with two children that deliver, whose metrics have a port of their own, and whose log is JSON."""

    def __init__(self, folder: Path, made: Campaigns, queue: dict[str, str]) -> None:
        (folder / "tmp").mkdir()
        self.folder = folder
        self.port = free_port()
        settings = {
            "engine": "celery",
            "database_url": made.db.url,
            "transport": f"file:{folder}/outbox?rate=400/second",
            "secret_key": "k" * 40,
            "batch_size": 50,
            "workers": 2,
            "metrics": f"127.0.0.1:{self.port}",
            "log_format": "json",
            **queue,
        }
        environment = {name: text for name, text in os.environ.items() if not name.startswith("MAILER_")}
        environment |= {f"MAILER_{name.upper()}": str(setting) for name, setting in settings.items()}
        self.output = folder / "worker.log"
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [BIN / "mailer", "worker"],
                cwd=ROOT,
                env={**environment, "TMPDIR": str(folder / "tmp")},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def metrics(self) -> dict[Sample, float]:
        """What is served at the port; asked until there is somebody."""
        for _ in attempts(30, pause=0.1):
            try:
                return samples(requests.get(f"http://127.0.0.1:{self.port}/metrics", timeout=10).text)
            except requests.ConnectionError:
                assert self.process.poll() is None, self.output.read_text()
        raise AssertionError(self.output.read_text())

    def listening(self) -> int:
        """The process that listens at the port."""
        shown = subprocess.run(["ss", "-Hltnp", f"sport = :{self.port}"], capture_output=True, text=True, check=True)
        return int(shown.stdout.partition("pid=")[2].partition(",")[0])

    def lines(self) -> list[str]:
        """What it has logged, and whatever else it wrote."""
        return self.output.read_text().splitlines()

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.terminate()
        return self.process.wait(40)


@pytest.fixture(params=[RABBITMQ, REDIS], ids=["rabbitmq", "redis"])
def queue(request: pytest.FixtureRequest) -> dict[str, str]:
    """A queue of this test's own, on each broker in turn."""
    return own_queue(request.param)


@pytest.fixture
def made(postgresql_url: str, tmp_path: Path) -> Iterator[Campaigns]:
    with prepared(settings_for(tmp_path, "memory:", database_url=postgresql_url), RECIPIENTS) as campaigns:
        yield campaigns


@pytest.fixture
def worker(tmp_path: Path, made: Campaigns, queue: dict[str, str]) -> Iterator[RealWorker]:
    running = RealWorker(tmp_path, made, queue)
    yield running
    running.process.kill()
    running.process.wait()


def delivering(made: Campaigns) -> set[int]:
    """The children that deliver."""
    with made.db.read() as connection:
        return set(connection.scalars(select(SeenWorker.pid)))


def until(found: Callable[[], Any]) -> None:
    for _ in attempts(30, pause=0.1):
        if found():
            return
    raise AssertionError("not within 30 s")


@pytest.mark.ci
def test_children_count_together_and_one_of_them_answers(worker: RealWorker, made: Campaigns) -> None:
    until(lambda: len(delivering(made)) == 2)
    made.finish(made.accept())
    one, other = (path.stem.partition("_")[2] for path in counts_of(worker, delivering(made)))
    assert one != other

    found = worker.metrics()

    assert value(found, "mailer_outcomes_total", status="sent") == RECIPIENTS
    assert value(found, "mailer_transport_answers_total", status="sent", about="") == RECIPIENTS
    assert value(found, "mailer_transport_message_seconds_count") == RECIPIENTS
    assert value(found, "mailer_campaigns_planned_total") == 1
    assert value(found, "mailer_workers") == 2
    first = worker.listening()
    os.kill(first, signal.SIGKILL)
    until(lambda: value(worker.metrics(), "mailer_outcomes_total", status="sent") == RECIPIENTS)
    assert worker.listening() != first
    child = next(int(pid) for pid in (one, other) if int(pid) != first)
    os.kill(child, signal.SIGKILL)
    until(lambda: not counts_of(worker, {child}))  # they are added to those of all that have ended
    assert value(worker.metrics(), "mailer_outcomes_total", status="sent") == RECIPIENTS


def counts_of(worker: RealWorker, pids: set[int]) -> list[Path]:
    names = [f"counter_{pid}.db" for pid in pids]
    return [path for path in (worker.folder / "tmp").rglob("counter_*.db") if path.name in names]


@pytest.mark.ci
def test_every_line_is_logged_as_all_lines_are(worker: RealWorker, made: Campaigns) -> None:
    until(lambda: len(delivering(made)) == 2)
    os.kill(min(delivering(made)), signal.SIGKILL)
    until(lambda: any("signal 9" in line for line in worker.lines()))
    made.finish(made.accept())

    assert worker.stop() == 0

    told = [json.loads(line) for line in worker.lines()]
    assert [one for one in told if one["level"] not in ("info", "warning") and "signal 9" not in one["event"]] == []
    assert [one["event"] for one in told if "metrics" in one["event"]] == []
    assert list((worker.folder / "tmp").iterdir()) == []


def test_work_that_others_announce_is_rung_for_at_once(
    postgresql_url: str, tmp_path: Path, queue: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether by `mailer release`, or by a web that only accepts: it need not wait for the sweep."""
    monkeypatch.setattr(sweep, "LOOK_SECONDS", 3600.0)
    settings = settings_for(tmp_path, "memory:", database_url=postgresql_url, engine="celery", **queue)
    services = build(settings)
    told = SharedFlag()
    assert isinstance(services.engine, CeleryEngine)
    parts = services.engine._parts
    tasks = TaskProcess(parts, make_application(settings), told.is_set, services.engine.ring_by)
    services.db.close()
    tasks.keep_running()
    try:
        with make_application(settings).connection_for_write() as connection, connection.channel() as channel:
            waiting = queue_of(settings).bind(channel)
            until(lambda: waiting.queue_declare().message_count)  # its first ring
            for _ in attempts(15, pause=0.5):
                waiting.purge()
                with services.db.write() as transaction:
                    announce_work(transaction)
                if any(waiting.queue_declare().message_count for _ in attempts(1, pause=0.1)):
                    break
            else:
                pytest.fail("nobody rang")
    finally:
        told.set()
        tasks.join()
        services.db.close()
