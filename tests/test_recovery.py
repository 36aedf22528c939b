"""A database that is lost: backed up while it works, restored, told what the relay has taken, and gone on with."""

from __future__ import annotations

import gzip
import random
import shutil
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import insert, select, update

from mailer.audit.log import Act, entries
from mailer.campaigns import control
from mailer.campaigns.hold import current_hold, hold, release
from mailer.campaigns.invariants import examine
from mailer.campaigns.recovery.reconciliation import Reconciliation
from mailer.campaigns.recovery.relay_logs import proved, taken
from mailer.campaigns.recovery.restored import stamp
from mailer.cli import main
from mailer.delivery.checkpoints.records import Records
from mailer.errors import ConfigError, InvalidState
from mailer.selector import database_at
from mailer.storage.database import Database, newest_version
from mailer.storage.models import Batch, Campaign, CampaignState, ScheduledTask, User
from mailer.storage.models.states import ACTIVE, UNFINISHED
from mailer.storage.moves import backup as moves
from mailer.storage.moves.copying import tables_to_copy
from tests.conftest import user_row
from tests.databases import PostgreSQL, migrated_sqlite
from tests.drills import rounds
from tests.harness import Harness
from tests.killable import attempts
from tests.test_database_copy import everything, typed
from tests.test_migrations import ROWS
from transports.base import Message

pytestmark = pytest.mark.slow

STAMPED = {"campaigns", "batches", "scheduled_tasks", "workers", "page_sessions", "sending_hold", "audit_log", "events"}
STAMPED |= {"auth_tokens", "login_links"}


def back_up(db: Database, path: Path) -> Path:
    moves.back_up(db, path, database_at)
    return path


def bring_back(path: Path, db: Database) -> dict[str, int]:
    told: dict[str, int] = {}
    moves.restore(path, db, database_at, lambda c, facts: stamp(c, facts.made_at, db.clock(c)), told.__setitem__)
    return told


@pytest.fixture
def full(db: Database) -> Database:
    """A database with rows in every state and in every table."""
    with db.write() as connection:
        for table in tables_to_copy():
            connection.execute(insert(table), typed(table, ROWS[table.name]))
    return db


@pytest.fixture(params=["sqlite", "postgresql"])
def other(request: pytest.FixtureRequest, tmp_path: Path, postgresql: PostgreSQL) -> Iterator[Database]:
    """A database of each kind in turn that does not exist yet, or is empty."""
    if request.param == "sqlite":
        with closing(database_at(f"sqlite:///{tmp_path}/restored/mailer.db")) as made:
            yield made
        return
    with postgresql.empty() as url, closing(database_at(url)) as made:
        yield made


def test_backup_of_either_kind_comes_back_in_either_kind(full: Database, other: Database, tmp_path: Path) -> None:
    before = everything(full)
    file = back_up(full, tmp_path / "backup")
    told = bring_back(file, other)
    after = everything(other)

    assert (file.stat().st_mode & 0o777) == 0o600
    assert {name: rows for name, rows in after.items() if name not in STAMPED} == {
        name: rows for name, rows in before.items() if name not in STAMPED
    }
    assert all(len(after[name]) == len(before[name]) for name in ("campaigns", "batches", "scheduled_tasks"))
    assert set(told) == {table.name for table in tables_to_copy()}
    with other.write() as connection:  # it can be written to, also where the database counts by itself
        connection.execute(insert(User), [user_row(1234)])
    hold(other, "again")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_nothing_of_before_goes_out_until_a_person_decides(full: Database, tmp_path: Path) -> None:
    facts = (Campaign.id, Campaign.state, Campaign.reason, Campaign.fence)
    with full.read() as connection:
        before = {row.id: row for row in connection.execute(select(*facts))}
        fences = dict(connection.execute(select(Batch.campaign_id, Batch.fence)).all())
    with full.write() as connection:
        stamp(connection, full.clock(connection), full.clock(connection))
    with full.read() as connection:
        after = {row.id: row for row in connection.execute(select(*facts))}
        now = dict(connection.execute(select(Batch.campaign_id, Batch.fence)).all())
        held = current_hold(connection)
        leases = connection.scalars(select(ScheduledTask.lease_ends_at)).all()
    for campaign_id, row in before.items():
        changed = row.state in ACTIVE
        assert after[campaign_id].state == (CampaignState.PAUSED if changed else row.state)
        assert ("restored from a backup of" in (after[campaign_id].reason or "")) is changed
        assert after[campaign_id].fence > row.fence + 100_000
    assert {campaign_id: fence > fences[campaign_id] + 100_000 for campaign_id, fence in now.items()} == dict.fromkeys(
        now, True
    )
    assert held
    assert held.reason.startswith("restored from a backup of 20")
    assert set(leases) == {None}


def test_backup_is_of_one_moment_while_others_write(db: Database, tmp_path: Path) -> None:
    """Two rows change together all the time, and no backup has one without the other."""
    with db.write() as connection:
        connection.execute(insert(User), [user_row(number, name="Name 0") for number in (0, 1)])
    ended, number = threading.Event(), 0

    def write() -> None:
        nonlocal number
        while not ended.is_set():
            number += 1
            with db.write() as connection:
                for user in (user_row(0), user_row(1)):
                    connection.execute(update(User).where(User.id == user["id"]).values(name=f"Name {number}"))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        files = []
        for name in map(str, range(5)):
            files.append(back_up(db, tmp_path / name))
            seen = number
            for _ in attempts(20):  # until others have written again
                if number > seen + 1:
                    break
    finally:
        ended.set()
        writer.join()
    found = []
    for file in files:
        with closing(sqlite3.connect(file)) as connection:
            found.append({name for (name,) in connection.execute("SELECT name FROM users")})
    assert [len(names) for names in found] == [1] * 5
    assert len(set.union(*found)) > 1


def test_backup_is_never_written_over(sqlite_db: Database, tmp_path: Path) -> None:
    (tmp_path / "backup").write_text("mine")
    with pytest.raises(InvalidState, match="there is a file already"):
        back_up(sqlite_db, tmp_path / "backup")
    assert (tmp_path / "backup").read_text() == "mine"
    assert not list(tmp_path.glob(".backup*"))


def damaged(file: Path, statement: str) -> Path:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement)
    return file


@pytest.mark.parametrize(
    "harm",
    [
        lambda file: file.write_bytes(b""),
        lambda file: file.write_text("SQLite format 3"),
        lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
        lambda file: damaged(file, "UPDATE users SET name = 'Mallory' WHERE id = 'user00001'"),
        lambda file: damaged(file, "DELETE FROM users WHERE id = 'user00001'"),
        lambda file: damaged(file, "DROP TABLE deliveries"),
        lambda file: damaged(file, "CREATE TABLE more (a INTEGER)"),
        lambda file: damaged(file, "DROP TABLE backup_sums"),
        lambda file: damaged(file, "DELETE FROM backup_facts"),
    ],
)
def test_file_that_is_no_whole_backup_is_refused(
    sqlite_db: Database, add_users: Callable[..., Any], tmp_path: Path, harm: Callable[[Path], Any]
) -> None:
    add_users(sqlite_db, 3)
    file = back_up(sqlite_db, tmp_path / "backup")
    harm(file)
    with closing(database_at(f"sqlite:///{tmp_path}/new.db")) as target, pytest.raises(InvalidState, match="backup"):
        bring_back(file, target)
    assert not (tmp_path / "new.db").exists()


def test_backup_of_a_newer_version_is_refused_and_of_an_older_one_migrated(tmp_path: Path, sqlite_db: Database) -> None:
    file = back_up(sqlite_db, tmp_path / "backup")
    newer = shutil.copy(file, tmp_path / "newer")
    with closing(sqlite3.connect(newer)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.execute("UPDATE backup_sums SET checksum = 0, rows = 0 WHERE name IN (SELECT name FROM backup_sums)")
    with pytest.raises(InvalidState, match="damaged"):
        bring_back(newer, database_at(f"sqlite:///{tmp_path}/new.db"))
    assert newest_version() != "9999"


def test_schema_of_another_version_is_not_backed_up(sqlite_db: Database, tmp_path: Path) -> None:
    with sqlite_db.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(InvalidState, match="The schema is at 9999"):
        back_up(sqlite_db, tmp_path / "backup")


def test_backup_is_not_restored_over_rows_nor_into_a_database_in_use(
    sqlite_db: Database, add_users: Callable[..., Any], tmp_path: Path, other: Database
) -> None:
    file = back_up(sqlite_db, tmp_path / "backup")
    other.migrate()
    other.close()
    add_users(other, 1)
    other.close()
    before = everything(other)
    other.close()
    with pytest.raises(InvalidState, match="rows already"):
        bring_back(file, other)
    assert everything(other) == before


def test_database_that_is_open_is_not_replaced(sqlite_db: Database, tmp_path: Path) -> None:
    file = back_up(sqlite_db, tmp_path / "backup")
    url = migrated_sqlite(tmp_path / "new.db")
    refused = pytest.raises(InvalidState, match="open")
    with closing(database_at(url)) as target, closing(database_at(url)) as busy, busy.read(), refused:
        bring_back(file, target)


class Reconciling(Harness):
    """A harness that can be told what a relay has taken."""

    def reconcile(self, ids: list[str]) -> list[Any]:
        records = Records(self.lease, 1.0, self.settings.suppress_after)
        return Reconciliation(self.db, self.plan, records, self.settings.uncertain).run(ids)

    def run(self, limit: int = 300) -> None:
        """To the end, while the clock goes on, as domains with a rate of their own need it to."""
        for _ in range(limit):
            self.now += 1000
            while self.plan():
                pass
            self.deliverer.run_next(lambda: False)
            with self.db.read() as connection:
                if connection.scalar(select(Campaign.id).where(Campaign.state.in_(UNFINISHED)).limit(1)) is None:
                    return
        raise AssertionError("work without end")

    def decide(self) -> None:
        """Have every campaign go on."""
        with self.db.read() as connection:
            waiting = connection.scalars(select(Campaign.id).where(Campaign.state == CampaignState.PAUSED)).all()
        for campaign_id in waiting:
            control.resume(self.db, campaign_id)
        release(self.db)


@pytest.mark.parametrize("seed", range(rounds(12, 100)))
@pytest.mark.ci
def test_backup_at_any_moment_restored_and_reconciled_reaches_everybody_once(
    db: Database, add_users: Callable[..., Any], tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    add_users(db, 23)
    settings: dict[str, Any] = {"checkpoint": chance.choice([1, 3, 7]), "merge_addresses": chance.random() < 0.3}
    settings["uncertain"] = chance.choice(["retry", "hold"])
    if chance.random() < 0.4:
        settings["domain_rates"] = (("example.org", 0.001), ("example.com", 0.001))
    lost = Reconciling(db, **settings)
    wanted = [lost.accept() for _ in range(2)]
    at, file, sent = chance.randrange(0, 50), tmp_path / "backup", list[Message]()
    send = lost.transport.send

    def sending(messages: Any) -> Any:
        yield from send(_noted(messages))

    def _noted(messages: Any) -> Any:
        for message in messages:
            if len(sent) == at and not file.exists():
                back_up(db, file)
            sent.append(message)
            yield message

    lost.transport.send = sending  # type: ignore[method-assign]
    if at == 0 or chance.random() < 0.1:
        back_up(db, file)  # before anything is planned
    lost.run()
    if not file.exists():
        back_up(db, file)

    with closing(database_at(f"sqlite:///{tmp_path}/restored.db")) as again:
        bring_back(file, again)
        found = Reconciling(again, **settings)
        found.now += 3_600_000
        assert not found.deliverer.run_next(lambda: False)  # it is held
        found.reconcile([message.id for message in sent])
        found.decide()
        found.run()
        assert examine(again) == []
        total = Counter(message.id for message in [*sent, *found.store.messages])
    assert set(total) == {message.id for message in sent}
    assert set(total.values()) == {1}
    assert {one.partition(".")[0] for one in total} == set(wanted)


def test_reconciling_needs_the_hold_and_changes_no_final_outcome(db: Database, add_users: Callable[..., Any]) -> None:
    add_users(db, 5)
    harness = Reconciling(db)
    campaign_id = harness.accept()
    harness.plan()
    with pytest.raises(InvalidState, match="not held"):
        harness.reconcile([])
    hold(db, "x")
    ids = [f"{campaign_id}.{'0' * 20}", "elsewhere.00"]
    assert [(one.sent, one.left) for one in harness.reconcile(ids)] == [(0, 5)]
    assert harness.reconcile(["elsewhere.00"]) == []


POSTFIX_LOG = """\
Nov 29 02:10:01 mx postfix/smtpd[71]: connect from app[192.0.2.7]
Nov 29 02:10:01 mx postfix/cleanup[72]: 4A1B2C: message-id=<0195abc.0123456789abcdef0123@example.com>
Nov 29 02:10:01 mx postfix/qmgr[70]: 4A1B2C: from=<news@example.com>, size=2100, nrcpt=1 (queue active)
Nov 29 02:10:02 mx postfix/cleanup[72]: 4A1B2D: message-id=<0195abc.1111111111abcdef0123@example.com>
Nov 29 02:10:02 mx postfix/cleanup[72]: 4A1B2D: milter-reject: END-OF-MESSAGE from app[192.0.2.7]: 5.7.1 no
Nov 29 02:10:03 mx postfix-out/cleanup[72]: 3wXyZ9abcd: message-id=<0195abc.2222222222abcdef0123@example.com>
Nov 29 02:10:03 mx rspamd[9]: id: <0195abc.3333333333abcdef0123@example.com>, rejected
Nov 29 02:10:03 mx postfix-out/qmgr[70]: 3wXyZ9abcd: from=<news@example.com>, size=2100, nrcpt=1 (queue active)
Nov 29 02:10:04 mx postfix/smtp[73]: 4A1B2C: to=<a@example.org>, relay=x[192.0.2.9]:25, status=sent (250 ok)
Nov 29 02:10:05 mx postfix/cleanup[72]: 4A1B2E: message-id=<hand.written@example.com>
Nov 29 02:10:05 mx postfix/qmgr[70]: 4A1B2E: from=<news@example.com>, size=2100, nrcpt=1 (queue active)
"""


def test_log_of_postfix_proves_what_came_into_its_queue(tmp_path: Path) -> None:
    found = ["0195abc.0123456789abcdef0123", "0195abc.2222222222abcdef0123"]
    assert list(proved(POSTFIX_LOG.splitlines(keepends=True))) == found
    (tmp_path / "mail.log.1.gz").write_bytes(gzip.compress(POSTFIX_LOG.encode()))
    assert list(taken(tmp_path / "mail.log.1.gz")) == found


@pytest.mark.parametrize(
    ("line", "ids"),
    [
        ("<0195abc.0123456789abcdef0123@example.com>\n", ["0195abc.0123456789abcdef0123"]),
        ("  0195abc.0123456789abcdef0123@example.com\r\n", ["0195abc.0123456789abcdef0123"]),
        ("0195abc.0123456789abcdef0123", ["0195abc.0123456789abcdef0123"]),
        ("refused <0195abc.0123456789abcdef0123@example.com>", []),
        ("0195abc.0123456789abcdef0123@example.com 550", []),
        ("", []),
        ("\xff\x00", []),
    ],
)
def test_list_has_one_message_id_a_line_and_nothing_else(line: str, ids: list[str]) -> None:
    assert list(proved([line])) == ids


def mailer(url: str, *arguments: str) -> Result:
    environment = {"MAILER_DATABASE_URL": url, "MAILER_SECRET_KEY": "k" * 40, "MAILER_TRANSPORT": "memory:"}
    return CliRunner(env=environment).invoke(main, list(arguments))


def test_commands_back_up_restore_and_reconcile(
    sqlite_db: Database, add_users: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    add_users(sqlite_db, 4)
    harness = Harness(sqlite_db)
    campaign_id = harness.accept()
    made = mailer(sqlite_db.url, "backup", "file")
    harness.run()
    url = f"sqlite:///{tmp_path}/restored.db"
    restored = mailer(url, "restore", "file")
    again = mailer(url, "restore", "file")
    (tmp_path / "log").write_text("".join(f"<{message.id}@example.com>\n" for message in harness.store.messages[:3]))
    reconciled = mailer(url, "reconcile", "log")
    nothing = mailer(url, "reconcile", "file")

    assert (made.exit_code, restored.exit_code, reconciled.exit_code, nothing.exit_code) == (0, 0, 0, 1), made.output
    assert "rows in" in made.output
    assert "sending is held, and open campaigns paused" in restored.output
    assert again.exit_code == 1
    assert "rows already" in again.output
    assert f"{campaign_id}: 3 recorded as sent, 1 left" in reconciled.output
    assert "file: has no line of Postfix's log" in nothing.output
    with closing(database_at(url)) as db:
        told = [(one.act, one.about, one.details) for one in entries(db, count=5)]
    assert told[0] == (Act.RECONCILE_CAMPAIGN, campaign_id, {"sent": 3})
    assert (told[1][0], told[1][2]["paused"]) == (Act.RESTORE, 1)


def test_settings_that_name_no_database_are_refused(tmp_path: Path, sqlite_db: Database) -> None:
    file = back_up(sqlite_db, tmp_path / "backup")
    refused = mailer("mysql://x/y", "restore", str(file))
    assert refused.exit_code == 2
    with pytest.raises(ConfigError):
        database_at("mysql://x/y")
