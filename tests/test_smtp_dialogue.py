"""Whatever the server does at whatever octet: a server in memory, scripted by hypothesis, that knows what it took."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.drills import rounds
from transports.base import Message, Outcome, Status, TransportUnavailable
from transports.smtp.connection import Connection
from transports.smtp.dialogue import ChunkedDialogue, Dialogue, LockstepDialogue, Timeouts
from transports.smtp.pipeline import PipelinedDialogue
from transports.smtp.transactions import Extensions, Transaction, TransactionBuilder

GOOD = {"MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go on", "END": "250 taken", "RSET": "250 ok"}
FORMS: list[type[Dialogue]] = [LockstepDialogue, PipelinedDialogue, ChunkedDialogue]
END_OF_DATA = re.compile(rb"(?:\A|.*?\r\n)\.\r\n", re.DOTALL)


class MemorySocket:
    """The far end of a connection. `behaviour(verb)` gives the reply, b"" for silence from now on, None to close.

    `pieces(limit)` says how many octets the next write or read gets, and 0 that the connection breaks there.
    """

    def __init__(self, behaviour: Callable[[str], bytes | None], pieces: Callable[[int], int]) -> None:
        self.behaviour = behaviour
        self.pieces = pieces
        self.input = self.output = self.received = b""
        self.rcpt = ""
        self.began = self.in_data = self.closed = self.broken = self.mute = self.writing = False
        self.taken: list[str] = []  # recipients whose end of data was answered with 250

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def setsockopt(self, *_option: int) -> None:
        pass

    def close(self) -> None:
        self.broken = True

    def send(self, data: bytes) -> int:
        self.writing = True
        size = 0 if self.broken else self.pieces(len(data))
        self.writing = False
        if size == 0:
            self.broken = True
            raise ConnectionResetError
        self.received += bytes(data[:size])
        self.input += bytes(data[:size])
        while not self.closed and self.understand():
            pass
        return size

    def recv(self, limit: int) -> bytes:
        if not self.output:
            if self.closed or self.broken:
                return b""
            raise TimeoutError
        size = self.pieces(min(limit, len(self.output)))
        if size == 0:
            self.broken = True
            self.output = b""
            raise ConnectionResetError
        data, self.output = self.output[:size], self.output[size:]
        return data

    def understand(self) -> bool:
        if self.in_data:
            match = END_OF_DATA.match(self.input)
            if match is None:
                return False
            self.input = self.input[match.end() :]
            self.in_data = False
            self.end(match[0] != b".\r\n")
            return True
        line, newline, rest = self.input.partition(b"\r\n")
        if not newline:
            return False
        verb, _, argument = line.decode().partition(" ")
        if verb == "BDAT":
            size = int(argument.partition(" ")[0])
            if len(rest) < size:
                return False
            self.input = rest[size:]
            self.end(True)
            return True
        self.input = rest
        self.command(verb, argument)
        return True

    def command(self, verb: str, argument: str) -> None:
        reply = self.say(verb)
        if verb in {"MAIL", "RSET"}:
            self.rcpt, self.began = "", verb == "MAIL" and reply.startswith(b"250")
        elif verb == "RCPT" and reply.startswith(b"25") and self.began:
            self.rcpt = argument
        elif verb == "DATA":
            self.in_data = reply.startswith(b"354")

    def end(self, whole: bool) -> None:
        rcpt = re.sub(r"TO:<(.*)@x>", r"\1", self.rcpt)
        if self.say("END").startswith(b"25") and rcpt and whole:
            self.taken.append(rcpt)
        self.rcpt = ""

    def say(self, verb: str) -> bytes:
        reply = self.behaviour(verb)
        if reply is None:
            self.closed = True
            return b""
        self.mute = self.mute or not reply
        if self.mute:
            return b""
        self.output += reply
        self.closed = reply.startswith(b"421")
        return reply


class MemoryConnection(Connection):
    """A wire to such a socket."""

    def __init__(self, sock: MemorySocket) -> None:
        super().__init__(cast(socket.socket, sock), "memory.test:25")
        self._end = sock

    def is_idle(self) -> bool:
        return self.is_drained and not (self._end.output or self._end.closed or self._end.broken)


def messages(count: int) -> list[Message]:
    bodies = [b"Subject: x\r\n\r\nHi\r\n", b".\r\n.x\r\n", b"", b"bare\nline end\r\n"]
    return [Message(f"m{n}", "s@x", f"m{n}@x", b"<%d>\r\n" % n + bodies[n % len(bodies)]) for n in range(count)]


def bodies(form: type[Dialogue], count: int) -> dict[str, bytes]:
    builder = TransactionBuilder(Extensions(), chunked=form is ChunkedDialogue)
    return {each.id: each.data for each in map(builder.build, messages(count)) if isinstance(each, Transaction)}


def converse(form: type[Dialogue], sock: MemorySocket, count: int) -> tuple[list[Outcome], list[str], str]:
    """The outcomes, the ids drawn, and the error if there was one."""
    builder = TransactionBuilder(Extensions(), chunked=form is ChunkedDialogue)
    drawn: list[str] = []
    source = iter(messages(count))

    def draw() -> Transaction | Outcome | None:
        message = next(source, None)
        if message is None:
            return None
        drawn.append(message.id)
        return builder.build(message)

    outcomes: list[Outcome] = []
    try:
        for outcome in form(MemoryConnection(sock), Timeouts()).run(draw):
            if not isinstance(outcome, Outcome):
                continue
            outcomes.append(outcome)
            assert len(drawn) - len(outcomes) <= 1
    except TransportUnavailable as error:
        return outcomes, drawn, str(error)
    return outcomes, drawn, ""


REPLIES = st.sampled_from(
    [
        "250 2.0.0 ok",
        "250-two\r\n250 lines",
        "354 go on",
        "450 4.2.0 later",
        "451 4.3.0 broken",
        "550 5.1.1 <m0@x> never",
        "552 5.3.4 too big",
        "421 4.3.2 bye",
        "503 5.5.1 sequence",
        "nonsense",
        "2",
        "250-endless\r\n" * 200,
        "",
        None,
    ]
)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.drill
@settings(max_examples=rounds(120, 4000), deadline=None)
@given(data=st.data())
def test_no_outcome_is_lost_doubled_or_wrong(form: type[Dialogue], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, 9))
    odd = iter(data.draw(st.lists(st.tuples(st.integers(0, 12), REPLIES), max_size=4)))
    cuts = iter(data.draw(st.lists(st.one_of(st.integers(1, 30), st.integers(0, 3)), max_size=12)))
    start = data.draw(st.integers(0, 40))
    script: dict[int, str | None] = {}
    position = 0
    for gap, text in odd:
        position += gap
        script[position] = text
    said = iter(range(10**6))
    moves = iter(range(10**6))

    def behaviour(verb: str) -> bytes | None:
        text = script.get(next(said), GOOD.get(verb, "500 what"))
        return text if text is None else (text and text + "\r\n").encode()

    def pieces(limit: int) -> int:
        return limit if next(moves) < start else min(limit, next(cuts, limit))

    sock = MemorySocket(behaviour, pieces)
    outcomes, drawn, error = converse(form, sock, count)

    by_status = {status: [each.id for each in outcomes if each.status is status] for status in Status}
    ids = [each.id for each in outcomes]
    unanswered = drawn[len(ids) :]
    assert ids == drawn[: len(ids)]
    assert set(by_status[Status.SENT]) <= set(sock.taken)
    for each in by_status[Status.UNCERTAIN]:
        assert bodies(form, count)[each] in sock.received
    assert set(sock.taken) <= {*by_status[Status.SENT], *by_status[Status.UNCERTAIN]}
    assert len(set(sock.taken)) == len(sock.taken)
    assert not set(unanswered) & set(sock.taken)
    assert by_status[Status.UNCERTAIN] in ([], ids[-1:])
    assert not by_status[Status.UNCERTAIN] or error
    assert error or ids == [each.id for each in messages(count)]
    assert "@" not in error
    event(f"ended: {error[:30] or 'normally'}")
    event(f"uncertain: {len(by_status[Status.UNCERTAIN])}")


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_write_broken_after_each_octet_leaves_uncertain_exactly_what_was_written_whole(form: type[Dialogue]) -> None:
    whole = MemorySocket(lambda verb: GOOD[verb].encode() + b"\r\n", lambda limit: limit)
    converse(form, whole, 3)
    seen = set()

    for size in range(len(whole.received)):
        sock = MemorySocket(lambda verb: GOOD[verb].encode() + b"\r\n", lambda limit: limit)
        sock.pieces = lambda limit, sock=sock, size=size: (
            min(limit, size - len(sock.received)) if sock.writing else limit
        )
        outcomes, drawn, error = converse(form, sock, 3)

        uncertain = [each.id for each in outcomes if each.status is Status.UNCERTAIN]
        assert error
        assert not [each for each in drawn[len(outcomes) :] if bodies(form, 3)[each] in sock.received]
        assert all(bodies(form, 3)[each] in sock.received for each in uncertain)
        seen.add(len(uncertain))

    assert seen == ({0, 1} if form is PipelinedDialogue else {0})
