"""A disk that is nearly full: every 200 is in the database, and what was not taken says so."""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.exc import OperationalError

from mailer.directory.imports import import_users
from mailer.selector import database_at
from mailer.storage.models import Campaign, User
from tests.conftest import user_row
from tests.databases import migrated_sqlite
from tests.drills import rounds
from tests.recording_smtp import recording_smtp
from tests.service import Service

pytestmark = pytest.mark.slow

POSTERS = 10
ROUNDS = rounds(2, 10)
SIZES = (1_000, 10_000, 100_000, 400_000, 1_000_000)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB; skips the test where none may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Poster(threading.Thread):
    """Posts campaigns of all sizes, one after the other, and keeps the subjects of those that were taken."""

    def __init__(self, service: Service, headers: dict[str, str], number: int, stopping: threading.Event) -> None:
        super().__init__(daemon=True)
        self._service, self._headers, self._number, self._stopping = service, headers, number, stopping
        self._sizes = random.Random(number)
        self.taken: list[str] = []
        self.answers: list[int] = []

    def run(self) -> None:
        count = 0
        while not self._stopping.is_set():
            count += 1
            subject = f"poster {self._number} campaign {count}"
            body = "[unsubscribe] " + "x" * self._sizes.choice(SIZES)
            answer = self._service.post(self._headers, subject=subject, body=body, query='{"_id": "nobody"}')
            self.answers.append(answer.status_code)
            if answer.status_code == 200:
                self.taken.append(subject)


class Ballast:
    """What fills the disk but for `left` bytes, until it is let go."""

    def __init__(self, disk: Path, left: int) -> None:
        self._disk, self._left = disk, left

    def __enter__(self) -> None:
        room = os.statvfs(self._disk)
        with suppress(OSError), (self._disk / "ballast").open("wb", buffering=0) as file:  # others write as well
            file.write(b"x" * max(0, room.f_bavail * room.f_frsize - self._left))

    def __exit__(self, *_: object) -> None:
        (self._disk / "ballast").unlink()


def put_users(service: Service, count: int) -> None:
    with service.db.write() as connection:
        connection.execute(insert(User), [user_row(number) for number in range(count)])


@pytest.mark.ci
@pytest.mark.drill
def test_every_200_is_in_the_database_while_the_disk_fills_and_is_freed(small_disk: Path, tmp_path: Path) -> None:
    address = migrated_sqlite(small_disk / "mailer.db")
    with Service(tmp_path, database_url=address, rate_limit="", max_body_bytes=2_000_000) as service:
        put_users(service, 1)
        headers = service.headers("user00000")
        taken: set[str] = set()
        answers: set[int] = set()
        for turn in range(ROUNDS):
            stopping = threading.Event()
            posters = [Poster(service, headers, turn * POSTERS + number, stopping) for number in range(POSTERS)]
            with Ballast(small_disk, left=3_000_000):
                for poster in posters:
                    poster.start()
                time.sleep(2)
            time.sleep(1)
            stopping.set()
            for poster in posters:
                poster.join(60)
                taken.update(poster.taken)
                answers.update(poster.answers)
        with service.db.read() as connection:
            stored = set(connection.scalars(select(Campaign.subject)))
    assert answers == {200, 503}
    assert taken == stored


@pytest.mark.ci
def test_outcomes_wait_for_a_disk_that_is_full(small_disk: Path, tmp_path: Path) -> None:
    settings = {"batch_size": 50, "checkpoint": 10, "site_url": "https://example.com"}
    with recording_smtp(tmp_path) as server:
        transport = f"smtp://127.0.0.1:{server.port}?rate=200/second"
        address = migrated_sqlite(small_disk / "mailer.db")
        with Service(tmp_path, database_url=address, transport=transport, **settings) as service:
            put_users(service, 600)
            headers = service.headers("user00000")
            posted = service.post(headers)
            server.wait_for(20)
            with Ballast(small_disk, left=0):
                time.sleep(3)
            done = service.finish(headers, posted)
        copies = server.copies()
    assert (done["state"], done["sent"]) == ("completed", 600)
    assert (len(copies), set(copies.values())) == (600, {1})


def test_import_that_meets_a_full_disk_imports_nobody(small_disk: Path, tmp_path: Path) -> None:
    db = database_at(migrated_sqlite(small_disk / "mailer.db"))
    users = tmp_path / "users.ndjson"
    users.write_text("".join(f'{{"_id": "{n:05d}", "name": "{n:0200d}", "bio": "{n:0400d}"}}\n' for n in range(10_000)))
    with Ballast(small_disk, left=3_000_000), pytest.raises(OperationalError):
        import_users(db, users)
    with db.read() as connection:
        assert connection.scalar(select(func.count()).select_from(User)) == 0
    assert import_users(db, users).created == 10_000
    db.close()
