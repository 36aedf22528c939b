"""What is counted, who may read it, and that nothing of it is there when it is off."""

from __future__ import annotations

import fcntl
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event, update

from mailer.campaigns.hold import hold
from mailer.delivery import circuit_breaker
from mailer.metrics import database_gauges, processes
from mailer.metrics.database_gauges import DatabaseGauges
from mailer.metrics.instruments import Instruments
from mailer.metrics.measured_transport import MeasuredTransport, watched
from mailer.metrics.page import OwnPort
from mailer.metrics.processes import ProcessGroup
from mailer.selector import database_at
from mailer.settings import Settings
from mailer.settings.send_window import SendWindow
from mailer.storage.database import Database
from mailer.storage.models import Batch, Campaign, CampaignState, Priority
from mailer.storage.workers import Heartbeat
from tests import smtp_servers
from tests.calling import calling
from tests.databases import sqlite_work
from tests.doc_pages import ROOT, codes, prose, table
from tests.harness import MINUTE, START, Harness
from tests.service import PAYLOAD
from transports import from_url
from transports.base import About, Message, Status, TransportUnavailable
from transports.memory import MemoryTransport

LABELS = {
    "status",
    "about",
    "permanent",
    "result",
    "what",
    "endpoint",
    "method",
    "code",
    "state",
    "priority",
    "by",
    "le",
}
Sample = tuple[str, tuple[tuple[str, str], ...]]


def samples(text: str) -> dict[Sample, float]:
    """All samples of a page, by name and labels, as Prometheus' own parser reads them."""
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


@contextmanager
def serving(db: Database, metrics: str = "true") -> Iterator[tuple[FlaskClient, Any]]:
    with calling(db, transport="memory:?keep=0", metrics=metrics, repeat_window=0) as client:
        yield client, client.application.extensions["mailer"]


def page(client: FlaskClient) -> dict[Sample, float]:
    return samples(client.get("/metrics").get_data(as_text=True))


def value(found: dict[Sample, float], name: str, **labels: str) -> float:
    return found[(name, tuple(sorted(labels.items())))]


@pytest.mark.slow
def test_nothing_is_imported_or_answered_when_it_is_off(sqlite_db: Database) -> None:
    code = """
import sys
from app import create_app
from mailer.settings import Settings
app = create_app(Settings(sys.argv[1], secret_key=("k" * 40,), transport="memory:"))
assert app.test_client().get("/metrics").status_code == 404
loaded = [name for name in sys.modules if name.startswith(("prometheus_client", "mailer.metrics."))]
assert loaded == ["mailer.metrics.optional"], loaded
"""
    subprocess.run([sys.executable, "-c", code, sqlite_db.url], cwd=ROOT, check=True, timeout=60)


def test_events_are_counted(sqlite_db: Database, add_users: Callable[..., Any]) -> None:
    add_users(sqlite_db, 3)
    with serving(sqlite_db) as (client, services):
        for key in ("a", "a", "b"):
            assert client.post("/api/v1/mailer", json=PAYLOAD, headers={"Idempotency-Key": key}).status_code == 200
        assert client.get("/nowhere").status_code == 404
        assert client.open("/readyz", method="BREW").status_code == 405
        observer = services.instruments
        harness = Harness(sqlite_db, services.transport, observer=observer)
        harness.now = int(time.time() * 1000) + MINUTE
        observer.planned(6)
        observer.database_retried()
        harness.run()

        found = page(client)

    assert value(found, "mailer_campaigns_accepted_total") == 2
    assert value(found, "mailer_recipients_planned_total") == 6
    assert value(found, "mailer_outcomes_total", status="sent") == 6
    assert value(found, "mailer_transport_answers_total", status="sent", about="") == 6
    assert value(found, "mailer_transport_message_seconds_count") == 6
    assert value(found, "mailer_transport_message_seconds_bucket", le="+Inf") == 6
    assert value(found, "mailer_batch_seconds_count") == 2
    assert value(found, "mailer_database_retries_total") == 1
    asked = "mailer_http_requests_total"
    assert value(found, asked, endpoint="/api/v1/mailer", method="POST", code="200") == 3
    assert value(found, asked, endpoint="none", method="GET", code="404") == 1
    assert value(found, asked, endpoint="none", method="other", code="405") == 1
    assert value(found, "mailer_http_request_seconds_count", endpoint="/api/v1/mailer") == 3


def test_names_and_labels_are_as_they_should_be(sqlite_db: Database, add_users: Callable[..., Any]) -> None:
    """Prometheus' conventions; and no label holds what belongs to a person, a caller or a campaign."""
    add_users(sqlite_db, 3)
    with serving(sqlite_db) as (client, _):
        location = client.post("/api/v1/mailer", json=PAYLOAD).headers["Location"]
        assert client.get(location).status_code == 200
        text = client.get("/metrics").get_data(as_text=True)
    families = list(text_string_to_metric_families(text))
    assert all(re.fullmatch(r"mailer_[a-z_]+", family.name) for family in families)
    assert all(family.documentation for family in families)
    for family in families:
        assert family.type != "histogram" or family.name.endswith("_seconds")
        assert {label for one in family.samples for label in one.labels} <= LABELS
    secrets = (location.rpartition("/")[2], "user0000", "example.com", client.environ_base["HTTP_X_AUTH_TOKEN"])
    assert not [secret for secret in secrets if secret in text]


def test_page_of_the_documentation_has_every_metric(sqlite_db: Database) -> None:
    documented = {
        codes(row[0])[0]: set(codes(row[1])) for row in table(prose(ROOT / "docs" / "metrics.md"), "metric", "labels")
    }
    instruments = Instruments(DatabaseGauges(sqlite_db))
    instruments.requested("/", "GET", 200, 0.1)
    there = {
        f"{family.name}_total" if family.type == "counter" else family.name: {
            label for one in family.samples for label in one.labels if label != "le"
        }
        for family in instruments.registry.collect()
    }
    assert documented == there


def test_many_observations_are_the_same_as_one_by_one(sqlite_db: Database) -> None:
    amounts = [0.0, 0.001, 0.0011, 0.7, 31.0, 299.0, 300.0, 301.0]
    pages = []
    for at_once in (True, False):
        instruments = Instruments(DatabaseGauges(sqlite_db))
        if at_once:
            instruments.answered({}, amounts)
        for amount in () if at_once else amounts:
            instruments._message_seconds.observe(amount)
        found = instruments._message_seconds.collect()
        pages.append([(one.name, one.labels, pytest.approx(one.value)) for one in next(iter(found)).samples])
    assert pages[0] == pages[1]


def message(number: int) -> Message:
    return Message(f"c.{number}", "n@example.com", f"a{number}@example.com", b"x")


def test_answers_are_counted_by_whom_they_are_about(sqlite_db: Database) -> None:
    inner = MemoryTransport()
    instruments, transport = watched(sqlite_db, inner)
    inner.store.answer("a1@example.com", Status.REFUSED, about=About.MAILBOX)
    inner.store.answer("a2@example.com", Status.DEFERRED, about=About.RATE)

    assert [one.id for one in transport.send(map(message, range(4)))] == ["c.0", "c.1", "c.2", "c.3"]
    inner.store.fail_after(1)
    with pytest.raises(TransportUnavailable):
        list(transport.send(map(message, range(3))))

    def told(status: str, about: str) -> float | None:
        return instruments.registry.get_sample_value(
            "mailer_transport_answers_total", {"status": status, "about": about}
        )

    assert (told("sent", ""), told("refused", "mailbox"), told("deferred", "rate")) == (3, 1, 1)
    assert told("refused", "address") == 0
    with pytest.raises(TransportUnavailable):
        transport.check()


STOPS = {  # what stops a mail server's work, and as whose answer it counts; nothing of it is a recipient's outcome
    "too much, said to a recipient": (b"450 4.7.1 Too many messages, slow down\r\n", "", "rate"),
    "the end of the service": (b"421 4.7.0 Try again later\r\n", "", "rate"),
    "no login": (b"530 5.7.0 Authentication required\r\n", "", "transport"),
    "a quota of ours": (None, "&quota=1/day", ""),
}


@pytest.mark.parametrize(("reply", "options", "about"), STOPS.values(), ids=list(STOPS))
def test_answer_that_stops_the_transport_is_counted_and_a_limit_of_ours_is_none(
    sqlite_db: Database, reply: bytes | None, options: str, about: str
) -> None:
    """Such an answer is no outcome of a message. `MailerThrottled` looks at it all the same."""
    with smtp_servers.running(smtp_servers.FakeServer()) as server:
        server.script["RCPT"] = [None, reply]
        instruments, transport = watched(sqlite_db, from_url(server.url(f"starttls=never{options}")))
        with closing(transport), pytest.raises(TransportUnavailable):
            list(transport.send(map(message, range(3))))
    told = {
        (one.labels["status"], one.labels["about"]): one.value
        for family in instruments.registry.collect()
        for one in family.samples
        if one.name == "mailer_transport_answers_total" and one.value
    }
    assert told == {("sent", ""): 1.0, **({("unavailable", about): 1.0} if about else {})}


def test_measured_transport_draws_and_closes_as_the_one_inside() -> None:
    """It asks for no message earlier, and ends the inner sending when it is ended itself."""
    drawn: list[int] = []
    inner = MemoryTransport()
    told: list[Any] = []

    def messages() -> Iterator[Message]:
        for number in range(9):
            drawn.append(number)
            yield message(number)

    outcomes = MeasuredTransport(inner, lambda *what: told.append(what)).send(messages())
    assert drawn == []
    next(outcomes)
    plain: list[int] = drawn.copy()
    drawn.clear()
    next(iter(inner.send(messages())))
    assert plain == drawn
    assert told == []
    outcomes.close()  # type: ignore[attr-defined]
    ((answers, seconds),) = told
    assert answers == {("sent", ""): 1}
    assert len(seconds) == 1


LOCAL = {"REMOTE_ADDR": "127.0.0.1"}
READERS = {
    "this machine": (LOCAL, {}, 200),
    "this machine by IPv6": ({"REMOTE_ADDR": "::1"}, {}, 200),
    "another machine": ({"REMOTE_ADDR": "192.0.2.1"}, {}, 404),
    "a unix socket": ({"REMOTE_ADDR": ""}, {}, 404),
    "a proxy": (LOCAL, {"X-Forwarded-For": "192.0.2.1"}, 404),
    "another proxy": (LOCAL, {"Forwarded": "for=192.0.2.1"}, 404),
}


def test_without_a_port_of_its_own_only_this_machine_reads(sqlite_db: Database, add_users: Callable[..., Any]) -> None:
    add_users(sqlite_db, 1)
    with serving(sqlite_db) as (client, _):
        answers = {
            who: client.get("/metrics", environ_base=environ, headers=headers).status_code
            for who, (environ, headers, _status) in READERS.items()
        }
    assert answers == {who: status for who, (_environ, _headers, status) in READERS.items()}


def test_port_of_its_own_is_known_by_the_socket_and_not_by_what_a_client_says() -> None:
    class Socket:
        def __init__(self, name: Any) -> None:
            self.getsockname = lambda: name

    def asked(path: str, name: Any) -> str:
        said: list[str] = []
        environ = {"PATH_INFO": path, "SERVER_PORT": "9100", "gunicorn.socket": Socket(name)}
        app = OwnPort(lambda _environ, start: (start("200 OK", []), [b""])[1], 9100)
        list(app(environ, lambda status, _headers: said.append(status)))
        return said[0][:3]

    assert asked("/metrics", ("127.0.0.1", 9100)) == asked("/readyz", ("127.0.0.1", 8000)) == "200"
    assert asked("/readyz", "/run/mailer.sock") == "200"
    assert asked("/metrics", ("127.0.0.1", 8000)) == asked("/metrics", "/run/mailer.sock") == "404"
    assert asked("/api/v1/mailer", ("::1", 9100, 0, 0)) == "404"


def test_gauges_say_what_the_database_knows(db: Database, add_users: Callable[..., Any]) -> None:
    add_users(db, 7)
    harness = Harness(db, batch_size=2)
    ids = {}
    for state in ("running", "resting", "paused", "failed", "by a person", "accepted"):
        ids[state] = harness.accept()
        if state != "accepted":
            harness.plan()
    with db.write() as connection:
        for state in ("resting", "paused", "failed"):
            ended = START - 1 if state == "failed" else None
            changed = {"state": state, "reason": "so", "finished_at": ended, "due_at": START + MINUTE}
            connection.execute(update(Campaign).where(Campaign.id == ids[state]).values(**changed))
        paused = {"state": CampaignState.PAUSED, "reason": "paused by a person"}
        connection.execute(update(Campaign).where(Campaign.id == ids["by a person"]).values(**paused))
        connection.execute(update(Batch).where(Batch.campaign_id == ids["paused"]).values(due_at=5))
        first = (Batch.campaign_id == ids["running"], Batch.number == 0)
        connection.execute(update(Batch).where(*first).values(due_at=START + 1000, sent=1))
        circuit_breaker.trip(connection, "away", START, half_open=False)
        connection.exec_driver_sql("UPDATE users SET unsubscribed_at = 5 WHERE id IN ('user00001', 'user00002')")
        row = "INSERT INTO refused_addresses (address, campaigns, campaign_ids, reply, rule, refused_at, suppressed_at)"
        connection.exec_driver_sql(f"{row} VALUES ('a', 1, '', '', '', 1, NULL), ('b', 3, '', '', '', 1, 2)")
    harness.now += 61_000
    gauges = DatabaseGauges(db)

    found = {(one.name, *one.labels.values()): one.value for family in gauges.collect() for one in family.samples}

    assert found[("mailer_database_up",)] == 1
    expected = {"accepted": 1, "planning": 0, "running": 1, "resting": 1, "paused": 2}
    assert {state: found[("mailer_campaigns", state)] for state in expected} == expected
    expected = {"resting": 1, "paused": 1, "failed": 1}
    assert {state: found[("mailer_campaigns_needing_attention", state)] for state in expected} == expected
    assert found[("mailer_queue_recipients", "normal")] == 6 + 7
    assert found[("mailer_oldest_due_batch_seconds",)] == 61
    assert [found[("mailer_circuit_breaker", state)] for state in ("closed", "open", "half_open")] == [0, 0, 1]
    assert (found[("mailer_unsubscribed_users",)], found[("mailer_suppressed_addresses",)]) == (2, 1)


def test_what_somebody_has_planned_is_told_apart(db: Database, add_users: Callable[..., Any]) -> None:
    """Outside the send window nothing but urgent campaigns is due, and in the morning nothing has waited all night."""
    add_users(db, 3)
    window = SendWindow.parse("08:00-20:00 UTC")
    harness = Harness(db, send_window=window)
    harness.now = int(datetime(2026, 6, 1, 19, 59, tzinfo=UTC).timestamp() * 1000)
    harness.accept()
    harness.plan()

    def reading() -> Any:
        with db.read() as connection:
            return database_gauges.read(connection, harness.now, window)

    harness.now += MINUTE
    assert (reading().oldest_due, reading().planned) == (0, {"hold": 0, "send_window": 1, "quota": 0})
    harness.accept(priority=Priority.URGENT)
    harness.plan()
    harness.now += MINUTE
    assert reading().oldest_due == 60
    harness.now += 12 * 60 * MINUTE
    assert (reading().oldest_due, reading().planned) == (60, {"hold": 0, "send_window": 0, "quota": 0})
    hold(db, "moving")
    with db.write() as connection:
        used_up = "the warm-up's share of 5 messages a day for smtp relay is used up until 2026-06-02 00:00 UTC"
        circuit_breaker.trip(connection, used_up, harness.now, half_open=False)
    assert reading().planned == {"hold": 1, "send_window": 0, "quota": 1}


def test_processes_that_deliver_are_counted(sqlite_db: Database) -> None:
    harness = Harness(sqlite_db)
    for number, (engine, role) in enumerate((("celery", "worker"), ("celery", "web"), ("local", "web"))):
        beats = Heartbeat(sqlite_db, engine=engine, role=role, version="1", doing=str)
        beats.beat(f"w{number}")
    for passed, alive in ((MINUTE - 1, 2), (1, 0)):
        harness.now += passed
        with sqlite_db.read() as connection:
            assert database_gauges.read(connection, harness.now).workers == alive


def test_a_dry_run_waits_since_it_was_planned(sqlite_db: Database, add_users: Callable[..., Any]) -> None:
    add_users(sqlite_db, 1)
    harness = Harness(sqlite_db)
    harness.accept(dry_run=True)
    harness.plan()
    harness.now += 7000
    with sqlite_db.read() as connection:
        assert database_gauges.read(connection, harness.now).oldest_due == 7


def test_reading_costs_the_same_however_much_was_sent(sqlite_db: Database, add_users: Callable[..., Any]) -> None:
    """Neither deliveries nor the batches of campaigns that ended are read, nor users who have not unsubscribed."""
    queries = (database_gauges.CAMPAIGNS, database_gauges.QUEUE, database_gauges.SUPPRESSED)

    def work() -> int:
        with sqlite_db.read() as connection:
            oldest = database_gauges.OLDEST_DUE.params(now=harness.now)
            every = (*queries, database_gauges.UNSUBSCRIBED, oldest)
            return sum(sqlite_work(connection, query) for query in every)

    harness = Harness(sqlite_db, batch_size=5, checkpoint=100)
    before = work()
    add_users(sqlite_db, 300)
    harness.accept()
    while harness.plan() or harness.deliverer.run_next(lambda: False):
        pass
    assert harness.progress().state == "completed"
    assert work() <= before + 3


def test_readings_are_kept_for_a_while_and_shared(
    sqlite_db: Database, monkeypatch: pytest.MonkeyPatch, add_users: Callable[..., Any]
) -> None:
    asked: list[str] = []
    event.listen(sqlite_db.engine, "before_cursor_execute", lambda *what: asked.append(what[2]))
    gauges = DatabaseGauges(sqlite_db)
    list(gauges.collect())
    once = len(asked)
    assert 0 < once < 12
    for _ in range(20):
        assert len(list(gauges.collect())) > 5
    assert len(asked) == once

    monkeypatch.setattr(database_gauges, "REST_SECONDS", 0.0)
    gauges._again_at = 0.0
    list(gauges.collect())
    assert len(asked) == 2 * once

    gauges._again_at = 0.0
    with gauges._reading:  # another thread is waiting for the database
        reader = threading.Thread(target=lambda: list(gauges.collect()))
        reader.start()
        reader.join(20)
        assert not reader.is_alive()
    assert len(asked) == 2 * once


def test_a_database_that_is_away_leaves_the_counters(tmp_path: Path, sqlite_db: Database) -> None:
    with closing(database_at(f"sqlite:///{tmp_path}/nothing.db")) as empty:
        instruments = Instruments(DatabaseGauges(empty))
        instruments.accepted()
        found = {one.name: one.value for family in instruments.registry.collect() for one in family.samples}
    assert found["mailer_campaigns_accepted_total"] == 1
    assert found["mailer_database_up"] == 0
    assert "mailer_oldest_due_batch_seconds" not in found


@pytest.mark.parametrize("place", ["9100", "localhost", ":9100", "::1:9100", "a:0", "a:65536", "yes", "a:b"])
def test_place_that_is_none_is_refused(place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILER_METRICS", place)
    with pytest.raises(Exception, match=r"MAILER_METRICS: .*Neither true nor false nor HOST:PORT"):
        Settings.from_env()


@pytest.mark.parametrize(
    ("given", "read"), [("TRUE", "true"), ("false", ""), ("[::1]:9100", "[::1]:9100"), ("0.0.0.0:1", "0.0.0.0:1")]
)
def test_places_are_read(given: str, read: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILER_METRICS", given)
    assert Settings.from_env().metrics == read


@pytest.fixture
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where groups of processes make their folders; what they change in this process is put back."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "to be put back")
    monkeypatch.setattr("prometheus_client.values.ValueClass", None)
    return tmp_path


def test_folders_of_killed_processes_are_swept_and_those_in_use_are_not(own_folders: Path) -> None:
    first, killed = ProcessGroup(), ProcessGroup()
    killed._in_use.close()  # as the end of a process does

    second = ProcessGroup()

    assert set(own_folders.iterdir()) == {first.folder, second.folder}
    assert first.folder.stat().st_mode & 0o777 == 0o700
    first.close()
    second.close()
    assert list(own_folders.iterdir()) == []


@pytest.mark.usefixtures("own_folders")
def test_counts_that_were_being_read_when_their_process_ended_are_added_with_the_next() -> None:
    group = ProcessGroup()
    pids = []
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", ""])
        pids.append(process.pid)
        process.wait()
        counts = MmapedDict(str(group.folder / f"counter_{process.pid}.db"))
        counts.write_value("one", 2.0, 0.0)
        counts.close()
    with processes._locked(group.folder, fcntl.LOCK_SH):
        group.ended(pids[0])
    assert len(list(group.folder.glob("counter_*.db"))) == 2

    group.ended(pids[1])

    (left,) = group.folder.glob("counter_*.db")
    assert left.name == "counter_ended.db"
    assert [one[1] for one in MmapedDict.read_all_values_from_file(str(left))] == [4.0]
    group.close()
