"""Metrics of the service as it is deployed: gunicorn processes that count together, and a worker beside them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from bench.processes import free_port
from mailer.storage.models import DeliveryStatus, User
from tests.conftest import user_row
from tests.killable import attempts
from tests.service import BIN, ROOT, Service
from tests.test_metrics import Sample, samples, value

pytestmark = pytest.mark.slow


class Watched(Service):
    """A service of two processes whose metrics have a port of their own."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.metrics_port = free_port()
        (folder / "tmp").mkdir()
        place = f"127.0.0.1:{self.metrics_port}"
        kept = {"transport": f"file:{folder}/outbox?format=mbox", "rate_limit": "", "metrics": place, **settings}
        super().__init__(folder, workers=2, **kept)
        self.environment["TMPDIR"] = str(folder / "tmp")

    def metrics(self) -> dict[Sample, float]:
        """Read with a connection of its own, so that either process may answer."""
        answer = requests.get(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=30)
        assert answer.status_code == 200
        return samples(answer.text)

    def pids(self) -> set[int]:
        """The workers' ids."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return {int(pid) for pid in children.split()}

    def files(self) -> set[str]:
        """Which processes have counts of their own; `ended` stands for those that have ended."""
        return {path.stem.partition("_")[2] for path in (self.folder / "tmp").rglob("counter_*.db")}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    made = Watched(tmp_path_factory.mktemp("metrics"), batch_size=20)
    with made.db.write() as connection:
        connection.execute(User.__table__.insert(), [user_row(number) for number in range(200)])
    with made:
        yield made


def eventually(found: Callable[[], bool]) -> bool:
    return any(found() for _ in attempts(20, pause=0.05))


def counted(found: dict[Sample, float]) -> dict[str, float]:
    return {status.value: value(found, "mailer_outcomes_total", status=status.value) for status in DeliveryStatus}


def test_counts_add_up_over_processes_and_outlive_one(service: Watched) -> None:
    headers = service.headers("user00000")
    before = service.metrics()
    first = service.finish(headers, service.post(headers))
    assert eventually(lambda: value(service.metrics(), "mailer_batch_seconds_count") == 10)
    after = service.metrics()
    assert counted(after) == {name: first[name] + counted(before)[name] for name in counted(after)}
    assert value(after, "mailer_recipients_planned_total") == first["planned"] == 200
    assert value(after, "mailer_transport_answers_total", status="sent", about="") == first["sent"]
    assert value(after, "mailer_transport_message_seconds_count") == first["sent"]

    (killed, other), kept = (
        sorted(service.pids()),
        {one: number for one, number in after.items() if "http" not in one[0]},
    )
    assert {str(killed), str(other)} <= service.files()
    os.kill(killed, signal.SIGKILL)
    assert eventually(lambda: len(service.pids()) == 2 and killed not in service.pids())
    assert eventually(lambda: "ended" in service.files() and str(killed) not in service.files())
    for _ in range(6):  # whichever process answers
        now = service.metrics()
        assert {name: now[name] for name in kept if "_total" in name[0] or "_bucket" in name[0]} == {
            name: number for name, number in kept.items() if "_total" in name[0] or "_bucket" in name[0]
        }

    second = service.finish(headers, service.post(headers))
    assert eventually(lambda: counted(service.metrics())["sent"] == first["sent"] + second["sent"])
    assert value(service.metrics(), "mailer_campaigns_accepted_total") == 2


def test_minutes_add_up_to_what_the_campaign_says(service: Watched) -> None:
    headers = service.headers("user00000")
    posted = service.post(headers, query='{"_id": {"$lt": "user00050"}}')
    campaign = service.finish(headers, posted)
    answer = service.get(f"{posted.headers['Location']}/minutes", headers).json()
    for status in DeliveryStatus:
        assert sum(one[status.value] for one in answer["minutes"]) == campaign[status.value]
    assert campaign["sent"] == 50


def test_each_port_has_its_own(service: Watched) -> None:
    at_metrics = f"http://127.0.0.1:{service.metrics_port}"
    assert service.get("/metrics").status_code == 404
    for path in ("/healthz", "/api/v1/mailer/campaigns", "/"):
        assert requests.get(at_metrics + path, timeout=30).status_code == 404
    spoofed = {"Host": f"127.0.0.1:{service.metrics_port}"}
    assert requests.get(f"{service.url}/metrics", headers=spoofed, timeout=30).status_code == 404


def test_port_that_is_taken_is_told_at_the_start(service: Watched, tmp_path: Path) -> None:
    command = [BIN / "gunicorn", "-b", f"127.0.0.1:{free_port()}", "wsgi:app"]
    told = {
        f"127.0.0.1:{service.metrics_port}": (1, "MAILER_METRICS: cannot listen at .*: address already in use"),
        command[2]: (2, "MAILER_METRICS: [0-9]+ is the port of the service itself; name another, or true"),
    }
    for place, (code, words) in told.items():
        environment = {**service.environment, "MAILER_METRICS": str(place), "TMPDIR": str(tmp_path)}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == code
        assert re.search(words, done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_worker_answers_for_itself(service: Watched) -> None:
    place = f"127.0.0.1:{free_port()}"
    environment = {**service.environment, "MAILER_METRICS": place}
    worker = subprocess.Popen([BIN / "mailer", "worker"], env=environment, stderr=subprocess.PIPE)
    try:
        found: dict[Sample, float] = {}
        for _ in attempts(30, pause=0.1):
            try:
                found = samples(requests.get(f"http://{place}/metrics", timeout=5).text)
                break
            except requests.ConnectionError:
                continue
        assert value(found, "mailer_database_up") == 1
        assert value(found, "mailer_campaigns_accepted_total") == 0
        assert requests.get(f"http://{place}/readyz", timeout=5).status_code == 404
    finally:
        worker.terminate()
        worker.communicate(timeout=30)


def test_reload_keeps_port_and_counts_and_the_end_leaves_no_files(service: Watched) -> None:
    """The last test: it ends the service."""
    assert service.process is not None
    before, pids = service.metrics(), service.pids()
    os.kill(service.process.pid or 0, signal.SIGHUP)
    assert eventually(lambda: not service.pids() & pids and len(service.pids()) == 2)
    for pid in pids:
        assert eventually(lambda pid=pid: str(pid) not in service.files())
    for _ in attempts(20, pause=0.1):
        if counted(service.metrics()) == counted(before):
            break
    assert counted(service.metrics()) == counted(before)
    assert service.stop() == 0
    assert list((service.folder / "tmp").iterdir()) == []
    assert "Traceback" not in service.output.read_text()
