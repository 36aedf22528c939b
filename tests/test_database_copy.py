"""A move from SQLite to PostgreSQL: every row of every table, once, and a campaign that goes on where it was."""

from __future__ import annotations

import json
import secrets
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Identity,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    insert,
    select,
    text,
)

from mailer.cli import main
from mailer.delivery.flight.folder import folder_for
from mailer.errors import ConfigError, InvalidState
from mailer.selector import database_at
from mailer.storage.database import Database
from mailer.storage.models import Base, BatchState, CampaignState, DeliveryStatus
from mailer.storage.moves import copying, sqlite_source
from mailer.storage.moves.copying import copy_all, tables_to_copy
from tests.conftest import user_row
from tests.databases import POSTGRESQL, address, migrated_sqlite
from tests.harness import Harness
from tests.test_flight import ALL, Machine
from tests.test_migrations import ROWS

pytestmark = pytest.mark.slow

ODD = "tab\t, line\n, return\r, \\N, \\, \x1f, ' \" and 🎉"


def typed(table: Table, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows by the names that the models have."""
    names = {column.name: column.key for column in table.columns}
    return [{names[name]: value for name, value in row.items()} for row in rows]


def everything(db: Database) -> dict[str, list[Any]]:
    with db.read() as connection:
        return {
            table.name: sorted(repr(list(map(comparable, row))) for row in connection.execute(select(table)))
            for table in Base.metadata.sorted_tables
        }


def comparable(value: object) -> object:
    """PostgreSQL keeps the names of a JSON document in an order of its own."""
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A database with rows in every state and in every table, closed."""
    path = tmp_path / "mailer.db"
    with closing(database_at(migrated_sqlite(path))) as db, db.write() as connection:
        for table in tables_to_copy():
            connection.execute(insert(table), typed(table, ROWS[table.name]))
        odd = {"name": ODD, "email": None, "document": {"name": ODD, "null": None, "n": [1.50, 10**20, True]}}
        connection.execute(insert(Base.metadata.tables["users"]), [user_row(99) | odd])
    return path


@pytest.fixture
def target(postgresql_url: str) -> Any:
    with closing(database_at(postgresql_url)) as db:
        yield db


def copy(source: Path, target: Database) -> dict[str, int]:
    told: dict[str, int] = {}
    assert copy_all(source, target, told.__setitem__)
    return told


def test_every_table_arrives_with_rows_in_every_state(source: Path, target: Database) -> None:
    with closing(database_at(f"sqlite:///{source}")) as db:
        before = everything(db)
    assert all(before.values())
    assert {row["state"] for row in ROWS["campaigns"]} == set(CampaignState)
    assert {row["state"] for row in ROWS["batches"]} == set(BatchState)
    assert {row["status"] for row in ROWS["deliveries"]} == set(DeliveryStatus)

    told = copy(source, target)

    assert everything(target) == before
    assert told == {name: len(rows) for name, rows in before.items() if name != "served_versions"}
    with closing(database_at(f"sqlite:///{source}")) as db:
        assert everything(db) == before


def test_columns_are_of_types_that_both_databases_write_alike() -> None:
    """Another type needs a look at the checksums first, which compare values as text."""
    known = (Text, Integer, BigInteger, Boolean, JSON, LargeBinary)
    assert not [c for table in tables_to_copy() for c in table.columns if not isinstance(c.type, known)]


def test_copy_that_is_repeated_finds_that_all_is_there(source: Path, target: Database) -> None:
    copy(source, target)
    before = everything(target)

    assert not copy_all(source, target, lambda *_: None)

    assert everything(target) == before


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE users SET name = 'Zed' WHERE id = 'user00001'",
        "UPDATE deliveries SET due_at = NULL WHERE due_at IS NOT NULL",
        "DELETE FROM rate_limits",
    ],
)
def test_target_that_was_used_since_is_not_written_over(source: Path, target: Database, change: str) -> None:
    copy(source, target)
    with target.write() as connection:
        assert connection.execute(text(change)).rowcount
    before = everything(target)

    with pytest.raises(InvalidState, match="other rows already"):
        copy_all(source, target, lambda *_: None)

    assert everything(target) == before


def test_target_with_one_row_of_its_own_is_refused(source: Path, target: Database) -> None:
    with target.write() as connection:
        connection.execute(insert(Base.metadata.tables["users"]), [user_row(1)])

    with pytest.raises(InvalidState, match="in users"):
        copy_all(source, target, lambda *_: None)

    assert [name for name, rows in everything(target).items() if rows] == ["served_versions", "users"]


def test_copy_that_is_interrupted_leaves_nothing_and_is_repeated(source: Path, target: Database) -> None:
    code = (
        "import os, sys, pathlib; from mailer.selector import database_at; from mailer.storage.moves import copying\n"
        "def tell(name, rows):\n"
        "    if name == 'deliveries': os.kill(os.getpid(), 9)\n"
        "copying.copy_all(pathlib.Path(sys.argv[1]), database_at(sys.argv[2]), tell)"
    )
    killed = subprocess.run([sys.executable, "-c", code, source, target.url], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert {name for name, rows in everything(target).items() if rows} == {"served_versions"}

    assert copy(source, target)["users"] == 17


def test_row_that_is_lost_on_the_way_is_noticed(
    source: Path, target: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill = copying.target.fill
    monkeypatch.setattr(copying.target, "fill", lambda c, t, rows: fill(c, t, list(rows)[1:]))

    with pytest.raises(InvalidState, match="what arrived is not what left"):
        copy(source, target)

    assert {name for name, rows in everything(target).items() if rows} == {"served_versions"}


@pytest.mark.parametrize("wrote", [False, True])
def test_source_that_a_process_has_open_is_refused(
    source: Path, target: Database, wrote: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when that process only waits, as one without work does."""
    monkeypatch.setattr(sqlite_source, "PATIENCE", 0.1)
    code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit()"
    code += "; print(1, flush=True); sys.stdin.read()"
    statement = "UPDATE clock_mark SET steps = 0" if wrote else "SELECT count(*) FROM users"
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code, source, statement], **pipes) as other:
        assert other.stdout.readline()
        with pytest.raises(InvalidState, match="A process has the database open"):
            copy_all(source, target, lambda *_: None)
        other.communicate()

    copy(source, target)


def test_nobody_can_open_the_source_meanwhile(source: Path, target: Database) -> None:
    refused = []

    def write(*_: object) -> None:
        code = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('SELECT count(*) FROM users')"
        ended = subprocess.run([sys.executable, "-c", code, source], check=False, capture_output=True, text=True)
        refused.append("database is locked" in ended.stderr)

    copy_all(source, target, lambda name, _rows: write() if name == "users" else None)

    assert refused == [True]


def test_column_that_counts_by_itself_goes_on_after_its_highest_value(source: Path, target: Database) -> None:
    counted = Table(
        "counted",
        MetaData(),
        Column("id", Integer, Identity(), primary_key=True),
        Column("word", Text),
        Column("j", JSON),
    )
    unused = Table("unused", MetaData(), Column("id", Integer, Identity(), primary_key=True))
    with closing(sqlite3.connect(source)) as connection:
        connection.executescript(
            "CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, word TEXT, j JSON);"
            "CREATE TABLE unused (id INTEGER PRIMARY KEY AUTOINCREMENT);"
            "INSERT INTO counted (id, word) VALUES (3, 'three'), (7, 'seven')"
        )
    with target.write() as connection:
        counted.create(connection)
        unused.create(connection)

    assert copy_all(source, target, lambda *_: None, tables=[counted, unused])

    with target.write() as connection:
        assert connection.scalar(insert(counted).values(word="next").returning(counted.c.id)) == 8
        assert connection.scalar(insert(unused).returning(unused.c.id)) == 1


def test_campaign_that_was_half_finished_goes_on_and_reaches_everybody_once(
    tmp_path: Path, target: Database, add_users: Any
) -> None:
    path = tmp_path / "mailer.db"
    with closing(database_at(migrated_sqlite(path))) as db:
        add_users(db, 47)
        before = Harness(db)
        before.accept()
        before.plan()
        before.deliverer.run_next(lambda: False)  # a batch of ten, whole
        before.deliverer.run_next(lambda: len(before.arrived()) >= 14)  # and a part of the next
        sent = before.arrived()
    assert 10 < len(sent) < 20

    copy(path, target)

    after = Harness(target)
    after.now = before.now + 1
    after.campaign_id = before.campaign_id
    after.run()
    assert after.progress().state == CampaignState.COMPLETED
    assert sorted([*sent, *after.arrived()]) == [f"user{number:05d}@example.com" for number in range(47)]


def on_command_line(source: str, to: str, *more: str) -> Result:
    environment = {"MAILER_DATABASE_URL": source, "PGCONNECT_TIMEOUT": "2"}
    return CliRunner().invoke(main, ["database", "copy", "--to", to, *more], env=environment)


def test_what_a_killed_process_had_in_hand_is_known_where_everything_is_moved_to(
    tmp_path: Path, target: Database, add_users: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its whole checkpoint would be in doubt, and sent once more."""
    monkeypatch.setenv("MAILER_STATE_DIR", str(tmp_path / "state"))
    path = tmp_path / "mailer.db"
    with closing(database_at(migrated_sqlite(path))) as db:
        records = folder_for(db, str(tmp_path / "state"))
        before = Machine(db, records.path, records.boot)
        before.begin(add_users)
        before.die(6)  # in the second of three checkpoints

    moved = [on_command_line(f"sqlite:///{path}", target.url) for _ in range(2)]

    assert [done.exit_code for done in moved] == [0, 0], moved[0].output
    assert all("flight records: 1\n" in done.stdout for done in moved)
    after = Machine(target, folder_for(target, str(tmp_path / "state")).path, records.boot)
    after.store, after.campaign_id = before.store, before.campaign_id
    harness = after.next_process()
    harness.run()
    copies = after.copies()
    assert (len(copies), copies.total()) == (ALL, ALL + 1)
    assert {name for name, count in copies.items() if count > 1} <= after.doubtful()
    assert len(after.doubtful()) == 2  # whom it had drawn


@contextmanager
def another_encoding(encoding: str) -> Iterator[str]:
    """The address of an empty database that stores texts otherwise."""
    name = f"mailer_test_{secrets.token_hex(6)}"
    made = f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
    with psycopg.connect(POSTGRESQL.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(made)
        yield address(name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_database_that_cannot_hold_every_name_is_refused(source: Path, encoding: str) -> None:
    with another_encoding(encoding) as url:
        moved = on_command_line(f"sqlite:///{source}", url)
        with closing(database_at(url)) as db, pytest.raises(ConfigError, match=f"its encoding is {encoding}; make one"):
            db.migrate()
    assert (moved.exit_code, moved.stdout) == (2, "")
    assert f"its encoding is {encoding}; make one" in moved.stderr


def test_encoding_of_other_programs_has_no_say(target: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with closing(database_at(target.url)) as db, db.write() as connection:
        connection.execute(insert(Base.metadata.tables["users"]), [user_row(1) | {"name": ODD}])
        assert connection.scalar(select(Base.metadata.tables["users"].c.name)) == ODD


def test_command_shows_counts_and_where_to_without_the_password(source: Path, postgresql_url: str) -> None:
    secret = postgresql_url.replace("root@", "root:hidden-word@")
    done = on_command_line(f"sqlite:///{source}", secret)

    assert done.exit_code == 0, done.output
    assert "users: 17\n" in done.stdout
    assert "copied to postgresql://root:***@" in done.stdout
    again = on_command_line(f"sqlite:///{source}", secret)
    assert (again.exit_code, again.stdout) == (0, "everything is there already\n")
    assert "hidden-word" not in done.output + again.output


@pytest.mark.parametrize(
    ("source_url", "to", "code", "says"),
    [
        ("sqlite:///none.db", "postgresql://127.0.0.1/x", 2, "there is no database at"),
        ("postgresql://127.0.0.1/x", "postgresql://127.0.0.1/y", 2, "copied from SQLite"),
        ("{}", "sqlite:///other.db", 2, "--to: not the URL of a PostgreSQL database"),
        ("{}", "mysql://root:hidden-word@h/x", 2, "--to: not the URL of a PostgreSQL database"),
        ("{}", "nonsense hidden-word", 2, "--to: not the URL of a PostgreSQL database"),
        ("{}", "postgresql://u:hidden-word@127.0.0.1:1/x?sslpassword=hidden-word", 1, "database: "),
    ],
)
def test_command_refuses_what_it_cannot_do(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source_url: str, to: str, code: int, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = on_command_line(source_url.format(f"sqlite:///{source}"), to)

    assert (refused.exit_code, refused.stdout) == (code, "")
    assert says in refused.output
    assert "hidden-word" not in refused.output
    assert not {path.name for path in tmp_path.iterdir()} & {"none.db", "other.db"}
