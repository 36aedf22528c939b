"""Servers that offer PIPELINING and cannot do it: noticed, spoken to in lockstep from then on, and logged once."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import BinaryIO, cast

import pytest

from tests.smtp_servers import EXTENSIONS, Conversation, FakeServer, running
from transports.base import Message, Status, TransportUnavailable
from transports.smtp.transport import SMTPTransport


@dataclass
class BrokenServer(FakeServer):
    """Throws away what came together with one of the commands `deaf_after`, as if it had not been written."""

    deaf_after: tuple[str, ...] = ("MAIL",)

    def serve(self, sock: socket.socket) -> None:
        self.connections += 1
        self.sockets.append(sock)
        try:
            DeafConversation(self, sock).run()
        except (OSError, ValueError):
            pass
        finally:
            sock.close()


class ForgetfulReader:
    """Reads lines as a socket's file does, and can forget what came together with the last one."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""

    def readline(self) -> bytes:
        while b"\n" not in self.buffer:
            if not (data := self.sock.recv(65536)):
                return b""
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line + b"\n"

    def forget(self) -> None:
        self.buffer = b""

    def close(self) -> None:
        pass


class DeafConversation(Conversation):
    def __init__(self, server: BrokenServer, sock: socket.socket) -> None:
        super().__init__(server, sock)
        self.deaf_after = server.deaf_after
        self.file.close()
        self.reader = ForgetfulReader(sock)
        self.file = cast(BinaryIO, self.reader)

    def say(self, verb: str, content: bytes | None = None) -> bytes:
        if verb in self.deaf_after:
            self.reader.forget()
        return super().say(verb, content)


def messages(count: int, prefix: str = "m") -> list[Message]:
    content = b"Subject: x\r\n\r\nHi\r\n"
    return [Message(f"{prefix}{n}", "s@example.org", f"{prefix}{n}@example.org", content) for n in range(count)]


@pytest.fixture(autouse=True)
def short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transports.smtp.pipeline.PIPELINED_REPLY_TIMEOUT", 0.3)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with running(FakeServer(extensions=EXTENSIONS)) as made:
        yield made


def sent_in_lockstep(server: FakeServer, caplog: pytest.LogCaptureFixture, count: int = 5) -> SMTPTransport:
    transport = SMTPTransport.from_url(server.url())
    for prefix in ("a", "b"):
        outcomes = list(transport.send(messages(count, prefix)))
        assert [(each.id, each.status) for each in outcomes] == [(f"{prefix}{n}", Status.SENT) for n in range(count)]
    assert sorted(server.recipients) == sorted(f"{p}{n}@example.org" for p in "ab" for n in range(count))
    assert server.connections == 2
    warnings = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert f"127.0.0.1:{server.port}" in warnings[0]
    assert "pipelining=no" in warnings[0]
    assert "@" not in warnings[0]
    return transport


@pytest.mark.parametrize("deaf_after", [("MAIL",), ("RCPT",), (".",), ("MAIL", "RCPT", "DATA", ".")], ids=str)
def test_server_that_does_not_hear_what_rides_behind(
    deaf_after: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    with running(BrokenServer(deaf_after=deaf_after)) as server:
        sent_in_lockstep(server, caplog).close()


def test_server_that_refuses_what_it_did_not_hear(server: FakeServer, caplog: pytest.LogCaptureFixture) -> None:
    server.script["DATA"] = [b"503 5.5.1 need RCPT\r\n"]

    began = time.monotonic()
    sent_in_lockstep(server, caplog).close()

    assert time.monotonic() - began < 5


def test_server_that_answers_out_of_step_before_a_message(server: FakeServer, caplog: pytest.LogCaptureFixture) -> None:
    server.script["RCPT"] = [b"354 go on\r\n"]

    sent_in_lockstep(server, caplog).close()


def test_answers_out_of_step_behind_a_message_leave_it_in_doubt_and_no_other(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The 250 before may not have been to its dot."""
    server.script["RCPT"] = [None, b"354 go on\r\n"]

    with closing(SMTPTransport.from_url(server.url())) as transport:
        outcomes = list(transport.send(messages(4)))

    assert [each.status for each in outcomes] == [Status.UNCERTAIN, *[Status.SENT] * 3]
    assert server.recipients == [f"m{n}@example.org" for n in range(4)]
    assert len(caplog.records) == 1


def test_nothing_of_a_message_is_written_twice_when_it_is_noticed() -> None:
    with running(BrokenServer(deaf_after=(".",))) as server, closing(SMTPTransport.from_url(server.url())) as transport:
        outcomes = list(transport.send(messages(20)))

    assert [each.status for each in outcomes] == [Status.SENT] * 20
    assert server.recipients == [f"m{n}@example.org" for n in range(20)]


def test_several_connections_notice_it_once(caplog: pytest.LogCaptureFixture) -> None:
    with (
        running(BrokenServer(deaf_after=("MAIL",))) as server,
        closing(SMTPTransport.from_url(server.url("connections=4"))) as transport,
    ):
        outcomes = list(transport.send(messages(40)))

    assert [(each.id, each.status) for each in outcomes] == [(f"m{n}", Status.SENT) for n in range(40)]
    assert len(caplog.records) == 1


def test_a_limit_is_no_broken_pipelining(server: FakeServer, caplog: pytest.LogCaptureFixture) -> None:
    server.script["RCPT"] = [b"450 4.7.1 too many recipients\r\n"]

    with closing(SMTPTransport.from_url(server.url())) as transport, pytest.raises(TransportUnavailable):
        list(transport.send(messages(2)))

    assert caplog.records == []


@pytest.mark.parametrize("options", ["pipelining=no", "pipelining=no&bdat=yes"])
def test_pipelining_can_be_turned_off(options: str, caplog: pytest.LogCaptureFixture) -> None:
    with (
        running(BrokenServer(deaf_after=("MAIL", "RCPT", "DATA", "."))) as server,
        closing(SMTPTransport.from_url(server.url(options))) as transport,
    ):
        assert [each.status for each in transport.send(messages(3))] == [Status.SENT] * 3

    assert server.connections == 1
    assert "BDAT" not in server.verbs
    assert caplog.records == []
