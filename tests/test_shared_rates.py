"""Rates, quotas and warm-ups that all processes keep together through the database."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from operator import length_hint
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from app import create_app
from mailer.campaigns.progress import progress
from mailer.delivery import circuit_breaker
from mailer.metrics.measured_transport import MeasuredTransport, _Timed
from mailer.pacing.shared_slots import SharedSlots, in_words
from mailer.selector.sql.sqlite_functions import add_functions
from mailer.settings import Settings
from mailer.storage.clock_watch import ClockWatch
from mailer.storage.database import Database
from mailer.storage.models import CircuitBreaker, SlotCount, User
from tests.conftest import user_row
from tests.databases import migrated_sqlite
from tests.harness import Harness
from tests.service import Service
from tests.test_rate import excess
from transports import Message, Transport, TransportUnavailable, from_url
from transports.held_slots import Slots
from transports.rate import rates_of, share
from transports.slots import NOTHING, CounterAway, Limits

RATE = 60
TOLERANCE = 0.2  # seconds: a slot may be used a tenth late, and a message is on the disk a little after its slot
HOUR = 3_600_000

# One process of the service as far as sending goes; it begins when the file `go` is there.
SENDER = """
import sys, time
from pathlib import Path
from mailer.pacing.shared_slots import SharedSlots
from mailer.selector import database_at
from transports import Message, from_url
from transports.rate import share

name, database, transport_url, go = sys.argv[1:]
transport = from_url(transport_url)
share(transport, SharedSlots(database_at(database)))
print("ready", flush=True)
while not Path(go).exists():
    time.sleep(0.005)
for start in range(0, 50, 10):  # as in checkpoints
    ids = [f"{name}-{number}" for number in range(start, start + 10)]
    list(transport.send(Message(one, "a@example.com", "b@example.com", b"Subject: x") for one in ids))
"""


def written(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "index.ndjson").read_text().splitlines()]


def seconds(lines: list[dict[str, object]]) -> list[float]:
    return [float(str(line["time"])) / 1000 for line in lines]


@pytest.mark.slow
def test_two_processes_keep_the_rate_together(database_url: str, tmp_path: Path) -> None:
    arguments = [database_url, f"file:{tmp_path}/out?rate={RATE}/second", str(tmp_path / "go")]
    command = [sys.executable, "-c", SENDER]
    senders = [subprocess.Popen([*command, name, *arguments], stdout=subprocess.PIPE, text=True) for name in "ab"]
    for sender in senders:
        assert sender.stdout is not None
        assert sender.stdout.readline() == "ready\n"
    (tmp_path / "go").touch()
    for sender in senders:
        sender.communicate(timeout=60)

    lines = written(tmp_path / "out")
    times = seconds(lines)
    assert len(lines) == 100
    assert excess(times, RATE) <= RATE * TOLERANCE + 1
    assert max(times) - min(times) >= 99 / RATE - TOLERANCE  # one process alone would have been as slow
    first_half = {str(line["id"])[0] for line in lines[:50]}
    assert first_half == {"a", "b"}


@pytest.mark.slow
def test_two_gunicorn_workers_keep_the_rate_together(tmp_path: Path) -> None:
    settings = {"batch_size": 10, "checkpoint": 5, "transport": f"file:{tmp_path}/out?rate={RATE}/second"}
    with Service(tmp_path, workers=2, **settings) as service:
        with service.db.write() as connection:
            connection.execute(insert(User), [user_row(number) for number in range(120)])
        headers = service.headers("user00000")
        service.finish(headers, service.post(headers, query="{}"))

    times = seconds(written(tmp_path / "out"))
    assert len(times) == 120
    assert excess(times, RATE) <= RATE * TOLERANCE + 1


def limited(folder: Path, db: Database, options: str) -> Transport:
    """A transport as a process that starts makes it."""
    transport = from_url(f"file:{folder}/out?{options}")
    share(transport, SharedSlots(db))
    return transport


def is_planned(db: Database) -> bool:
    with db.read() as connection:
        breaker = circuit_breaker.tripped(connection)
    assert breaker is not None
    return breaker.is_planned


def test_quota_survives_a_restart_and_ends_with_the_day(db: Database, tmp_path: Path, add_users) -> None:
    add_users(db, 30)
    options = "quota=12/day&quota_zone=Europe/Vienna"
    harness = Harness(db, limited(tmp_path, db, options))
    harness.now = int(datetime(2026, 6, 1, 20, tzinfo=UTC).timestamp() * 1000)  # 22:00 in Vienna
    harness.accept()
    harness.plan()
    harness.deliverer.run_next(lambda: False)
    assert harness.counts() == {"pending": 20, "sent": 10}

    harness.deliver_through(limited(tmp_path, db, options))
    harness.run()

    assert harness.counts() == {"pending": 18, "sent": 12}
    shown = progress(db, harness.campaign_id)
    assert shown.state == "blocked"
    assert "the quota of 12 messages a day" in str(shown.reason)
    assert str(shown.reason).endswith("is used up until 2026-06-02 00:00 Europe/Vienna")
    assert is_planned(db)
    with pytest.raises(TransportUnavailable, match="is used up"):
        limited(tmp_path, db, options).check()
    with db.read() as connection:
        assert connection.scalar(select(CircuitBreaker.retry_at)) == harness.now + 300_000

    harness.now += 300_000  # a quota that was raised meanwhile would be noticed now
    harness.run()
    assert harness.counts() == {"pending": 18, "sent": 12}
    harness.now += 2 * HOUR - 301_000
    harness.run()
    with db.read() as connection:
        assert connection.scalar(select(CircuitBreaker.retry_at)) <= harness.now + 1002

    harness.now += 1002  # the day has turned
    harness.run()
    assert harness.counts() == {"pending": 6, "sent": 24}
    harness.now += 24 * HOUR
    harness.run()
    assert harness.counts() == {"sent": 30}
    with db.read() as connection:
        assert circuit_breaker.tripped(connection) is None


def test_raised_quota_is_noticed_within_minutes(db: Database, tmp_path: Path, add_users) -> None:
    add_users(db, 10)
    harness = Harness(db, limited(tmp_path, db, "quota=4/day"))
    harness.accept()
    harness.run()

    harness.deliver_through(limited(tmp_path, db, "quota=400/day"))
    harness.now += 300_000
    harness.run()

    assert harness.counts() == {"sent": 10}


def test_group_goes_on_with_the_member_that_has_quota_left(db: Database, tmp_path: Path, add_users) -> None:
    add_users(db, 20)
    folders = [f"file:{tmp_path}/{name}?quota={quota}/day" for name, quota in (("a", 3), ("b", 8))]
    group = from_url(f"roundrobin:({' '.join(folders)})")
    share(group, SharedSlots(db))
    harness = Harness(db, group)
    harness.accept()
    harness.run()

    assert [len(written(tmp_path / name)) for name in "ab"] == [3, 8]
    assert harness.counts() == {"pending": 9, "sent": 11}
    assert is_planned(db)
    assert [line.rpartition("; ")[2] for line in in_words(db, group)] == ["3 of 3 used today", "8 of 8 used today"]


def test_quota_that_is_used_up_is_ready_in_the_strictest_sense(tmp_path: Path) -> None:
    """An alarm that asks so would call somebody every day of a warm-up."""
    transport = f"file:{tmp_path}/out?quota=1/day"
    settings = Settings(migrated_sqlite(tmp_path / "mailer.db"), secret_key=("k" * 40,), transport=transport)
    app = create_app(settings)
    services = app.extensions["mailer"]
    services.engine.start()
    list(services.transport.send([Message("1", "a@example.com", "b@example.com", b"x")]))

    ready = app.test_client().get("/readyz?strict=true")

    assert ready.status_code == 200
    assert any("is used up until" in warning for warning in ready.get_json()["warnings"])
    services.engine.stop(10)
    services.db.close()


def test_trouble_beside_a_quota_that_is_used_up_is_trouble(db: Database, tmp_path: Path, add_users) -> None:
    add_users(db, 5)
    group = from_url(f"failover:(file:{tmp_path}/a?quota=3/day smtp://127.0.0.1:1)")
    share(group, SharedSlots(db))
    harness = Harness(db, group)
    harness.accept()
    harness.run()

    assert harness.counts() == {"pending": 2, "sent": 3}
    assert not is_planned(db)


def test_warmup_is_recorded_and_shown(db: Database, tmp_path: Path) -> None:
    now = datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp() * 1000
    db.clock = lambda _connection: int(now)
    transport = limited(tmp_path, db, "rate=10/second&warmup=200/day*2")
    where = f"file {tmp_path}/out: rate 10/second, warmup 200/day*2"
    assert in_words(db, transport) == [
        f"{where}; warm-up since the first message: day 1 with mail; 0 of 200 used today"
    ]

    limits = transport.rates()[0].limits
    counter = SharedSlots(db)
    counter.take(limits, 150, NOTHING)
    now += 24 * HOUR
    counter.take(limits, 300, NOTHING)
    assert in_words(db, transport) == [f"{where}; warm-up since 2026-06-01: day 2 with mail; 300 of 400 used today"]

    for _ in range(13):
        now += 24 * HOUR
        counter.take(limits, 1, NOTHING)
    assert in_words(db, transport) == [f"{where}; warm-up since 2026-06-01: over"]


def test_rate_does_not_wait_for_a_clock_that_was_set_back(db: Database) -> None:
    now = 2_000_000_000_000
    db.clock = lambda _connection: now
    watch = ClockWatch(db, 60_000)
    watch.look()
    limits = Limits("relay", 3_600_000.0)
    SharedSlots(db).take(limits, 1, NOTHING)
    now -= 10 * HOUR
    watch.look()

    assert SharedSlots(db).take(limits, 1, NOTHING).wait == pytest.approx(3600, abs=1)


def test_database_that_does_not_answer_is_trouble_with_the_transport(sqlite_db: Database) -> None:
    with closing(Database(sqlite_db.url, on_connect=add_functions, lock_timeout=0.05)) as other:
        slots = Slots(Limits("relay", 20.0), SharedSlots(other))
        with sqlite_db.write(), pytest.raises(CounterAway, match="the database, in which the rate is counted"):
            slots.reserve()
        assert slots.reserve()[1] == 1


def test_process_that_dies_loses_at_most_a_block(db: Database) -> None:
    limits = Limits("relay", 20.0, quota=1000)
    for _ in range(3):
        assert Slots(limits, SharedSlots(db), time.monotonic).reserve(patience=1e9)[1] == 1

    with db.read() as connection:
        assert connection.scalar(select(SlotCount.used)) == 15  # blocks of what goes in a tenth of a second


def test_limits_are_shared_also_when_answers_are_counted(tmp_path: Path) -> None:
    inner = from_url(f"failover:(file:{tmp_path}/a?rate=5/second file:{tmp_path}/b?quota=7/day)")
    told: list[object] = []
    measured = MeasuredTransport(inner, lambda *answers: told.append(answers))

    assert [rate.limits.text for rate in rates_of(measured)] == ["rate 5/second", "quota 7/day"]
    assert length_hint(_Timed([], {}), 1) == 0
