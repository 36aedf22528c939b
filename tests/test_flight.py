"""A worker that dies in flight, and the next one on its machine: the flight record against the deliveries."""

from __future__ import annotations

import fcntl
import gc
import itertools
import os
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import OperationalError

import mailer.delivery
from mailer.campaigns.invariants import examine
from mailer.delivery.flight.folder import RecordFolder, folder_for
from mailer.delivery.flight.half import HEAD
from mailer.delivery.flight.places import FROM_RECORD
from mailer.delivery.flight.recorder import Recorders
from mailer.delivery.flight.settlement import STOPPED_WORKER
from mailer.delivery.flight.takeover import PATIENCE, Takeover
from mailer.delivery.minutes import recording
from mailer.observer import UNOBSERVED
from mailer.selector import database_at
from mailer.storage.database import Database
from mailer.storage.models import Batch, Delivery, RefusedAddress, User
from tests.databases import migrated_sqlite
from tests.drills import rounds
from tests.harness import Harness, Interrupted
from transports.base import About, Message, Outcome, Status
from transports.memory import MemoryStore, MemoryTransport

BOOT = b"b" * 16
ALL = 12  # recipients, in one batch of three checkpoints


class Killed(KeyboardInterrupt):
    """The process is gone. Nothing in the delivery takes this for an error that it could live with."""


class TwoAhead(MemoryTransport):
    """Draws two messages before it hands over the first, and dies when it has told `outcomes` outcomes."""

    def __init__(self, store: MemoryStore, outcomes: float = float("inf")) -> None:
        super().__init__(store)
        self._left = outcomes

    def send(self, messages: Iterable[Message]) -> Iterator[Outcome]:
        drawn: deque[Message] = deque()
        for message in messages:
            drawn.append(message)
            if len(drawn) == 2:
                yield self._hand_over(drawn.popleft())
        while drawn:
            yield self._hand_over(drawn.popleft())

    def _hand_over(self, message: Message) -> Outcome:
        outcome = self.store.take(message)
        self._left -= 1
        if self._left < 0:
            raise Killed
        return outcome


class Machine:
    """One machine with a folder of records, whose processes come and go over one database."""

    def __init__(self, db: Database, path: Path, boot: bytes = BOOT) -> None:
        self.db = db
        self.folder = RecordFolder(path, boot)
        self.store = MemoryStore()
        self.open = ExitStack()

    def process(self, *, outcomes: float = float("inf"), **settings: Any) -> Harness:
        """A new process; it dies once its transport has told so many outcomes."""
        usual = {"batch_size": ALL, "checkpoint": 4, "lease_seconds": 60}
        transport = TwoAhead(self.store, outcomes)
        return Harness(self.db, transport, recorders=Recorders(self.folder), **{**usual, **settings})

    def die(self, outcomes: int, **settings: Any) -> None:
        """Let a process run until it dies."""
        with pytest.raises(Killed):
            self.process(outcomes=outcomes, **settings).deliverer.run_next(lambda: False)
        self.bury()

    def bury(self) -> None:
        """Close what a process that died had open, as the system does."""
        self.db.clock = lambda _connection: 0
        gc.collect()

    def next_process(self, **settings: Any) -> Harness:
        """A process that finds out who died."""
        harness = self.process(**settings)
        harness.campaign_id = self.campaign_id
        Takeover(self.db, self.folder).look()
        return harness

    def begin(self, add_users: Callable[..., list[str]], users: int = ALL, **settings: Any) -> str:
        """Accept a campaign to so many, and plan it."""
        add_users(self.db, users)
        harness = self.process(**settings)
        self.campaign_id = harness.accept()
        harness.plan()
        return self.campaign_id

    def copies(self) -> Counter[str]:
        return Counter(message.recipient for message in self.store.messages)

    def records(self) -> list[Path]:
        return sorted(self.folder.path.glob("*")) if self.folder.path.exists() else []

    def rows(self) -> dict[str, Any]:
        columns = (Delivery.user_id, Delivery.status, Delivery.attempts, Delivery.uncertain_attempts, Delivery.reply)
        with self.db.read() as connection:
            return {row.user_id: row for row in connection.execute(select(*columns))}

    def doubtful(self) -> set[str]:
        return {f"{name}@example.com" for name, row in self.rows().items() if row.uncertain_attempts}


@pytest.fixture
def machine(any_db: Database, tmp_path: Path) -> Iterator[Machine]:
    made = Machine(any_db, tmp_path / "flight")
    with made.open:
        yield made


# after so many outcomes of a batch of three checkpoints: who is in doubt, and who got a second copy
@pytest.mark.parametrize("outcomes", range(ALL))
def test_death_in_flight_costs_what_was_drawn(db: Database, tmp_path: Path, add_users, outcomes: int) -> None:
    machine = Machine(db, tmp_path / "flight")
    machine.begin(add_users)
    machine.die(outcomes)
    drawn = 1 if outcomes % 4 == 3 else 2
    harness = machine.next_process()
    harness.run()
    assert harness.counts() == {"sent": ALL}
    assert sorted(machine.copies().values()) == [1] * (ALL - 1) + [2]
    assert len(machine.doubtful()) == drawn
    replies = Counter(row.reply for row in machine.rows().values())
    assert replies[FROM_RECORD] == outcomes % 4
    assert examine(db) == []


def test_restart_goes_on_at_once_and_another_machine_waits_for_the_lease(machine: Machine, add_users) -> None:
    machine.begin(add_users)
    machine.die(5)
    elsewhere = Machine(machine.db, machine.folder.path.with_name("elsewhere"))
    elsewhere.campaign_id = machine.campaign_id
    assert elsewhere.next_process().deliverer.run_next(lambda: False) is False
    assert machine.next_process().deliverer.run_next(lambda: False) is True


def test_other_machine_has_the_whole_checkpoint_in_doubt_once_the_lease_is_over(machine: Machine, add_users) -> None:
    machine.begin(add_users)
    machine.die(5)
    elsewhere = Machine(machine.db, machine.folder.path.with_name("elsewhere"))
    elsewhere.campaign_id = machine.campaign_id
    harness = elsewhere.next_process()
    harness.now += harness.lease
    harness.run()
    assert (harness.counts(), len(machine.doubtful())) == ({"sent": ALL}, 4)
    assert len(machine.records()) == 1
    machine.next_process()
    assert machine.records() == []  # no row speaks of it any more


def test_process_that_lives_is_left_alone_and_then_wholly_in_doubt(machine: Machine, add_users) -> None:
    machine.begin(add_users)
    stopped = machine.process(outcomes=5)
    with pytest.raises(Killed):
        stopped.deliverer.run_next(lambda: False)
    harness = machine.next_process()
    assert harness.deliverer.run_next(lambda: False) is False
    harness.now += harness.lease
    harness.run()
    assert (harness.counts(), len(machine.doubtful())) == ({"sent": ALL}, 4)
    assert stopped.outbox.lease > 0  # it was there all the time


def test_batch_without_anybody_in_hand_is_taken_over_too(machine: Machine, add_users) -> None:
    machine.begin(add_users)
    process = machine.process()
    assert process.outbox.claim() is not None
    del process
    machine.bury()
    harness = machine.next_process()
    harness.run()
    assert (harness.counts(), machine.doubtful()) == ({"sent": ALL}, set())


def test_two_deaths_leave_only_those_in_hand_at_both_uncertain(machine: Machine, add_users) -> None:
    machine.begin(add_users)
    machine.die(0)
    harness = machine.next_process()
    del harness
    machine.die(0)
    harness = machine.next_process()
    harness.run()
    resting = {name for name, row in machine.rows().items() if row.status == "uncertain"}
    assert harness.counts() == {"sent": ALL - len(resting), "uncertain": len(resting)}
    assert 0 < len(resting) <= 2
    assert all(machine.rows()[name].uncertain_attempts == 2 for name in resting)


def test_held_uncertain_ones_are_not_sent_again(machine: Machine, add_users) -> None:
    machine.begin(add_users, uncertain="hold")
    machine.die(5, uncertain="hold")
    harness = machine.next_process(uncertain="hold")
    harness.run()
    assert harness.counts() == {"sent": ALL - 2, "uncertain": 2}
    assert {row.reply for row in machine.rows().values() if row.status == "uncertain"} == {STOPPED_WORKER}


OUTCOMES = [pair for pair in itertools.product(Status, About) if pair[0] is not Status.SENT or pair[1] is About.MESSAGE]


def with_outcome(machine: Machine, status: Status, about: About) -> None:
    machine.store.answer("user00000@example.com", status, about=about, reply="so it was")


@pytest.mark.parametrize(("status", "about"), OUTCOMES, ids=str)
def test_outcome_from_the_record_leads_to_what_it_leads_to_alive(
    machine: Machine, add_users, status: Status, about: About
) -> None:
    limits = {"suppress_after": 3, "batch_size": 10}
    machine.begin(add_users, 3, **limits)
    with_outcome(machine, status, about)
    machine.die(1, **limits)
    with closing_claim(machine, **limits):
        after, refused_after = record_of_first(machine)
    machine.store.clear()
    with_outcome(machine, status, about)
    process = machine.process(**limits)
    machine.campaign_id = process.accept()
    process.plan()
    process.deliverer.run_next(lambda: False)
    alive, refused = record_of_first(machine)
    assert (refused_after, refused) in ((0, 0), (1, 2))  # campaigns in which the address was refused
    assert (refused > 0) == ((status, about) == (Status.REFUSED, About.ADDRESS))
    if alive is None:
        assert after is None  # whoever is at fault beyond the recipient shows it again at the next message
        return
    assert after[:-2] == alive[:-2]
    assert (alive.reply, after.reply) == ("so it was", FROM_RECORD)
    assert (alive.due_at is None) == (after.due_at is None)


@contextmanager
def closing_claim(machine: Machine, **settings: Any) -> Iterator[None]:
    """While a process has taken over and has not sent anything yet."""
    process = machine.next_process(**settings)
    assert process.outbox.claim() is not None
    yield


def record_of_first(machine: Machine) -> tuple[Any, int]:
    columns = (Delivery.status, Delivery.attempts, Delivery.uncertain_attempts, Delivery.reply, Delivery.due_at)
    mine = (Delivery.campaign_id == machine.campaign_id, Delivery.user_id == "user00000")
    with machine.db.read() as connection:
        refused = connection.scalar(select(RefusedAddress.campaigns)) or 0
        return connection.execute(select(*columns).where(*mine)).one_or_none(), refused


def test_user_who_left_meanwhile_counts_for_no_address(machine: Machine, add_users) -> None:
    machine.begin(add_users, 3)
    with_outcome(machine, Status.REFUSED, About.ADDRESS)
    machine.die(1, suppress_after=1)
    with machine.db.write() as connection:
        connection.execute(delete(User).where(User.id == "user00000"))
    machine.next_process(suppress_after=1).run()
    assert record_of_first(machine)[0].status == "failed"
    assert record_of_first(machine)[1] == 0


def truncated(path: Path, _machine: Machine) -> None:
    path.write_bytes(path.read_bytes()[:100])


def garbled(path: Path, _machine: Machine) -> None:
    path.write_bytes(path.read_bytes().replace(b"mflight1", b"mflight2"))


def with_a_byte_that_nobody_writes(path: Path, _machine: Machine) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: HEAD + 3] + b"\xfe" + content[HEAD + 4 : 4096 + HEAD + 3] + b"\xfe" * 2 + bytes(4000))


def missing(path: Path, _machine: Machine) -> None:
    path.unlink()


def without_the_last(path: Path, machine: Machine) -> None:
    """A file as it was when the checkpoint before was in hand."""
    with machine.db.write() as connection:
        connection.execute(update(Batch).values(checkpoint=Batch.checkpoint + 1))


def of_another_boot(_path: Path, machine: Machine) -> None:
    machine.folder.boot = b"o" * 16


def of_another_holder(_path: Path, machine: Machine) -> None:
    """As after a restore from a backup: the fence was given out anew."""
    with machine.db.write() as connection:
        connection.execute(update(Batch).values(fence=Batch.fence + 1))


def held(path: Path, machine: Machine) -> None:
    fcntl.flock(machine.open.enter_context(path.open("rb")), fcntl.LOCK_EX)


def linked(path: Path, machine: Machine) -> None:
    path.rename(machine.folder.path.with_name("moved"))
    path.symlink_to(machine.folder.path.with_name("moved"))


BAD = [truncated, garbled, with_a_byte_that_nobody_writes, missing, without_the_last, of_another_boot,
       of_another_holder, held, linked]  # fmt: skip


@pytest.mark.parametrize("spoil", BAD, ids=lambda each: each.__name__)
def test_record_that_cannot_be_relied_on_leaves_the_whole_checkpoint_in_doubt(
    machine: Machine, add_users, spoil: Callable[[Path, Machine], None]
) -> None:
    machine.begin(add_users)
    machine.die(5)
    (path,) = machine.records()
    spoil(path, machine)
    harness = machine.next_process()
    assert harness.deliverer.run_next(lambda: False) is False  # nobody is known to be dead
    harness.now += harness.lease
    harness.run()
    assert (harness.counts(), len(machine.doubtful())) == ({"sent": ALL}, 4)
    assert max(machine.copies().values()) <= 2


def test_record_of_another_service_is_read_by_nobody_else(
    any_db: Database, sqlite_db_2: Database, tmp_path: Path, add_users
) -> None:
    """Two services on one machine with one state folder; each has a dead worker and a living one."""
    machines = [Machine(db, folder_for(db, str(tmp_path)).path) for db in (any_db, sqlite_db_2)]
    for machine in machines:
        machine.begin(add_users, 2 * ALL)
        machine.die(5)
    alive = [machine.process() for machine in machines]
    claims = [process.outbox.claim() for process in alive]
    assert None not in claims
    assert [len(machine.records()) for machine in machines] == [2, 2]
    harness = machines[0].next_process()
    assert harness.deliverer.run_next(lambda: False)  # the dead one's batch
    assert not harness.deliverer.run_next(lambda: False)  # and not the living one's
    assert [len(machine.doubtful()) for machine in machines] == [2, 0]
    assert len(machines[1].records()) == 2
    harness = machines[1].next_process()
    harness.run()
    assert len(machines[1].doubtful()) == 2


@pytest.fixture
def sqlite_db_2(tmp_path: Path) -> Iterator[Database]:
    database = database_at(migrated_sqlite(tmp_path / "second.db"))
    yield database
    database.close()


def test_batch_over_which_processes_die_again_and_again_waits_for_its_lease(machine: Machine, add_users) -> None:
    machine.begin(add_users)
    for _ in range(PATIENCE):
        process = machine.process()
        claim = process.outbox.claim()
        assert claim is not None
        process.outbox.checkpoint(claim, [], process.outbox.due_items(claim)[:4], ALL)
        del process
        machine.bury()
        machine.next_process()
        machine.bury()
    process = machine.next_process()
    assert process.outbox.claim() is not None
    with machine.db.read() as connection:
        assert connection.scalar(select(Batch.takeovers)) == PATIENCE
    del process
    machine.bury()
    harness = machine.next_process()
    assert harness.deliverer.run_next(lambda: False) is False
    harness.now += harness.lease
    harness.run()
    assert harness.counts() == {"sent": ALL}


def test_outcome_on_record_shows_that_the_batch_kills_nobody(machine: Machine, add_users) -> None:
    machine.begin(add_users)
    for outcomes in (0, 0, 1):
        machine.die(outcomes)
        machine.next_process()
        machine.bury()
    process = machine.next_process()
    claim = process.outbox.claim()
    assert claim is not None
    assert claim.takeovers == 0


def test_holder_with_older_code_is_left_alone(machine: Machine, add_users) -> None:
    """It raises the fence and leaves the number, so a record of whoever had the batch before is about nothing."""
    machine.begin(add_users)
    machine.die(5)
    with machine.db.write() as connection:
        connection.execute(update(Batch).values(fence=Batch.fence + 1, attempting=["user00000"]))
    assert Takeover(machine.db, machine.folder).look() == 0
    assert machine.records() == []


def test_end_of_a_thread_while_the_database_is_away_loses_no_outcome(machine: Machine, add_users) -> None:
    machine.begin(add_users)
    end_while_the_database_is_away(machine)
    machine.bury()
    harness = machine.next_process()
    harness.run()
    assert (harness.counts(), machine.doubtful()) == ({"sent": ALL}, set())
    assert set(machine.copies().values()) == {1}


def end_while_the_database_is_away(machine: Machine) -> None:
    def away() -> None:
        raise OperationalError("x", {}, Exception("away"))

    process = machine.process()
    with closing(Interrupted(machine.db, 3, away)) as db:  # at the second checkpoint
        process.outbox._db, process.outbox._recording = db, partial(recording, db, UNOBSERVED)
        with pytest.raises(OperationalError):
            process.deliverer.run_next(lambda: machine.store.arrived > 0)


def test_records_are_gone_when_all_is_done(machine: Machine, add_users) -> None:
    machine.begin(add_users)
    machine.die(5)
    machine.next_process().run()
    machine.bury()
    Takeover(machine.db, machine.folder).look()
    assert machine.records() == []


def test_look_goes_on_after_errors(machine: Machine, add_users, caplog: pytest.LogCaptureFixture) -> None:
    machine.begin(add_users)
    machine.die(5)
    stopping = threading.Event()
    answers = iter([OperationalError("x", {}, Exception("away")), PermissionError("no"), None])

    def look() -> int:
        error = next(answers)
        if error is not None:
            raise error
        stopping.set()
        return 0

    takeover = Takeover(machine.db, machine.folder)
    takeover.look = look  # type: ignore[method-assign]
    takeover.run_periodically(stopping)
    assert caplog.text.count("flight records:") == 2


PACKAGE = str(Path(mailer.delivery.__file__).parent)
PARTS = 4  # so that a test of all lines is short enough
TRACED = ("recorder.py", "half.py", "outbox.py", "attempt.py", "ledger.py", "settlement.py", "places.py")


class KillAtLine:
    """Raises `Killed` when the delivery comes to its `nth` line, wherever that is; notes which lines it came to."""

    def __init__(self, nth: int) -> None:
        self.nth = nth
        self.lines: list[tuple[str, int]] = []

    def __enter__(self) -> KillAtLine:
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _call(self, frame: FrameType, _event: str, _what: Any) -> Any:
        path = Path(frame.f_code.co_filename)
        mine = path.name in TRACED and str(path).startswith(PACKAGE)
        return self._line if mine else None

    def _line(self, frame: FrameType, event: str, _what: Any) -> Any:
        if event == "line":
            self.lines.append((frame.f_code.co_filename, frame.f_lineno))
        if len(self.lines) == self.nth:
            sys.settrace(None)
            raise Killed
        return self._line


def lines_of_a_batch(machine: Machine) -> list[int]:
    """The first two times at each line that a batch comes to: at its first checkpoint, and later."""
    with KillAtLine(0) as trace:
        machine.process().deliverer.run_next(lambda: False)
    times: Counter[tuple[str, int]] = Counter()
    first = []
    for nth, line in enumerate(trace.lines, 1):
        times[line] += 1
        if times[line] <= 2:
            first.append(nth)
    return first


@pytest.mark.ci
@pytest.mark.drill
@pytest.mark.parametrize("part", range(PARTS))
def test_kill_at_any_line_costs_at_most_what_was_drawn(tmp_path: Path, add_users, part: int) -> None:
    """At each line of a claim, of checkpoints, of writing the record, of sending and of a release."""
    path = tmp_path / "mailer.db"
    with copied_database(path) as machine:
        campaign_id = machine.begin(add_users)
    begun = path.read_bytes()
    with copied_database(path) as machine:
        lines = lines_of_a_batch(machine)
    assert len(lines) > 200
    for nth in lines[part :: PARTS * rounds(24, 1)]:
        path.write_bytes(begun)
        with copied_database(path) as machine:
            machine.campaign_id = campaign_id
            kill_at(machine, nth)


def kill_at(machine: Machine, nth: int) -> None:
    with KillAtLine(nth), pytest.raises(Killed):
        machine.process().deliverer.run_next(lambda: False)
    machine.bury()
    close_what_was_just_opened(machine)
    harness = machine.next_process()
    harness.run()
    doubtful = machine.doubtful()
    assert harness.counts() == {"sent": ALL}, nth
    assert len(doubtful) <= 2, nth
    assert {address for address, count in machine.copies().items() if count > 1} <= doubtful, nth
    assert set(machine.copies()) == {f"user{number:05d}@example.com" for number in range(ALL)}, nth
    assert machine.store.arrived <= ALL + 2, nth
    assert examine(machine.db) == [], nth
    del harness
    machine.bury()
    Takeover(machine.db, machine.folder).look()
    assert machine.records() == [], nth


def close_what_was_just_opened(machine: Machine) -> None:
    """A file of which the recorder does not know yet."""
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            if machine.folder.path in entry.readlink().parents:
                os.close(int(entry.name))


@contextmanager
def copied_database(path: Path) -> Iterator[Machine]:
    db = database_at(f"sqlite:///{path}" if path.exists() else migrated_sqlite(path))
    try:
        yield Machine(db, path.with_name("flight"))
    finally:
        db.close()
