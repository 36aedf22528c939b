"""The short way of the pipelined dialogue does to the octet what the full dialogue does, whatever servers do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import FrozenInstanceError, dataclass, field, replace
from typing import cast

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.drills import rounds
from tests.test_smtp_dialogue import GOOD, REPLIES, MemoryConnection, MemorySocket, messages
from transports.base import Message, Outcome, Status, TransportUnavailable, sent_outcome, vouched_message
from transports.smtp.dialogue import Steps, Timeouts
from transports.smtp.multiplexer import DrawMessage, SessionMultiplexer
from transports.smtp.paced_messages import PacedMessages
from transports.smtp.pipeline import PipelinedDialogue
from transports.smtp.pool import SessionPool
from transports.smtp.session import Session
from transports.smtp.transactions import Extensions, Transaction, TransactionBuilder

GREETINGS = ("250 2.0.0 ok", "250 2.0.0 Ok: queued as 4XYZ", "250", "250 ü", "251 elsewhere", "250 " + "x" * 600)
Script = dict[int, str | None]


@dataclass
class Wire:
    """What one server says, and how its connection cuts what is written and read."""

    script: Script
    cuts: list[int]
    uncut: int  # so many moves are not cut

    def socket(self) -> MemorySocket:
        said, moves, cuts = iter(range(10**6)), iter(range(10**6)), iter(self.cuts)

        def behaviour(verb: str) -> bytes | None:
            text = self.script.get(next(said), GOOD.get(verb, "500 what"))
            return text if text is None else (text and text + "\r\n").encode()

        return MemorySocket(
            behaviour, lambda limit: limit if next(moves) < self.uncut else min(limit, next(cuts, limit))
        )


@dataclass
class Pool:
    """Sessions over these sockets, `size` at a time."""

    sockets: list[MemorySocket]
    size: int
    used: list[MemorySocket] = field(default_factory=list)
    busy: int = 0

    @contextmanager
    def session(self) -> Iterator[Session]:
        if not self.sockets:
            raise TransportUnavailable("no more")
        self.used.append(self.sockets.pop(0))
        self.busy += 1
        try:
            yield Session(MemoryConnection(self.used[-1]), Extensions(pipelining=True))
        finally:
            self.busy -= 1

    def session_if_free(self) -> object:
        return self.session() if self.busy < self.size else None


def start(session: Session, draw: DrawMessage, wrap: Callable[[Steps], Steps]) -> Steps:
    builder = TransactionBuilder(session.extensions)

    def draw_transaction() -> Transaction | Outcome | None:
        message = draw()
        session.transaction_count += message is not None
        return None if message is None else builder.build(message)

    return wrap(PipelinedDialogue(session.connection, Timeouts()).run(draw_transaction))


def without_short_way(steps: Steps) -> Steps:
    return (step if isinstance(step, Outcome) else None for step in steps)


def events(wires: list[Wire], size: int, batch: list[Message], wrap: Callable[[Steps], Steps]) -> list[object]:
    """All that is drawn, known and raised, in its order, and what each server got and took."""
    seen: list[object] = []

    def drawn() -> Iterator[Message]:
        for message in batch:
            seen.append(message.id)
            yield message

    pool = Pool([wire.socket() for wire in wires], size)
    paced = PacedMessages(drawn(), None)
    multiplexer = SessionMultiplexer(
        cast(SessionPool, pool), paced, lambda session, draw: start(session, draw, wrap), seen.append
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transports.smtp.multiplexer.SELDOM", 1)  # the full dialogue looks for a session at each message
        try:
            seen.extend(multiplexer.run())
        except TransportUnavailable as error:
            seen.append((type(error), str(error), error.about))
    assert pool.busy == 0
    return [repr(each) for each in seen] + [(sock.received, sock.taken) for sock in pool.used]


@st.composite
def wires(draw: st.DrawFn) -> Wire:
    script: Script = {}
    position = 0
    for gap, text in draw(st.lists(st.tuples(st.integers(0, 30), REPLIES | st.sampled_from(GREETINGS)), max_size=5)):
        position += gap
        script[position] = text
    cuts = draw(st.lists(st.one_of(st.integers(1, 120), st.integers(0, 3)), max_size=8))
    return Wire(script, cuts, draw(st.integers(0, 60)))


@pytest.mark.drill
@settings(max_examples=rounds(300, 8000), deadline=None)
@given(st.lists(wires(), min_size=1, max_size=4), st.integers(1, 3), st.integers(0, 30), st.sets(st.integers(0, 30)))
def test_short_way_and_full_dialogue_do_the_same(made: list[Wire], size: int, count: int, vouched: set[int]) -> None:
    batch = messages(count)
    for place in vouched & set(range(count)):
        message = batch[place]
        batch[place] = vouched_message(message.id, message.sender, message.recipient, b"Subject: x\r\n\r\nHi\r\n")

    short = events(made, size, batch, lambda steps: steps)

    assert short == events(made, size, batch, without_short_way)
    event(f"ended: {next((str(each)[:40] for each in short if 'Unavailable' in str(each)), 'normally')}")


def test_usual_replies_take_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str | Steps] = []
    reply = PipelinedDialogue.reply

    def noted(dialogue: PipelinedDialogue) -> str | Steps:
        taken.append(reply(dialogue))
        return taken[-1]

    monkeypatch.setattr(PipelinedDialogue, "reply", noted)
    batch = [each for each in messages(40) if b"bare" not in each.content]

    seen = events([Wire({}, [], 0), Wire({}, [], 0)], 2, batch, lambda steps: steps)

    assert len([each for each in seen if "Status.SENT" in str(each)]) == 30
    assert taken == ["250 taken"] * 28  # all but the last of each connection


@given(st.text(), st.text(), st.text(), st.binary())
def test_what_is_made_quickly_is_as_its_constructor_makes_it(one: str, two: str, three: str, content: bytes) -> None:
    message, outcome = vouched_message(one, two, three, content), sent_outcome(one, two)
    assert (message, outcome) == (Message(one, two, three, content), Outcome(one, Status.SENT, two))
    assert (hash(message), repr(outcome)) == (
        hash(Message(one, two, three, content)),
        repr(Outcome(one, Status.SENT, two)),
    )
    assert (message.vouched, replace(message, content=b"x").vouched) == (True, False)
    for made in (message, outcome):
        with pytest.raises(FrozenInstanceError):
            made.id = "x"  # type: ignore[misc]
