"""Writing to SQLite: in turn, and on the disk before anybody is told."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from mailer.selector import database_at
from mailer.storage.database import Database


class Disk:
    """What a power cut would leave: the files as they were when the last `fdatasync` of the log began."""

    def __init__(self, folder: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._copy = copy
        self._real = os.fdatasync
        self.rounds = 0
        self.wait: Callable[[], object] = lambda: None
        monkeypatch.setattr(os, "fdatasync", self._sync)

    def _sync(self, file: int) -> None:
        assert Path(f"/proc/self/fd/{file}").readlink().name == "test.db-wal"
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self._folder, self._copy)
        self.rounds += 1
        self._real(file)
        self.wait()

    def rows(self) -> set[int]:
        """The numbers that would still be there."""
        with closing(sqlite3.connect(self._copy / "test.db")) as connection:
            return {row[0] for row in connection.execute("SELECT number FROM numbers")}


@pytest.fixture
def database(tmp_path: Path) -> Database:
    made = database_at(f"sqlite:///{tmp_path}/data/test.db")
    with made.write() as connection:
        connection.execute(text("CREATE TABLE numbers (number INTEGER)"))
    return made


@pytest.fixture
def disk(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(tmp_path / "data", tmp_path / "copy", monkeypatch)


def put(database: Database, number: int, *, durable: bool = True) -> None:
    with database.write(durable=durable) as connection:
        connection.execute(text("INSERT INTO numbers VALUES (:n)"), {"n": number})


def numbers(database: Database) -> set[int]:
    with database.read() as connection:
        return set(connection.scalars(text("SELECT number FROM numbers")))


def test_every_returned_write_outlives_a_power_cut(database: Database, disk: Disk) -> None:
    for number in range(20):
        put(database, number)
        assert disk.rows() == set(range(number + 1))
    assert disk.rounds == 20


def test_log_that_begins_anew_is_on_the_disk_as_well(database: Database, disk: Disk, tmp_path: Path) -> None:
    put(database, 1)
    database.close()
    assert not (tmp_path / "data" / "test.db-wal").exists()
    put(database, 2)
    assert disk.rows() == {1, 2}


def test_log_of_a_linked_database_is_found(database: Database, disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "data" / "test.db")
    put(database_at(f"sqlite:///{tmp_path}/link.db"), 1)
    assert disk.rows() == {1}


def test_write_that_need_not_be_durable_waits_for_no_disk(database: Database, disk: Disk) -> None:
    put(database, 1, durable=False)
    assert (disk.rounds, numbers(database)) == (0, {1})
    put(database, 2)
    assert (disk.rounds, disk.rows()) == (1, {1, 2})


def test_one_round_serves_all_who_wait(database: Database, disk: Disk) -> None:
    going, go = threading.Event(), threading.Event()
    disk.wait = lambda: (going.set(), go.wait(30))
    first = threading.Thread(target=put, args=(database, 0))
    first.start()
    going.wait(30)
    others = [threading.Thread(target=put, args=(database, number)) for number in range(1, 9)]
    for other in others:
        other.start()
    while len(numbers(database)) < 9:
        time.sleep(0.01)

    assert all(other.is_alive() for other in others)  # committed, but not yet on the disk
    go.set()
    for thread in (first, *others):
        thread.join(30)
    assert (disk.rounds, disk.rows()) == (2, set(range(9)))


def test_disk_that_failed_is_believed_no_more(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", fail)
        with pytest.raises(OperationalError, match="Input/output error"):
            put(database, 1)
    with pytest.raises(OperationalError, match="Input/output error"):
        put(database, 2)


def test_all_who_wait_learn_that_the_disk_failed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    going, go = threading.Event(), threading.Event()

    def fail(_file: int) -> None:
        going.set()
        go.wait(30)
        raise OSError(errno.EIO, "Input/output error")

    refused = []

    def try_to_put(number: int) -> None:
        with pytest.raises(OperationalError):
            put(database, number)
        refused.append(number)

    monkeypatch.setattr(os, "fdatasync", fail)
    threads = [threading.Thread(target=try_to_put, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    going.wait(30)
    go.set()
    for thread in threads:
        thread.join(30)
    assert sorted(refused) == [0, 1, 2, 3]


def test_turn_of_a_writer_that_fails_goes_on_to_the_next(database: Database) -> None:
    with pytest.raises(OperationalError), database.write() as connection:
        connection.execute(text("INSERT INTO nowhere VALUES (1)"))
    put(database, 1)
    assert numbers(database) == {1}


LOCK = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
connection.execute("COMMIT")
"""


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, 30], ids=["for a moment", "for long"])
def test_lock_of_another_process(database: Database, tmp_path: Path, seconds: float) -> None:
    patient = database_at(database.url, lock_timeout=1.0)
    command = [sys.executable, "-c", LOCK, str(tmp_path / "data" / "test.db"), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout
        other.stdout.readline()
        if seconds < 1:
            put(patient, 1)
            assert numbers(database) == {1}
        else:
            with pytest.raises(OperationalError, match="database is locked"):
                put(patient, 1)
            assert numbers(database) == set()
        other.kill()


def test_turn_that_does_not_come_is_a_locked_database(database: Database) -> None:
    database = database_at(database.url, lock_timeout=0.1)
    with database.write():
        impatient: list[BaseException] = []

        def try_to_put() -> None:
            with pytest.raises(OperationalError, match="database is locked") as refusal:
                put(database, 1)
            impatient.append(refusal.value)

        thread = threading.Thread(target=try_to_put)
        thread.start()
        thread.join(30)
    assert impatient


@pytest.mark.slow
def test_writers_of_many_threads_and_processes_all_get_their_turn(database: Database) -> None:
    code = "import sys; from tests.test_sqlite_writes import write_many; write_many(sys.argv[1], int(sys.argv[2]))"
    started = [subprocess.Popen([sys.executable, "-c", code, database.url, str(base)]) for base in (0, 1000, 2000)]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    assert numbers(database) == {base + number for base in (0, 1000, 2000) for number in range(80)}


def write_many(url: str, base: int) -> None:
    """Write 80 numbers by four threads."""
    database = database_at(url)

    def write(first: int) -> None:
        for number in range(first, first + 20):
            put(database, base + number)

    threads = [threading.Thread(target=write, args=(first,)) for first in range(0, 80, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
