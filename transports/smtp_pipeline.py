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
from transports.smtp_dialogue import (
    DATA,
    RSET,
    Dialogue,
    Draw,
    OutOfStep,
    Paused,
    Step,
    about_ending,
    doubt,
    unavailable,
)
from transports.smtp_framing import Parcel
from transports.smtp_replies import Phase
from transports.smtp_wire import ConnectionLost

LONE_DOT = b".\r\n"
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
            raise unavailable(str(lost)) from lost
        return WELCOME if usual else self._answer(parcel)

    def _answer(self, parcel: Parcel) -> Answer:
        refusal = self._outcome(parcel, Phase.MAIL, self._read_reply())
        rcpt = self._read_reply()
        refusal = refusal or self._outcome(parcel, Phase.RCPT, rcpt)
        data = self._read_reply()
        waits = data.code == 354
        return Answer(refusal or self._outcome(parcel, Phase.DATA, data), waits)

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
            step = doubt(parcel.id, unavailable(str(lost))) if written else self._abandoned(parcel, lost)
        return self._follow(step, rider)

    def _clear(self, closing: bytes, rider: Parcel | None) -> Paused[PipelinedStep]:
        """End a transaction that came to nothing. A lone dot is answered, whatever the answer is worth."""
        try:
            self._wire.write(closing if rider is None else closing + envelope(rider), self._patience.command)
            yield
            self._wire.allow(self._patience.command)
            reply = self._wire.reply()
        except ConnectionLost as lost:
            return PipelinedStep(failure=unavailable(str(lost)))
        if reply.code == 421 or (closing == RSET and reply.code != 250):
            reason = f"the end of a refused message was answered {reply}"
            return PipelinedStep(failure=unavailable(reason, about_ending(reply)))
        return self._follow(Step(), rider)

    def _follow(self, step: Step, rider: Parcel | None) -> PipelinedStep:
        if rider is None or step.failure is not None:
            return PipelinedStep(step.outcome, step.failure)
        try:
            return PipelinedStep(step.outcome, answer=self._answer(rider))
        except OutOfStep as failure:
            step = Step(failure=failure) if step.outcome is None else doubt(step.outcome.id, failure)
            return PipelinedStep(step.outcome, step.failure)
        except TransportUnavailable as failure:
            return PipelinedStep(step.outcome, failure)


def envelope(parcel: Parcel) -> bytes:
    """What opens the transaction."""
    return parcel.mail + parcel.rcpt + DATA
