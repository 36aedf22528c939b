"""What a million recipients take of a database: time, size by table, dead rows, and what forgetting them takes.

python -m bench.million postgresql://…/empty_database
python -m bench.million sqlite:///empty.db --recipients 100000

The database must be empty. Its own settings are part of what is measured: autovacuum should be on, as it usually is.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text

from bench import directory, newsletter
from bench.figures import table
from bench.processes import stop
from mailer.campaigns.accept import accept
from mailer.campaigns.draft import Draft
from mailer.campaigns.progress import progress
from mailer.campaigns.retention import retention_task
from mailer.selector import database_at
from mailer.storage.database import Database
from mailer.storage.postgresql import connect

CALLER = "user0000000"
LOOK_SECONDS = 2.0
AUTOVACUUM_SECONDS = 150.0

POSTGRESQL_SIZES = """
    SELECT relname, pg_table_size(relid), pg_indexes_size(relid) FROM pg_stat_user_tables
    WHERE pg_total_relation_size(relid) > 1000000 ORDER BY pg_total_relation_size(relid) DESC
"""
SQLITE_SIZES = """
    SELECT m.tbl_name, sum(iif(m.type = 'table', s.pgsize, 0)), sum(iif(m.type = 'index', s.pgsize, 0))
    FROM dbstat s JOIN sqlite_schema m ON m.name = s.name WHERE s.aggregate = 1
    GROUP BY m.tbl_name HAVING sum(s.pgsize) > 1000000 ORDER BY sum(s.pgsize) DESC
"""
ROWS = """
    SELECT relname, n_live_tup, n_dead_tup, n_tup_ins, n_tup_upd, n_tup_hot_upd, autovacuum_count
    FROM pg_stat_user_tables WHERE n_tup_ins + n_tup_upd > 500 ORDER BY relname
"""


@dataclass(slots=True)
class Longest:
    """The longest transaction that writes, of one process, in seconds."""

    seconds: float = 0.0
    count: int = 0


def main() -> None:
    """Read the options, measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.million", description=__doc__)
    parser.add_argument("database", help="the URL of an empty database")
    parser.add_argument("--recipients", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=2, help="how many deliver")
    parser.add_argument("--transport", default="memory:?keep=0")
    parser.add_argument("--sql", action="append", default=[], help="run this first, to try settings of a table")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # else the workers would outlive us
    db = database_at(options.database)
    if not db.migrate():
        sys.exit("the database is not empty")
    for statement in options.sql:
        with db.write() as connection:
            connection.execute(text(statement))
    begun = time.monotonic()
    directory.fill(db, options.recipients)
    _settle(db)
    print(f"directory of {options.recipients:,}: {time.monotonic() - begun:.0f} s")
    show(db, "Before the campaign")
    seconds = send(db, options)
    print(f"\n{options.recipients:,} recipients: {seconds:.0f} s, {options.recipients / seconds:,.0f} a second")
    show(db, "After the campaign")
    await_autovacuum(db)
    show(db, "After autovacuum")
    forget(db)
    show(db, "After retention")
    await_autovacuum(db)
    show(db, "After retention and autovacuum")
    db.close()


def send(db: Database, options: argparse.Namespace) -> float:
    """Send one campaign to everybody and return how many seconds it took."""
    said = newsletter.payload()
    draft = Draft(newsletter.SENDER_NAME, newsletter.SENDER, said["subject"], said["body"], {}, False)
    with delivering(db, options.processes, options.transport):
        begun, most = time.monotonic(), 0
        campaign_id = accept(db, CALLER, draft, None).campaign_id
        while (now := progress(db, campaign_id)).state not in (
            "completed",
            "completed_with_issues",
            "paused",
            "resting",
        ):
            time.sleep(LOOK_SECONDS)
            most = max(most, dead_rows(db, "batches"))
        seconds = time.monotonic() - begun
    if now.state != "completed" or now.sent != options.recipients:
        sys.exit(f"the campaign is {now.state}, {now.sent} sent: {now.reason}")
    print(f"most dead rows of batches seen: {most:,}")
    return seconds


@contextmanager
def delivering(db: Database, processes: int, transport: str) -> Iterator[None]:
    """`mailer worker` in so many processes."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAILER_")}
    environment |= {"MAILER_DATABASE_URL": db.url, "MAILER_TRANSPORT": transport, "MAILER_SECRET_KEY": "k" * 40}
    environment["MAILER_MAILBOX"] = "false"
    environment |= {"MAILER_SITE_URL": newsletter.SITE_URL, "MAILER_SITE_NAME": newsletter.SITE_NAME}
    environment |= {"MAILER_ALLOW_LOCAL_LINKS": "true"}
    command = [Path(sys.executable).with_name("mailer"), "worker"]
    workers = [subprocess.Popen(command, env=environment, start_new_session=True) for _ in range(processes)]
    try:
        yield
    finally:
        for worker in workers:
            stop(worker)


def forget(db: Database) -> None:
    """Purge the campaign as the service does by itself, and print how fast and in how long transactions."""
    longest = Longest()
    watch(db, longest)
    begun = time.monotonic()
    done = retention_task(db, 0, 60_000).run_when_due(threading.Event()) or {}
    seconds, count = time.monotonic() - begun, done["deliveries"]
    print(f"\nretention: {count:,} deliveries in {seconds:.0f} s, {count / seconds:,.0f} a second")
    print(f"transactions: {longest.count:,}, the longest {longest.seconds * 1000:.0f} ms")


def watch(db: Database, longest: Longest) -> None:
    """Measure every writing transaction of this process from now on, to the end of its commit."""
    whole = db.write

    @contextmanager
    def measured(**options: bool) -> Iterator[object]:
        with whole(**options) as connection:
            begun = time.monotonic()
            yield connection
        longest.seconds = max(longest.seconds, time.monotonic() - begun)
        longest.count += 1

    db.write = measured  # type: ignore[method-assign,assignment]


def dead_rows(db: Database, name: str) -> int:
    """How many dead rows PostgreSQL counts in the table; 0 on SQLite, which has none."""
    if db.writes is not None:
        return 0
    with db.read() as connection:
        counted = connection.scalar(
            text("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = :name"), {"name": name}
        )
    return int(counted or 0)


def show(db: Database, title: str) -> None:
    """Print the size of each large table, and on PostgreSQL its rows."""
    with db.read() as connection:
        sizes = connection.execute(text(POSTGRESQL_SIZES if db.writes is None else SQLITE_SIZES)).all()
        rows = connection.execute(text(ROWS)).all() if db.writes is None else []
    shown = [(name, f"{heap / 1e6:,.1f}", f"{indexes / 1e6:,.1f}") for name, heap, indexes in sizes]
    print(f"\n## {title}\n\n{table(('table', 'rows, MB', 'indexes, MB'), shown)}")
    if rows:
        head = ("table", "live", "dead", "inserted", "updated", "HOT", "autovacuums")
        print("\n" + table(head, [(row[0], *(f"{count:,}" for count in row[1:])) for row in rows]), flush=True)


def _settle(db: Database) -> None:
    if db.writes is None:
        with connect(db.url) as connection:
            connection.execute("VACUUM ANALYZE")


def await_autovacuum(db: Database) -> None:
    """Wait until autovacuum has had its turn at every table that had much to clean."""
    if db.writes is not None:
        return
    total = "SELECT sum(autovacuum_count) FROM pg_stat_user_tables"
    busy = "SELECT count(*) FROM pg_stat_progress_vacuum"
    ends, quiet, before = time.monotonic() + AUTOVACUUM_SECONDS, 0.0, -1
    while time.monotonic() < ends and quiet < 70:
        with db.read() as connection:
            now = int(connection.scalar(text(total)) or 0) + 1_000_000 * int(connection.scalar(text(busy)) or 0)
        quiet = quiet + 5 if now == before else 0.0
        before = now
        time.sleep(5)


if __name__ == "__main__":
    main()
