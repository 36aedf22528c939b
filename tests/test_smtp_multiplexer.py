"""Several connections in one `send`: all are used, the order is kept, and trouble on one stays there."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import pytest

from tests.smtp_servers import Conversation, FakeServer, running
from transports.base import Message, Outcome, Status, TransportUnavailable
from transports.smtp.transport import SMTPTransport

LOCKSTEP = ("8BITMIME",)


def messages(count: int, prefix: str = "m") -> list[Message]:
    content = b"Subject: x\r\n\r\nHi\r\n"
    return [Message(f"{prefix}{n}", "s@example.org", f"{prefix}{n}@example.org", content) for n in range(count)]


@dataclass
class PickyServer(FakeServer):
    """Takes `most` connections at a time, and counts those it `refused`; `options` choose the dialogue's form."""

    options: str = "connections=4"
    most: int = 100
    refused: int = 0
    held: int = 0

    def serve(self, sock: socket.socket) -> None:
        self.held += 1
        if self.held > self.most:
            self.refused += 1
            sock.sendall(b"421 4.7.0 too many connections\r\n")
            sock.close()
        else:
            super().serve(sock)
        self.held -= 1


FORMS = {
    "pipelined": PickyServer,
    "chunked": partial(PickyServer, options="connections=4&bdat=yes"),
    "lockstep": partial(PickyServer, extensions=LOCKSTEP),
}


@pytest.fixture(params=FORMS)
def server(request: pytest.FixtureRequest) -> Iterator[PickyServer]:
    with running(FORMS[request.param]()) as made:
        yield made


@pytest.fixture
def transport(server: PickyServer) -> Iterator[SMTPTransport]:
    with closing(SMTPTransport.from_url(server.url(server.options))) as made:
        yield made


def test_all_connections_are_used_and_kept(server: PickyServer, transport: SMTPTransport) -> None:
    for prefix in ("a", "b"):
        outcomes = list(transport.send(messages(50, prefix)))
        assert [each.id for each in outcomes] == [f"{prefix}{n}" for n in range(50)]
        assert {each.status for each in outcomes} == {Status.SENT}
    assert server.connections == 4
    assert sorted(server.recipients) == sorted(f"{p}{n}@example.org" for p in "ab" for n in range(50))


def test_one_message_opens_one_connection(server: PickyServer, transport: SMTPTransport) -> None:
    assert [each.status for each in transport.send(messages(1))] == [Status.SENT]
    assert server.connections == 1


@pytest.mark.parametrize("server", ["pipelined", "chunked"], indirect=True)
def test_answers_overtake_each_other_and_outcomes_do_not(
    server: PickyServer, transport: SMTPTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One message is held back by the server until a later one has been taken."""
    later, say = threading.Event(), Conversation.say

    def patient(self: Conversation, verb: str, content: bytes | None = None) -> bytes:
        if content is not None and "<m20@" in self.rcpt:
            assert later.wait(30)
        reply = say(self, verb, content)
        if content is not None and int(self.rcpt.partition("@")[0].partition("<m")[2]) > 20:
            later.set()
        return reply

    monkeypatch.setattr(Conversation, "say", patient)
    outcomes = list(transport.send(messages(40)))
    assert [each.id for each in outcomes] == [f"m{n}" for n in range(40)]
    overtaken = server.recipients[server.recipients.index("m20@example.org") :]
    assert {f"m{n}@example.org" for n in range(21, 40)} - set(overtaken)


def test_server_that_allows_one_connection_gets_everything_over_it(
    server: PickyServer, transport: SMTPTransport
) -> None:
    server.most = 1
    for prefix in ("a", "b", "c"):
        assert {each.status for each in transport.send(messages(20, prefix))} == {Status.SENT}
    assert len(server.mails) == 60
    assert server.refused == 1  # it is not asked again at once


def test_refused_recipients_do_not_hold_up_the_others(server: PickyServer, transport: SMTPTransport) -> None:
    server.script["RCPT"] = [None, b"550 5.1.1 no\r\n", None, None, b"550 5.1.1 no\r\n"]
    outcomes = list(transport.send(messages(12)))
    assert [each.id for each in outcomes] == [f"m{n}" for n in range(12)]
    refused = {each.id for each in outcomes if each.status is Status.REFUSED}
    assert len(refused) == 2
    assert sorted(server.recipients) == sorted(f"m{n}@example.org" for n in range(12) if f"m{n}" not in refused)


def last_verb(server: PickyServer) -> str:
    return "BDAT" if "bdat" in server.options else "."


@pytest.mark.parametrize("reply", [b"", b"421 4.3.2 going down\r\n"], ids=["closed", "421"])
def test_trouble_on_one_connection_leaves_at_most_its_own_message_in_doubt(
    server: PickyServer, transport: SMTPTransport, reply: bytes
) -> None:
    server.script[last_verb(server)] = [*[None] * 9, reply]
    outcomes: list[Outcome] = []
    batch = messages(50)
    with pytest.raises(TransportUnavailable):
        outcomes.extend(transport.send(batch))
    statuses = {each.id: each.status for each in outcomes}
    taken = {address.partition("@")[0] for address in server.recipients}
    assert {name for name, status in statuses.items() if status is Status.SENT} == taken
    uncertain = [name for name, status in statuses.items() if status is Status.UNCERTAIN]
    assert len(uncertain) == (0 if reply else 1)
    assert list(statuses) == sorted(statuses, key=lambda name: int(name[1:]))

    later = [each for each in batch if each.id not in statuses]
    assert [each.status for each in transport.send(later)] == [Status.SENT] * len(later)
    assert len(server.recipients) == len(set(server.recipients)) == 50 - len(uncertain)


def test_abandoned_send_gives_its_connections_back(server: PickyServer, transport: SMTPTransport) -> None:
    outcomes = transport.send(messages(20))
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]
    assert {each.status for each in transport.send(messages(20, "later"))} == {Status.SENT}
    before_later = [address for address in server.recipients if address.startswith("m")]
    assert len(before_later) <= 4 + 1  # at most what was in flight, and the one whose outcome came


def test_messages_that_cannot_be_made_end_the_send(server: PickyServer, transport: SMTPTransport) -> None:
    def failing() -> Iterator[Message]:
        yield from messages(6)
        raise LookupError

    with pytest.raises(LookupError):
        list(transport.send(failing()))
    assert {each.status for each in transport.send(messages(8, "later"))} == {Status.SENT}


def test_threads_share_the_connections(server: PickyServer, transport: SMTPTransport) -> None:
    done: list[int] = []

    def send(prefix: str) -> None:
        for number in range(5):
            done.append(len(list(transport.send(messages(20, f"{prefix}{number}-")))))

    threads = [threading.Thread(target=send, args=(prefix,)) for prefix in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert done == [20] * 30
    assert len(set(server.recipients)) == len(server.recipients) == 600
    assert server.connections <= 4


def test_rate_holds_over_all_connections(server: PickyServer) -> None:
    options = f"{server.options}&rate=50/second"
    with closing(SMTPTransport.from_url(server.url(options))) as transport:
        begun = threading.Event()
        over = threading.Timer(0.5, begun.set)
        over.start()
        sent = 0
        for _ in transport.send(messages(200)):
            sent += 1
            if begun.is_set():
                break
    assert sent <= 50  # twice of what half a second allows
