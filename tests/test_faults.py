"""What a misbehaving SMTP server leads to: the exact outcome, attempts and number of copies, for each fault."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.contestants import postfix_tool
from bench.processes import free_port, running
from mailer.delivery import circuit_breaker
from mailer.storage.database import Database
from tests.harness import MINUTE, Harness
from tests.recording_smtp import Fault, RecordingServer, recording_smtp
from transports import from_url

pytestmark = pytest.mark.slow

ONE = "user00001@example.com"


class HarnessOverSmtp(Harness):
    """The harness with a real SMTP transport instead of the one in memory."""

    def use(self, url: str) -> None:
        self.smtp = from_url(url)
        self.deliver_through(self.smtp)

    def trouble(self) -> str | None:
        """Why the circuit breaker is not closed, if so."""
        with self.db.read() as connection:
            blocked = circuit_breaker.tripped(connection)
        return blocked.reason if blocked else None


@pytest.fixture
def harness(any_db: Database, add_users: Callable[..., list[str]]):
    """Five recipients, accepted and planned."""
    add_users(any_db, 5)
    made = HarnessOverSmtp(any_db, batch_size=10, checkpoint=10)
    made.accept()
    made.plan()
    yield made
    made.smtp.close()


@dataclass(frozen=True)
class Case:
    """A fault about one recipient, and what is on record of him after the first run and after an hour."""

    fault: Fault
    first: str
    end: str
    attempts: int
    uncertain_attempts: int
    copies: int
    reply: str

    def __str__(self) -> str:
        return f"{self.fault.verb} {self.fault.reply or 'drop'} {'kept' if self.fault.keep else ''}".strip()


def about(verb: str, reply: str, *, keep: bool = False, delay: float = 0.0, times: int = 1) -> Fault:
    return Fault(verb, reply, recipient=ONE, times=times, keep=keep, delay=delay)


RECIPIENT = [
    Case(about("RCPT", "450 4.2.1 mailbox busy"), "deferred", "sent", 2, 0, 1, "450 4.2.1 mailbox busy"),
    Case(about("RCPT", "550 5.1.1 no such user"), "failed", "failed", 1, 0, 0, "550 5.1.1 no such user"),
    Case(about("DATA", "451 4.2.0 later"), "deferred", "sent", 2, 0, 1, "451 4.2.0 later"),
    Case(about("DOT", "451 4.2.0 later"), "deferred", "sent", 2, 0, 1, "451 4.2.0 later"),
    Case(about("DOT", "554 5.6.0 not liked"), "failed", "failed", 1, 0, 0, "554 5.6.0 not liked"),
    Case(about("DOT", "", keep=True), "sent", "sent", 1, 1, 2, ""),
    Case(about("DOT", ""), "sent", "sent", 1, 1, 1, ""),
    Case(about("DOT", "", keep=True, times=2), "uncertain", "uncertain", 0, 2, 2, ""),
    Case(about("DOT", "250 2.0.0 at last", keep=True, delay=1.5), "sent", "sent", 1, 0, 1, ""),
]


@pytest.mark.parametrize("case", RECIPIENT, ids=str)
def test_fault_about_one_recipient(tmp_path: Path, harness: HarnessOverSmtp, case: Case) -> None:
    with recording_smtp(tmp_path, case.fault) as server:
        harness.use(server.url)
        settle(harness)
        record = harness.delivery("user00001")
        assert record.status == case.first
        assert record.reply.endswith(case.reply) or case.first == "sent"
        harness.now += 60 * MINUTE
        settle(harness)
        record = harness.delivery("user00001")
        assert (record.status, record.attempts, record.uncertain_attempts) == (
            case.end,
            case.attempts,
            case.uncertain_attempts,
        )
        others = {address: count for address, count in server.copies().items() if address != ONE}
        assert (server.copies()[ONE], set(others.values()), len(others)) == (case.copies, {1}, 4)
        assert len({kept.message_id for kept in server.kept() if kept.recipient == ONE}) <= 1
        assert {harness.delivery(f"user{n:05d}").attempts for n in (0, 2, 3, 4)} == {1}


def settle(harness: HarnessOverSmtp) -> None:
    """Run what is due, past the short back-off that a dropped connection brings."""
    for _ in range(4):
        harness.run()
        harness.now += 10_000


@dataclass(frozen=True)
class Outage:
    """Trouble of the transport itself: nobody's attempt, its words in the reason, and then everyone is sent."""

    name: str
    faults: tuple[Fault, ...]
    words: str
    sent_before: int = 0
    probes: int = 1

    def __str__(self) -> str:
        return self.name


OUTAGES = [
    Outage("554 on MAIL", (Fault("MAIL", "554 5.7.1 Client host rejected", times=3),), "Client host rejected"),
    Outage("451 on MAIL", (Fault("MAIL", "451 4.3.0 try later", times=3),), "try later"),
    Outage("drop at MAIL", (Fault("MAIL", times=3),), ""),
    Outage("drop before the dot", (Fault("DATA", recipient=ONE, times=3),), "", sent_before=1),
    Outage("421 at RCPT", (Fault("RCPT", "421 4.7.0 too many errors", recipient=ONE, times=1),), "421", sent_before=1),
    Outage(
        "throttled",
        (Fault("RCPT", "450 4.7.28 rate limit exceeded", recipient=ONE, times=3),),
        "rate limit exceeded",
        sent_before=1,
    ),
]


# with four, no connection comes to three messages
@pytest.mark.parametrize(("outage", "connections"), [(o, n) for o in OUTAGES for n in (1, 4) if n * o.sent_before < 12])
def test_trouble_of_the_transport_costs_nobody_an_attempt(
    tmp_path: Path, harness: HarnessOverSmtp, outage: Outage, connections: int
) -> None:
    with recording_smtp(tmp_path, *outage.faults) as server:
        harness.use(f"{server.url}?connections={connections}")
        harness.run()
        if connections == 1:
            counts = {"sent": outage.sent_before, "pending": 5 - outage.sent_before}
            assert harness.counts() == {name: count for name, count in counts.items() if count}
        assert outage.words in str(harness.trouble())
        assert (harness.progress().state, harness.progress().reason) == ("blocked", harness.trouble())
        end_well(harness, server)


def end_well(harness: HarnessOverSmtp, server: RecordingServer) -> None:
    for _ in range(10):
        harness.now += 5 * MINUTE
        harness.run()
    assert (harness.progress().state, harness.counts(), harness.trouble()) == ("completed", {"sent": 5}, None)
    assert set(server.copies().values()) == {1}
    records = [harness.delivery(f"user{number:05d}") for number in range(5)]
    assert {(record.attempts, record.uncertain_attempts) for record in records} == {(1, 0)}


def test_421_after_a_hundred_messages_goes_on_at_once_with_the_next_one(
    tmp_path: Path, any_db: Database, add_users: Callable[..., list[str]]
) -> None:
    add_users(any_db, 130)
    harness = HarnessOverSmtp(any_db, batch_size=130, checkpoint=50)
    harness.accept()
    with recording_smtp(tmp_path, Fault("MAIL", "421 4.7.0 enough", after=100, times=1)) as server:
        harness.use(f"{server.url}?connections=1")
        harness.run()
        assert (harness.counts(), harness.trouble()) == ({"sent": 130}, None)
        assert set(server.copies().values()) == {1}
        assert {harness.delivery(f"user{number:05d}").attempts for number in range(130)} == {1}
    harness.smtp.close()


# flags of Postfix's smtp-sink, which is nobody's of ours: what is on record after one run, and the transport's trouble
SINK = {
    "-f mail": ({"pending": 5}, "MAIL was answered 500 5.3.0"),
    "-f rcpt": ({"failed": 5}, None),
    "-f data": ({"failed": 5}, None),
    "-f .": ({"failed": 5}, None),
    "-f ehlo,helo": ({"pending": 5}, "EHLO was answered 500 5.3.0"),
    "-r connect": ({"pending": 5}, "the greeting was answered 450 4.3.0"),
    "-r mail": ({"pending": 5}, "MAIL was answered 450 4.3.0"),
    "-r rcpt": ({"pending": 5}, "RCPT was answered 450 4.3.0"),  # 4.3.x is about the server, not the recipient
    "-r .": ({"pending": 5}, "end of data was answered 450 4.3.0"),
    "-q connect": ({"pending": 5}, "closed the connection"),
    "-q mail": ({"pending": 5}, "closed the connection"),
    "-q data": ({"pending": 5}, "closed the connection"),
    "-q .": ({"uncertain": 1, "pending": 4}, "closed the connection"),
    "-Q connect": ({"pending": 5}, "421 4.0.0"),
    "-Q rcpt": ({"pending": 5}, "421 4.0.0"),
    "-Q .": ({"pending": 5}, "421 4.0.0"),
}


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize(("flags", "counts", "words"), [(flags, *then) for flags, then in SINK.items()], ids=SINK)
def test_fault_of_postfix_own_sink(
    tmp_path: Path, harness: HarnessOverSmtp, flags: str, counts: dict[str, int], words: str | None, connections: int
) -> None:
    program, port = postfix_tool("smtp-sink"), free_port()
    if program is None:
        pytest.skip("no smtp-sink")
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    command = [program, *user, *flags.split(), f"127.0.0.1:{port}", "100"]
    with running(command, port, tmp_path / "smtp-sink.log"):
        harness.use(f"smtp://127.0.0.1:{port}?connections={connections}")
        harness.run()
        if "uncertain" in counts and connections > 1:  # a message for each connection that was dropped
            assert 1 <= harness.counts()["uncertain"] <= connections
        else:
            assert harness.counts() == counts
        assert str(words or None) in str(harness.trouble())


def test_wrong_password_is_the_transports_trouble_and_stays_secret(tmp_path: Path, harness: HarnessOverSmtp) -> None:
    with recording_smtp(tmp_path, password="right-horse") as server:
        harness.use(server.url.replace("//", "//mailer:wrong-horse@"))
        harness.run()
        assert "535" in str(harness.trouble())
        assert "wrong-horse" not in str(harness.trouble())
        assert harness.counts() == {"pending": 5}
        harness.smtp.close()
        harness.use(server.url.replace("//", "//mailer:right-horse@"))
        end_well(harness, server)


def test_starttls_that_is_hidden_sends_nothing_in_clear_text(tmp_path: Path, harness: HarnessOverSmtp) -> None:
    with recording_smtp(tmp_path) as server:
        harness.use(f"{server.url}?starttls=require")
        harness.run()
        assert "STARTTLS" in str(harness.trouble())
        assert (harness.counts(), server.kept()) == ({"pending": 5}, [])


def test_untrusted_certificate_sends_nothing(tmp_path: Path, harness: HarnessOverSmtp) -> None:
    certificate = tmp_path / "server.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1"]
    made = subprocess.run([*command, "-keyout", "-"], check=True, capture_output=True)
    certificate.write_bytes(made.stdout)
    with recording_smtp(tmp_path, certificate=certificate) as server:
        harness.use(f"{server.url}?starttls=require")
        harness.run()
        assert "certificate" in str(harness.trouble()).lower()
        assert (harness.counts(), server.kept()) == ({"pending": 5}, [])
        harness.smtp.close()
        harness.use(f"{server.url}?starttls=require&cafile={certificate}")
        end_well(harness, server)
