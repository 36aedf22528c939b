"""Writers that share a commit: none waits for more than it must, none undoes another's work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, OperationalError

from mailer.selector import database_at
from mailer.storage.database import Database
from mailer.storage.group_commit import SharedWrites

Run = Callable[[Callable[[Connection], object]], object]


@pytest.fixture
def numbers(db: Database) -> Iterator[Database]:
    with db.write() as connection:
        connection.execute(text("CREATE TABLE numbers (number INTEGER PRIMARY KEY)"))
    yield db
    with db.write() as connection:
        connection.execute(text("DROP TABLE numbers"))


def insert(number: int) -> Callable[[Connection], int]:
    def work(connection: Connection) -> int:
        connection.execute(text("INSERT INTO numbers VALUES (:n)"), {"n": number})
        if number < 0:
            raise ValueError(number)
        return number

    return work


def stored(database: Database) -> list[int]:
    with database.read() as connection:
        return list(connection.scalars(text("SELECT number FROM numbers ORDER BY number")))


def together(run: Run, wanted: list[int], first: Callable[[Connection], object]) -> dict[int, object]:
    """Write `wanted`, each in a thread, while `first` holds them all up; what each came to."""
    came: dict[int, object] = {}
    waiting = threading.Barrier(len(wanted) + 1)

    def write(number: int) -> None:
        waiting.wait(30)
        try:
            came[number] = run(insert(number))
        except Exception as error:  # noqa: BLE001 - it is what is looked at
            came[number] = type(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in wanted]
    for thread in threads:
        thread.start()

    def hold(connection: Connection) -> None:
        waiting.wait(30)
        first(connection)

    run(hold)
    for thread in threads:
        thread.join(30)
    return came


def all_wait(shared: SharedWrites, count: int) -> Callable[[Connection], None]:
    """Return when `count` writers stand in the queue."""

    def wait(_connection: Connection) -> None:
        while shared.waiting < count:
            threading.Event().wait(0.005)

    return wait


def test_work_is_committed_when_it_returns(numbers: Database) -> None:
    assert numbers.write_shared(insert(7)) == 7
    assert stored(numbers) == [7]


def test_what_raises_is_undone_and_raised(numbers: Database) -> None:
    with pytest.raises(ValueError, match="-1"):
        numbers.write_shared(insert(-1))
    assert numbers.write_shared(insert(1)) == 1
    assert stored(numbers) == [1]


def test_many_may_write_at_once(numbers: Database) -> None:
    came = together(numbers.write_shared, [1, -2, 3, -4, 5], lambda _connection: None)
    assert came == {1: 1, -2: ValueError, 3: 3, -4: ValueError, 5: 5}
    assert stored(numbers) == [1, 3, 5]


def test_those_who_share_a_commit_do_not_undo_each_other(numbers: Database) -> None:
    shared = SharedWrites(numbers.write)
    came = together(shared.run, [1, -2, 3, -4, 5], all_wait(shared, 5))
    assert came == {1: 1, -2: ValueError, 3: 3, -4: ValueError, 5: 5}
    assert stored(numbers) == [1, 3, 5]


def take_all_back(connection: Connection) -> None:
    """What a full disk does: SQLite ends the transaction, with all that others have written in it."""
    connection.execute(text("INSERT INTO numbers VALUES (100)"))
    connection.execute(text("INSERT OR ROLLBACK INTO numbers VALUES (100)"))


@pytest.mark.parametrize("failing", [0, 1, 2, 3], ids=["first", "second", "third", "last"])
def test_those_whose_commit_was_taken_back_hear_of_it(failing: int, tmp_path: Path) -> None:
    database = database_at(f"sqlite:///{tmp_path}/test.db")
    with database.write() as connection:
        connection.execute(text("CREATE TABLE numbers (number INTEGER PRIMARY KEY)"))
    shared = SharedWrites(database.write)
    works: list[Callable[[Connection], object]] = [insert(1), insert(2), insert(3)]
    works.insert(failing, take_all_back)
    came: dict[int, object] = {}

    def write(place: int) -> None:
        try:
            came[place] = shared.run(works[place])
        except Exception as error:  # noqa: BLE001 - it is what is looked at
            came[place] = type(error)

    threads = [threading.Thread(target=write, args=(place,)) for place in range(4)]

    def queue_up(_connection: Connection) -> None:
        for count, thread in enumerate(threads, start=1):  # in this order
            thread.start()
            all_wait(shared, count)(_connection)

    shared.run(queue_up)
    for thread in threads:
        thread.join(30)
    assert came == dict.fromkeys(range(4), OperationalError)
    assert stored(database) == []
    assert shared.run(insert(9)) == 9


ONCE = text("INSERT INTO numbers VALUES (1)")
AGAIN = {"sqlite": text("INSERT OR ROLLBACK INTO numbers VALUES (1)"), "postgresql": ONCE}


@pytest.mark.parametrize("after", [None, "INSERT INTO numbers VALUES (2)"], ids=["nothing", "another statement"])
def test_commit_of_what_was_taken_back_is_no_success(numbers: Database, after: str | None) -> None:
    def careless() -> None:
        with numbers.write() as connection:
            connection.execute(ONCE)
            with suppress(IntegrityError):
                connection.execute(AGAIN[connection.dialect.name])
            if after and connection.dialect.name == "sqlite":  # PostgreSQL refuses it by itself
                connection.execute(text(after))

    with pytest.raises(OperationalError, match="rolled back"):
        careless()
    assert 1 not in stored(numbers)


def test_savepoint_begins_no_transaction_of_its_own(numbers: Database) -> None:
    def careless() -> None:
        with numbers.write() as connection:
            connection.execute(ONCE)
            with suppress(IntegrityError):
                connection.execute(AGAIN[connection.dialect.name])
            with connection.begin_nested():
                connection.execute(text("INSERT INTO numbers VALUES (2)"))

    with pytest.raises(OperationalError, match="rolled back"):
        careless()
    assert stored(numbers) == []


def test_savepoint_undoes_its_own_part_only(numbers: Database) -> None:
    with numbers.write() as connection:
        connection.execute(ONCE)
        with suppress(IntegrityError), connection.begin_nested():
            connection.execute(ONCE)
    assert stored(numbers) == [1]


def test_all_who_wait_share_one_commit(numbers: Database) -> None:
    begun = 0

    @contextmanager
    def begin() -> Iterator[Connection]:
        nonlocal begun
        begun += 1
        with numbers.write() as connection:
            yield connection

    shared = SharedWrites(begin)
    came = together(shared.run, [1, 2, 3, 4], all_wait(shared, 4))
    assert (came, begun) == ({n: n for n in (1, 2, 3, 4)}, 2)
    assert stored(numbers) == [1, 2, 3, 4]


def test_commit_that_fails_has_failed_for_all(numbers: Database) -> None:
    ends = iter(["well", "badly", "well"])

    @contextmanager
    def begin() -> Iterator[Connection]:
        with numbers.write() as connection:
            yield connection
            if next(ends) == "badly":
                raise OperationalError("COMMIT", None, Exception("disk full"))

    shared = SharedWrites(begin)
    came = together(shared.run, [1, 2, 3], all_wait(shared, 3))
    assert came == {1: OperationalError, 2: OperationalError, 3: OperationalError}
    assert stored(numbers) == []
    assert shared.run(insert(9)) == 9
