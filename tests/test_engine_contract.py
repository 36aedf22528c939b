"""What holds for every engine, on both databases. To put another one to it, add its class to ENGINES."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from mailer.campaigns.accept import accept
from mailer.campaigns.draft import Draft, compile_campaign
from mailer.campaigns.invariants import examine
from mailer.campaigns.planning import Planner
from mailer.campaigns.progress import Progress, progress
from mailer.delivery.deliverer import Deliverer
from mailer.delivery.outbox import Outbox
from mailer.engines import Engine, EngineParts, engine_class
from mailer.messages.links import Links
from mailer.selector import database_at
from mailer.settings import Settings
from tests.celery_engine import RABBITMQ, REDIS, celery_over
from tests.conftest import altered
from tests.databases import migrated_sqlite
from tests.killable import attempts
from tests.test_crash import locked
from transports.memory import MemoryTransport

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "mailer-engine-sequential" / "mailer_engine_sequential.py"
DRAFT = Draft("", "news@example.com", "Hi [fname]", "Hello [unsubscribe]", {}, dry_run=False)
CHECKPOINT = 3


def example_engine() -> type[Engine]:
    """The class in the example package, which is not installed."""
    spec = spec_from_file_location(EXAMPLE.stem, EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    found: type[Engine] = module.SequentialEngine
    return found


ENGINES: dict[str, Callable[[], type[Engine]]] = {
    "celery-rabbitmq": lambda: celery_over(RABBITMQ),
    "celery-redis": lambda: celery_over(REDIS),
    "example": example_engine,
    "local": lambda: engine_class("local"),
}
CASES = [
    pytest.param((name, kind), id=f"{name}-{kind}", marks=[pytest.mark.slow] if kind == "postgresql" else [])
    for name in sorted(ENGINES)
    for kind in ("sqlite", "postgresql")
    if kind == "postgresql" or not name.startswith("celery")
]


class Process:
    """The parts of one process of the service, and its engine; the transport may be that of another one."""

    def __init__(
        self,
        url: str,
        make: type[Engine],
        *,
        transport: MemoryTransport | None = None,
        lease: int = 60,
        workers: int = 2,
    ) -> None:
        more = getattr(make, "settings", {})
        self.settings = Settings(
            url, secret_key=("k" * 40,), checkpoint=CHECKPOINT, lease_seconds=lease, workers=workers, **more
        )
        self.db = database_at(url, lock_timeout=1.0)
        self.transport = transport or MemoryTransport()
        self.store = self.transport.store
        links = Links(self.settings.secret_key, "http://x")
        outbox = Outbox(self.db, lease=lease * 1000)
        template_of = partial(compile_campaign, self.db, self.settings)
        self.deliverer: Any = Deliverer(outbox, self.transport, links, self.settings, template_of)
        self.planner = Planner(self.db, 10, lease * 1000)
        self.tasks: dict[str, Callable[[threading.Event], None]] = {}
        self.make = make

    def parts(self) -> EngineParts:
        """What the engine is made from."""
        return EngineParts(self.deliverer, self.planner, self.settings, self.db, self.tasks)

    def start(self) -> Engine:
        """The engine, made and started."""
        self.engine = self.make(self.parts())
        self.engine.start()
        return self.engine

    def accept(self) -> str:
        """Accept a campaign to everybody, and tell no engine."""
        return accept(self.db, "user00000", DRAFT).campaign_id

    def finish(self, campaign_id: str, seconds: float = 60) -> Progress:
        """The campaign at its end; the invariants hold."""
        for _ in attempts(seconds, pause=0.05):
            now = progress(self.db, campaign_id)
            if now.finished_at:
                break
        assert now.state == "completed"
        assert examine(self.db) == []
        return now

    def copies(self) -> Counter[str]:
        """How many messages arrived at each address."""
        return Counter(message.recipient for message in self.store.messages)

    def close(self) -> None:
        """Stop the engine, if it was started, and close the database."""
        if hasattr(self, "engine"):
            self.engine.stop(20)
        self.db.close()


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The name of each engine in turn, and each kind of database that it can work with."""
    return request.param


@pytest.fixture
def make(case: tuple[str, str]) -> type[Engine]:
    """The engine's class."""
    return ENGINES[case[0]]()


@pytest.fixture
def database_url(case: tuple[str, str], request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a migrated database without rows."""
    if case[1] == "sqlite":
        return migrated_sqlite(tmp_path / "mailer.db")
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def process(database_url: str, make: type[Engine], add_users: Callable[..., Any]) -> Iterator[Process]:
    """A process over a database with 25 users, three batches for a campaign."""
    with closing(Process(database_url, make)) as made:
        add_users(made.db, 25)
        yield made


@pytest.fixture
def another(database_url: str, make: type[Engine], process: Process) -> Iterator[Callable[..., Process]]:
    """Makes more processes over the same database and transport."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(
            closing(Process(database_url, make, transport=process.transport, **options))
        )


FORKED = """
import os, sys, threading
from tests.test_engine_contract import ENGINES, Process
process = Process(sys.argv[2], ENGINES[sys.argv[1]]())
campaign_id = process.accept()
engine = process.make(process.parts())
assert threading.active_count() == 1, "making an engine starts no thread"
process.db.close()
child = os.fork()
if child == 0:
    engine.start()
    sent = process.finish(campaign_id).sent
    assert engine.trouble() is None
    assert engine.stop(20)
    os._exit(0 if sent == 25 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert threading.active_count() == 1
assert engine.trouble() is not None, "it runs in the child only"
"""


@pytest.mark.slow
@pytest.mark.usefixtures("make")  # where no broker answers, it is skipped here
def test_made_before_a_fork_it_runs_in_the_child_and_only_there(
    case: tuple[str, str], database_url: str, add_users: Callable[..., Any]
) -> None:
    with closing(database_at(database_url)) as db:
        add_users(db, 25)

    done = subprocess.run(
        [sys.executable, "-c", FORKED, case[0], database_url],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_engine_that_is_not_started_says_so_and_can_be_stopped(process: Process) -> None:
    engine = process.make(process.parts())

    assert engine.trouble() is not None
    assert engine.stop(1)


@pytest.mark.parametrize("told", [True, False], ids=["told", "not told"])
def test_new_work_is_noticed(process: Process, told: bool) -> None:
    engine = process.start()

    campaign_id = process.accept()
    if told:
        engine.wake()

    assert process.finish(campaign_id).sent == 25
    assert engine.trouble() is None


def test_tasks_run_until_it_stops(process: Process) -> None:
    began, ended = threading.Event(), threading.Event()

    def task(stopping: threading.Event) -> None:
        began.set()
        stopping.wait(30)
        ended.set()

    process.tasks = {"task": task}
    engine = process.start()

    assert began.wait(20)
    assert not ended.is_set()
    assert engine.stop(20)
    assert ended.is_set()


def test_stop_ends_after_the_checkpoint_in_hand_and_another_process_goes_on(
    process: Process, another: Callable[..., Process]
) -> None:
    gate = process.store.hold()
    campaign_id = process.accept()
    engine = process.start()
    assert gate.wait_reached(20)

    assert not engine.stop(0.3)  # the message is with the transport
    gate.open()
    assert engine.stop(20)

    sent = len(process.copies())
    assert sent in (CHECKPOINT, 2 * CHECKPOINT)  # of each thread that had a batch
    assert progress(process.db, campaign_id).sent == sent
    assert examine(process.db) == []
    other = another()
    other.start()
    assert other.finish(campaign_id).sent == 25
    assert set(process.copies().values()) == {1}


@pytest.mark.slow
def test_lease_is_kept_while_a_batch_takes_longer(
    process: Process, another: Callable[..., Process], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    gate = process.store.hold()
    campaign_id = process.accept()
    slow = another(lease=2)
    slow.start()
    assert gate.wait_reached(20)
    another(lease=2).start()  # would take the batches whose lease has ended

    threading.Event().wait(5)
    gate.open()

    assert process.finish(campaign_id).sent == 25
    assert set(process.copies().values()) == {1}
    assert "lease lost" not in caplog.text


def away(url: str) -> AbstractContextManager[None]:
    """The database takes no writes, or no connections at all."""
    if url.startswith("sqlite"):
        return locked(Path(url.removeprefix("sqlite:///")))
    return altered(url, "ALLOW_CONNECTIONS false")


@pytest.mark.slow
def test_database_that_is_away_for_a_while_is_waited_for(process: Process, database_url: str) -> None:
    gate = process.store.hold()
    campaign_id = process.accept()
    engine = process.start()
    assert gate.wait_reached(20)

    with away(database_url):
        gate.open()
        threading.Event().wait(4)
        assert engine.trouble() is None

    assert process.finish(campaign_id).sent == 25
    assert set(process.copies().values()) == {1}


class Failing:
    """A deliverer whose first runs and first heartbeats end with an error that is no campaign's."""

    def __init__(self, real: Deliverer, times: int) -> None:
        self._real = real
        self.work_is_due = real.work_is_due
        self._left = {"run_next": times, "heartbeat": times}
        self._lock = threading.Lock()

    def run_next(self, *when: Callable[[], bool]) -> bool:
        """Fail, or deliver."""
        self._fail("run_next")
        return self._real.run_next(*when)

    def heartbeat(self) -> None:
        """Fail, or extend the leases."""
        self._fail("heartbeat")
        self._real.heartbeat()

    def _fail(self, name: str) -> None:
        with self._lock:
            self._left[name] -= 1
            if self._left[name] >= 0:
                raise LookupError("at ann@example.com")


def test_deliverer_that_raises_is_called_again_and_the_log_has_no_address(
    process: Process, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr("mailer.engines.worker.PAUSE_AFTER_TROUBLE", 0.01)
    process.deliverer = Failing(process.deliverer, 3)

    engine = process.start()

    assert process.finish(process.accept()).sent == 25
    assert engine.trouble() is None
    assert sum("Traceback" in record.getMessage() for record in caplog.records) == 1  # the same error is told once
    assert "@example.com" not in caplog.text


class WithoutHeartbeat:
    """A deliverer that runs batches and lets their leases end, as in a process that stands still."""

    def __init__(self, real: Deliverer) -> None:
        self.run_next = real.run_next
        self.work_is_due = real.work_is_due

    def heartbeat(self) -> None:
        """Extend nothing."""


@pytest.mark.slow
def test_batch_that_is_run_twice_is_recorded_once(
    process: Process, another: Callable[..., Process], database_url: str, make: type[Engine]
) -> None:
    gate = process.store.hold()
    campaign_id = process.accept()
    late = another(lease=2, workers=1)  # so that no other thread of it takes the batch over
    late.deliverer = WithoutHeartbeat(late.deliverer)
    engine = late.start()
    assert gate.wait_reached(20)

    with closing(Process(database_url, make)) as other:  # a lease long enough that a busy machine does not end it
        other.start()
        assert other.finish(campaign_id).sent == 25
        gate.open()  # what the first one had in hand arrives a second time, and nothing after it
        assert engine.stop(20)

        assert set(other.copies().values()) == {1}
        assert len(other.copies()) == 25
        assert late.store.arrived <= late.settings.workers
        assert progress(process.db, campaign_id).sent == 25
        assert examine(process.db) == []


def test_two_engines_on_one_database_send_everything_once(
    process: Process, another: Callable[..., Process], add_users: Callable[..., Any]
) -> None:
    campaign_ids = [process.accept() for _ in range(4)]
    others = [another(), another()]

    for each in others:
        each.start()

    for campaign_id in campaign_ids:
        assert process.finish(campaign_id).sent == 25
    assert set(process.copies().values()) == {4}
    assert all(each.engine.trouble() is None for each in others)
