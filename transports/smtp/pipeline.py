"""The pipelined dialogue (RFC 2920): one write and one read a message in the steady state.

The next message's MAIL, RCPT and DATA ride behind this one's final dot, so its envelope is judged in the same round
trip. When the write is made, the message in hand is the only one whose content has been written; when the replies are
in, there is none. Only then is the next one drawn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from transports.base import Outcome, Status, TransportUnavailable
from transports.smtp.dialogue import DATA, RSET, Dialogue, Draw, Paused, Step, doubt
from transports.smtp.errors import OutOfStep, PipeliningBroken
from transports.smtp.framing import Parcel
from transports.smtp.replies import Phase, Reply
from transports.smtp.wire import ConnectionLost, Loss

LONE_DOT = b".\r\n"
RIDING_PATIENCE = 10.0  # seconds for the reply to a command, once that to the one before has come in the same write
NEVER_HEARD = frozenset({500, 502, 503})  # what a server says that dropped the command before
# what nearly always comes, in one piece; anything else is read reply by reply
TEXT = rb" [ -~]{0,998}"
TAKEN = rb"(250%b)\r\n" % TEXT
OPENED = rb"250%b\r\n25[01]%b\r\n354%b\r\n" % (TEXT, TEXT, TEXT)
USUAL_END, USUAL_BEGINNING, USUAL = map(re.compile, (TAKEN, OPENED, TAKEN + OPENED))


@dataclass(frozen=True, slots=True)
class Answer:
    """How an envelope fared: `refusal` if it did not get through; `open`: the server waits for data all the same."""

    refusal: Outcome | None = None
    open: bool = True


@dataclass(frozen=True, slots=True)
class PipelinedStep(Step):
    """Also how the envelope fared that rode behind; None if none did."""

    answer: Answer | None = None


WELCOME = Answer()


class PipelinedDialogue(Dialogue):
    """The usual form, for servers with PIPELINING."""

    def run(self, draw: Draw) -> Iterator[Outcome | None]:
        """See `Dialogue.run`."""
        item = draw()
        answer: Answer | None = None
        while item is not None:
            if isinstance(item, Outcome):
                yield item
                item = draw()
                continue
            if answer is None:
                answer = yield from self._introduce(item)
            if answer.refusal is not None:
                yield answer.refusal
            following = draw()
            step = yield from self._exchange(item, answer, following if isinstance(following, Parcel) else None)
            if step.outcome is not None:
                yield step.outcome
            if step.failure is not None:
                raise step.failure
            item, answer = following, step.answer

    def _introduce(self, parcel: Parcel) -> Paused[Answer]:
        try:
            self._wire.write(envelope(parcel), self._patience.command)
            yield
            self._wire.allow(self._patience.command)
            usual = self._wire.expect(USUAL_BEGINNING)
        except ConnectionLost as lost:
            raise self._broken(lost) from lost
        if usual:
            return WELCOME
        try:
            return self._answer(parcel, self._read_reply())
        except OutOfStep as error:
            raise PipeliningBroken(str(error)) from error

    def _answer(self, parcel: Parcel, mail: Reply) -> Answer:
        refusal = self._outcome(parcel, Phase.MAIL, mail)
        rcpt = self._riding_reply(Phase.RCPT, heard=refusal is None)
        refusal = refusal or self._outcome(parcel, Phase.RCPT, rcpt)
        data = self._riding_reply(Phase.DATA, heard=refusal is None)
        return Answer(refusal or self._outcome(parcel, Phase.DATA, data), data.code == 354)

    def _riding_reply(self, phase: Phase, *, heard: bool = False) -> Reply:
        """The reply to a command that rode behind another; `heard`: the commands before it were taken."""
        patience = min(RIDING_PATIENCE, self._patience.command)
        self._wire.allow(patience)
        try:
            reply = self._wire.reply()
        except ConnectionLost as lost:
            if lost.loss is Loss.LATE:
                raise self._unpipelined(f"{phase} was not answered within {patience:g} s") from lost
            raise self._broken(lost) from lost
        if heard and reply.code in NEVER_HEARD:
            raise self._unpipelined(f"{phase} was answered {reply}")
        return reply

    def _unpipelined(self, reason: str) -> TransportUnavailable:
        return self._failed(reason, kind=PipeliningBroken)

    def _exchange(self, parcel: Parcel, answer: Answer, rider: Parcel | None) -> Paused[PipelinedStep]:
        """Finish `parcel`'s transaction and begin that of `rider`."""
        if answer.refusal is not None:
            return (yield from self._clear(LONE_DOT if answer.open else RSET, rider))
        data = parcel.body if rider is None else parcel.body + envelope(rider)
        try:
            self._wire.write(data, self._patience.final)
            yield
            self._wire.allow(self._patience.final)
            usual = self._wire.expect(USUAL_END if rider is None else USUAL)
            if usual is not None:
                sent = Outcome(parcel.id, Status.SENT, usual[1].decode().strip())
                return PipelinedStep(sent, answer=None if rider is None else WELCOME)
            step = self._settle(parcel, self._wire.reply())
        except ConnectionLost as lost:
            written = lost.written >= len(parcel.body)
            step = doubt(parcel.id, self._failed(str(lost))) if written else self._abandoned(parcel, lost)
        return self._follow(step, rider)

    def _clear(self, closing: bytes, rider: Parcel | None) -> Paused[PipelinedStep]:
        """End a transaction that came to nothing. A lone dot is answered, whatever the answer is worth."""
        try:
            self._wire.write(closing if rider is None else closing + envelope(rider), self._patience.command)
            yield
            self._wire.allow(self._patience.command)
            reply = self._wire.reply()
        except ConnectionLost as lost:
            return PipelinedStep(failure=self._broken(lost))
        if reply.code == 421 or (closing == RSET and reply.code != 250):
            return PipelinedStep(failure=self._ended(f"the end of a refused message was answered {reply}", reply))
        return self._follow(Step(), rider)

    def _follow(self, step: Step, rider: Parcel | None) -> PipelinedStep:
        if rider is None or step.failure is not None:
            return PipelinedStep(step.outcome, step.failure)
        try:
            return PipelinedStep(step.outcome, answer=self._answer(rider, self._riding_reply(Phase.MAIL)))
        except OutOfStep as error:
            broken = PipeliningBroken(str(error))
            step = Step(failure=broken) if step.outcome is None else doubt(step.outcome.id, broken)
            return PipelinedStep(step.outcome, step.failure)
        except TransportUnavailable as error:
            return PipelinedStep(step.outcome, error)


def envelope(parcel: Parcel) -> bytes:
    """What opens the transaction."""
    return parcel.mail + parcel.rcpt + DATA
