"""Servers that end a session after so many messages: another follows at once, at the cost of a connect and no wait."""

from __future__ import annotations

import math
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import pytest

from tests.smtp_servers import EXTENSIONS, Conversation, FakeServer, running
from transports.base import About, Message, Outcome, Status, TransportUnavailable
from transports.rate import Rate
from transports.smtp.settings import SMTPSettings
from transports.smtp.transport import SMTPTransport

pytestmark = pytest.mark.slow

FORMS = {"pipelined": (EXTENSIONS, ""), "chunked": (EXTENSIONS, "bdat=yes"), "lockstep": (("8BITMIME",), "")}
GOODBYE = b"421 4.7.0 that is all for this session\r\n"


@dataclass
class LimitedServer(FakeServer):
    """Takes `limit` messages in a session, then says `goodbye` and closes: when the next begins, or `at_once`.

    After `lifetime` sessions it says so at the first message of each. It greets nobody in the sessions of `silent`,
    which are counted from 1.
    """

    limit: int = 20
    goodbye: bytes = GOODBYE
    at_once: bool = False
    lifetime: int = 10**9
    silent: tuple[int, ...] = ()

    def serve(self, sock: socket.socket) -> None:
        self.connections += 1
        self.sockets.append(sock)
        try:
            if self.connections not in self.silent:
                LimitedConversation(self, sock, self.limit if self.connections <= self.lifetime else 0).run()
        except (OSError, ValueError):
            pass
        finally:
            sock.close()


class LimitedConversation(Conversation):
    def __init__(self, server: LimitedServer, sock: socket.socket, limit: int) -> None:
        super().__init__(server, sock)
        self.limited, self.left = server, limit

    def say(self, verb: str, content: bytes | None = None) -> bytes:
        reply = super().say(verb, content)
        if content is not None and reply.startswith(b"250"):
            self.left -= 1
            if self.left <= 0 and self.limited.at_once:
                self.end()
        return reply

    def command(self, verb: str, argument: str) -> None:
        if verb == "MAIL" and self.left <= 0:
            self.end()
        else:
            super().command(verb, argument)

    def end(self) -> None:
        self.sock.sendall(self.limited.goodbye)
        self.open = False


def messages(count: int) -> list[Message]:
    return [Message(f"m{n}", "s@example.org", f"m{n}@example.org", b"Subject: x\r\n\r\nHi\r\n") for n in range(count)]


ENDINGS = {
    "421 when the next begins": (GOODBYE, False),
    "421 at once": (GOODBYE, True),
    "closed when the next begins": (b"", False),
    "closed at once": (b"", True),
}


@pytest.fixture(params=[1, 3, 20])
def limit(request: pytest.FixtureRequest) -> int:
    return int(request.param)


# with BDAT a message that was written whole and not answered is uncertain, whatever the server meant
WAYS = [(form, ending) for form in FORMS for ending in ENDINGS if form != "chunked" or ENDINGS[ending][0]]


@pytest.fixture(params=WAYS, ids=", ".join)
def way(request: pytest.FixtureRequest) -> tuple[str, str]:
    form, ending = request.param
    return form, ending


@pytest.fixture
def form(way: tuple[str, str]) -> str:
    return way[0]


@pytest.fixture
def server(way: tuple[str, str], limit: int) -> Iterator[LimitedServer]:
    form, ending = way
    goodbye, at_once = ENDINGS[ending]
    made = LimitedServer(extensions=FORMS[form][0], limit=limit, goodbye=goodbye, at_once=at_once)
    with running(made):
        yield made


@pytest.mark.parametrize("connections", [1, 4])
def test_sessions_that_the_server_ends_are_followed_at_once(
    server: LimitedServer, form: str, limit: int, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    url = server.url("&".join(filter(None, (f"connections={connections}&data_timeout=10s", FORMS[form][1]))))

    with closing(SMTPTransport.from_url(url)) as transport:
        outcomes = list(transport.send(messages(100)))

    assert [(each.id, each.status) for each in outcomes] == [(f"m{n}", Status.SENT) for n in range(100)]
    assert Counter(server.recipients) == Counter(f"m{n}@example.org" for n in range(100))
    assert math.ceil(100 / limit) <= server.connections <= math.ceil(100 / limit) + connections
    assert slept == []


def test_one_answer_over_several_sends_proves_a_kept_session() -> None:
    with running(LimitedServer(limit=3)) as server, closing(SMTPTransport.from_url(server.url())) as transport:
        for _ in range(7):
            assert [each.status for each in transport.send(messages(2))] == [Status.SENT] * 2

        assert (len(server.mails), server.connections) == (14, 5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("goodbye", [GOODBYE, b""], ids=["421", "closed"])
def test_first_answer_of_a_session_is_the_transports_trouble(form: str, goodbye: bytes) -> None:
    """Else a server that is closing, or whose limit is reached, would be asked without end."""
    outcomes: list[Outcome] = []
    server = LimitedServer(extensions=FORMS[form][0], limit=5, lifetime=2, goodbye=goodbye)
    with (
        running(server),
        closing(SMTPTransport.from_url(server.url(FORMS[form][1]))) as transport,
        pytest.raises(TransportUnavailable, match=r"smtp: 127\.0\.0\.1:\d+: ") as caught,
    ):
        outcomes.extend(transport.send(messages(50)))

    sent = [each for each in outcomes if each.status is Status.SENT]
    assert len(sent) == len(server.mails) == (5 if form == "chunked" and not goodbye else 10)
    assert len(outcomes) - len(sent) == (1 if form == "chunked" and not goodbye else 0)
    assert caught.value.about is (About.RATE if goodbye else About.TRANSPORT)
    assert server.connections == (1 if form == "chunked" and not goodbye else 3)


def test_server_that_is_gone_after_its_goodbye_is_unavailable() -> None:
    outcomes: list[Outcome] = []
    made = LimitedServer(limit=4, silent=(2,))
    with running(made) as server, closing(SMTPTransport.from_url(server.url())) as transport:
        with pytest.raises(TransportUnavailable, match="closed the connection"):
            outcomes.extend(transport.send(messages(9)))

        assert [each.status for each in outcomes] == [Status.SENT] * 4
        assert [each.status for each in transport.send(messages(9)[4:])] == [Status.SENT] * 5


@pytest.mark.parametrize("form", ["pipelined", "lockstep"])
def test_session_ended_after_a_refusal_is_followed_too(form: str) -> None:
    with running(FakeServer(extensions=FORMS[form][0])) as server:
        server.script["RCPT"] = [b"550 5.1.1 no such user\r\n"]
        server.script["RSET"] = server.script["."] = [b"421 4.7.0 bye\r\n"]
        with closing(SMTPTransport.from_url(server.url())) as transport:
            outcomes = list(transport.send(messages(3)))

    assert [each.status for each in outcomes] == [Status.REFUSED, Status.SENT, Status.SENT]
    assert server.connections == 2


class CountedRate(Rate):
    """Lets every message go at once."""

    turns = 0

    def take(self) -> bool:
        self.turns += 1
        return True

    def wait(self, wanted: Callable[[], bool] = lambda: True, most: int = 1) -> int:
        self.turns += 1
        return most


def test_rate_counts_each_message_once() -> None:
    """What is given back by a session that ended has had its turn."""
    rate = CountedRate(None)
    with running(LimitedServer(limit=1)) as server:
        settings = replace(SMTPSettings.from_url(server.url()), rate=rate)
        with closing(SMTPTransport(settings)) as transport:
            assert [each.status for each in transport.send(messages(10))] == [Status.SENT] * 10

    assert rate.turns == 10
