"""The mail dialogue: what all its forms share, and the two that need no look-ahead (lockstep, and BDAT).

A dialogue draws parcels, writes them and yields outcomes. Whenever it has written and an answer is on its way it
pauses, by yielding None, so that one thread can hold several dialogues. It knows at each moment whether the end of a
message's data was written and not yet answered; only there can a message be `uncertain`, and then it never draws.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TypeVar

from transports.base import About, Outcome, Status, TransportUnavailable
from transports.smtp.blame import judge
from transports.smtp.errors import OutOfStep, SessionEnded, about_reply, failure
from transports.smtp.framing import Parcel
from transports.smtp.replies import Phase, Reply, Verdict
from transports.smtp.wire import ConnectionLost, Loss, Wire

Draw = Callable[[], Parcel | Outcome | None]
T = TypeVar("T")
Paused = Generator[None, None, T]  # gives its value after pauses

DATA = b"DATA\r\n"
RSET = b"RSET\r\n"
STATUS = {Verdict.ACCEPTED: Status.SENT, Verdict.DEFERRED: Status.DEFERRED, Verdict.REFUSED: Status.REFUSED}


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds to wait for a command's reply, and for the reply to the end of data (RFC 5321 section 4.5.3.2)."""

    command: float = 300.0
    final: float = 600.0


@dataclass(frozen=True, slots=True)
class Step:
    """What one exchange came to: the outcome it settled, if any, and why the connection cannot go on, if so."""

    outcome: Outcome | None = None
    failure: TransportUnavailable | None = None


class Dialogue(ABC):
    """One connection's dialogue, ready for MAIL. After `TransportUnavailable` the connection must be dropped."""

    def __init__(self, wire: Wire, patience: Patience) -> None:
        self._wire = wire
        self._patience = patience

    @abstractmethod
    def run(self, draw: Draw) -> Iterator[Outcome | None]:
        """Send what `draw` gives until it gives None, with an outcome for each; an outcome drawn is passed on.

        None is a pause: there is an answer to wait for, and time until then. Whoever abandons the dialogue in one may
        leave a message in doubt. Raises `TransportUnavailable`; what was drawn and has no outcome was then certainly
        not handed over.
        """

    def _outcome(self, parcel: Parcel, phase: Phase, reply: Reply) -> Outcome | None:
        """The outcome that `reply` means, or None if the dialogue goes on."""
        verdict, about = judge(phase, reply)
        if verdict is Verdict.OUT_OF_STEP:
            raise self._failed(f"{phase} was answered {reply}", about, OutOfStep)
        if verdict is Verdict.UNAVAILABLE:
            ended = phase is Phase.MAIL and reply.code == 421
            raise self._failed(f"{phase} was answered {reply}", about, SessionEnded if ended else TransportUnavailable)
        if verdict is Verdict.ACCEPTED and phase is not Phase.END:
            return None
        return Outcome(parcel.id, STATUS[verdict], str(reply), about)

    def _ask(self, command: bytes) -> Paused[Reply]:
        try:
            self._wire.write(command, self._patience.command)
            yield
            self._wire.allow(self._patience.command)
            return self._wire.reply()
        except ConnectionLost as lost:
            raise self._broken(lost) from lost

    def _read_reply(self) -> Reply:
        try:
            return self._wire.reply()
        except ConnectionLost as lost:
            raise self._broken(lost) from lost

    def _reset(self) -> Paused[None]:
        reply = yield from self._ask(RSET)
        if reply.code != 250:
            raise self._ended(f"RSET was answered {reply}", reply)

    def _failed(
        self, reason: str, about: About = About.TRANSPORT, kind: type[TransportUnavailable] = TransportUnavailable
    ) -> TransportUnavailable:
        return failure(kind, self._wire.place, reason, about)

    def _broken(self, lost: ConnectionLost) -> TransportUnavailable:
        """The connection broke, and nothing of a message had been written that has no answer."""
        return self._failed(str(lost), kind=SessionEnded if lost.loss is Loss.CLOSED else TransportUnavailable)

    def _ended(self, reason: str, reply: Reply) -> TransportUnavailable:
        """Between two messages the server gave a reply after which there can be no more."""
        return self._failed(reason, about_reply(reply), SessionEnded if reply.code == 421 else TransportUnavailable)

    def _settle(self, parcel: Parcel, reply: Reply) -> Step:
        """What the reply to the end of data means."""
        try:
            return Step(self._outcome(parcel, Phase.END, reply))
        except OutOfStep as error:
            return doubt(parcel.id, error)
        except TransportUnavailable as error:
            return Step(failure=error)

    def _abandoned(self, parcel: Parcel, lost: ConnectionLost) -> Step:
        """The connection broke before the end of data was written. The server may have said why."""
        reply = self._wire.last_words()
        if reply is None or reply.code < 400:
            return Step(failure=self._failed(str(lost)))
        step = self._settle(parcel, reply)
        return Step(step.outcome, step.failure or self._failed(f"the data was answered {reply}"))


def doubt(message_id: str, failure: TransportUnavailable) -> Step:
    """All of the message was written and there is no telling what became of it."""
    return Step(Outcome(message_id, Status.UNCERTAIN, str(failure), About.TRANSPORT), failure)


class LockstepDialogue(Dialogue):
    """One command, one reply: for servers without PIPELINING."""

    def run(self, draw: Draw) -> Iterator[Outcome | None]:
        """See `Dialogue.run`."""
        while (item := draw()) is not None:
            if isinstance(item, Outcome):
                yield item
                continue
            refusal = yield from self._introduce(item)
            if refusal is not None:
                yield refusal
                yield from self._reset()
                continue
            step = yield from self._hand_over(item)
            if step.outcome is not None:
                yield step.outcome
            if step.failure is not None:
                raise step.failure

    def _introduce(self, parcel: Parcel) -> Paused[Outcome | None]:
        for phase, command in ((Phase.MAIL, parcel.mail), (Phase.RCPT, parcel.rcpt), (Phase.DATA, DATA)):
            reply = yield from self._ask(command)
            refusal = self._outcome(parcel, phase, reply)
            if refusal is not None:
                return refusal
        return None

    def _hand_over(self, parcel: Parcel) -> Paused[Step]:
        try:
            self._wire.write(parcel.body, self._patience.final)
            yield
            self._wire.allow(self._patience.final)
            return self._settle(parcel, self._wire.reply())
        except ConnectionLost as lost:
            if lost.written < len(parcel.body):
                return self._abandoned(parcel, lost)
            return doubt(parcel.id, self._failed(str(lost)))


class ChunkedDialogue(Dialogue):
    """MAIL, RCPT and the content as one BDAT chunk in one write (RFC 3030 section 4.2), one message at a time."""

    def run(self, draw: Draw) -> Iterator[Outcome | None]:
        """See `Dialogue.run`."""
        self._wire.acknowledge_at_once()
        while (item := draw()) is not None:
            if isinstance(item, Outcome):
                yield item
                continue
            step = yield from self._exchange(item)
            if step.outcome is not None:
                yield step.outcome
            if step.failure is not None:
                raise step.failure
            if step.outcome is not None and step.outcome.status is not Status.SENT:
                yield from self._reset()  # RFC 3030 section 2: the state after a failed BDAT is not defined

    def _exchange(self, parcel: Parcel) -> Paused[Step]:
        if not self._wire.quiet():  # once all is written, a session that has ended leaves the message in doubt
            return Step(failure=self._farewell())
        data = parcel.mail + parcel.rcpt + parcel.body
        refusal: Outcome | None = None
        try:
            self._wire.write(data, self._patience.final)
            yield
            self._wire.allow(self._patience.final)
            refusal = self._outcome(parcel, Phase.MAIL, self._wire.reply())
            rcpt = self._wire.reply()
            refusal = refusal or self._outcome(parcel, Phase.RCPT, rcpt)
            end = self._wire.reply()
        except ConnectionLost as lost:
            return self._cut_off(parcel, lost, refusal, lost.written == len(data))
        except OutOfStep as error:
            return doubt(parcel.id, error)
        except TransportUnavailable as error:
            return Step(failure=error)
        return Step(refusal) if refusal else self._settle(parcel, end)

    def _farewell(self) -> TransportUnavailable:
        reply = self._wire.last_words()
        if reply is None:
            return self._failed("the server closed the connection", kind=SessionEnded)
        return self._ended(f"between two messages the server said {reply}", reply)

    def _cut_off(self, parcel: Parcel, lost: ConnectionLost, refusal: Outcome | None, whole: bool) -> Step:
        if refusal is not None:
            return Step(refusal, self._broken(lost))
        return doubt(parcel.id, self._failed(str(lost))) if whole else Step(failure=self._broken(lost))
