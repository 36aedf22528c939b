"""The pipelined dialogue (RFC 2920): one write and one read a message in the steady state.

The end of one message's data and the next message's MAIL, RCPT and DATA go out in one write, so that their replies come
back in one round trip. After that write only the first message has been handed over whole; when the replies are in, it
has its outcome, and only then is another message drawn.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from transports.answers.replies import Phase, Reply
from transports.base import Outcome, TransportUnavailable
from transports.smtp.connection import Connection, ConnectionLost, LossCause
from transports.smtp.dialogue import (
    DATA,
    RSET,
    Dialogue,
    DrawTransaction,
    ExchangeResult,
    Paused,
    ShortWay,
    Steps,
    Timeouts,
    uncertain,
)
from transports.smtp.errors import OutOfSequence, PipeliningBroken
from transports.smtp.transactions import Transaction

EMPTY_DATA = b".\r\n"
PIPELINED_REPLY_TIMEOUT = 10.0  # seconds for a reply after the one before it, both to commands of one write
COMMAND_LOST = frozenset({500, 502, 503})  # bad sequence and the like: the server dropped the command before
# The replies that nearly always come, in one piece: to the end of data, MAIL, RCPT and DATA.
_TEXT = rb" [ -~]{0,998}"
USUAL_REPLIES = re.compile(rb"250(%b)\r\n250%b\r\n25[01]%b\r\n354%b\r\n" % ((_TEXT,) * 4))
REMEMBERED = 16  # of them, as octets: most servers always say the same, and some something new each time


@dataclass(frozen=True, slots=True)
class EnvelopeResult:
    """The replies to MAIL, RCPT and DATA. `refusal` is the outcome where one of them was refused.

    `awaits_data`: DATA was accepted, which a server may do even after it has refused the recipient (RFC 2920 section
    3.1); the transaction must then be ended by an empty message.
    """

    refusal: Outcome | None = None
    awaits_data: bool = True


@dataclass(frozen=True, slots=True)
class PipelinedResult(ExchangeResult):
    """Also the result of the next transaction's envelope, which went out in the same write; None if there was none."""

    envelope: EnvelopeResult | None = None


ENVELOPE_ACCEPTED = EnvelopeResult()


class PipelinedDialogue(Dialogue, ShortWay):
    """The usual form, for servers with PIPELINING."""

    _draw: DrawTransaction
    _in_flight: tuple[Transaction, Transaction]  # the data of the first is written, and the envelope of the second

    def __init__(self, connection: Connection, timeouts: Timeouts) -> None:
        super().__init__(connection, timeouts)
        self._usual: dict[bytes, str] = {}  # replies that were recognised, and what the first of them says

    def reply(self) -> str | Steps:
        """See `ShortWay.reply`."""
        try:
            octets = self._connection.read_once(self._timeouts.end_of_data)
        except ConnectionLost as lost:
            return self._go_on(self._in_flight[1], lost)
        words = self._usual.get(octets) or self._recognise(octets)
        if words is None:
            self._connection.unread(octets)
            return self._go_on(self._in_flight[1])
        return words

    def write(self) -> Steps | None:
        """See `ShortWay.write`."""
        transaction, following = self._in_flight[1], self._draw()
        if not isinstance(following, Transaction):
            return self._send_from(transaction, ENVELOPE_ACCEPTED, [following])
        self._in_flight = transaction, following
        octets = b"".join((transaction.data, following.mail, following.rcpt, DATA))
        try:
            self._connection.write(octets, self._timeouts.end_of_data)
        except ConnectionLost as lost:
            return self._go_on(following, lost)
        return None

    def _recognise(self, octets: bytes) -> str | None:
        match = USUAL_REPLIES.fullmatch(octets)
        words = str(Reply(250, (match[1].decode(),))) if match else None
        if words and len(self._usual) < REMEMBERED:
            self._usual[octets] = words
        return words

    def run(self, draw: DrawTransaction) -> Steps:
        """See `Dialogue.run`. The short way is open whenever the next message's envelope went out with the data."""
        self._draw = draw
        yield from self._send_from(draw())

    def _go_on(self, following: Transaction, lost: ConnectionLost | None = None) -> Steps:
        """Go on after what is in flight was written, or the connection was `lost` meanwhile."""
        result = self._result(*self._in_flight, lost)
        yield from result.end()
        yield from self._send_from(following, result.envelope)

    def _send_from(
        self,
        item: Transaction | Outcome | None,
        envelope: EnvelopeResult | None = None,
        drawn: Sequence[Outcome | None] = (),
    ) -> Steps:
        """Send `item`, whose envelope may have been sent already, then what was drawn after it, and what will be."""
        ahead = list(drawn)
        while item is not None:
            if isinstance(item, Outcome):
                yield item
                item = self._draw()
                continue
            if envelope is None:
                envelope = yield from self._send_envelope(item)
            if envelope.refusal is not None:
                yield envelope.refusal
            following = ahead.pop() if ahead else self._draw()
            next_transaction = following if isinstance(following, Transaction) else None
            result = yield from self._send_data(item, envelope, next_transaction)
            yield from result.end()
            item, envelope = following, result.envelope

    def _send_envelope(self, transaction: Transaction) -> Paused[EnvelopeResult]:
        try:
            mail = yield from self._command(envelope_commands(transaction))
            return self._envelope_result(transaction, mail)
        except OutOfSequence as error:
            raise PipeliningBroken(str(error)) from error

    def _envelope_result(self, transaction: Transaction, mail: Reply) -> EnvelopeResult:
        """Read the replies to RCPT and DATA, after that to MAIL."""
        refusal = self._outcome(transaction, Phase.MAIL, mail)
        rcpt = self._pipelined_reply(Phase.RCPT, previous_accepted=refusal is None)
        refusal = refusal or self._outcome(transaction, Phase.RCPT, rcpt)
        data = self._pipelined_reply(Phase.DATA, previous_accepted=refusal is None)
        return EnvelopeResult(refusal or self._outcome(transaction, Phase.DATA, data), data.code == 354)

    def _pipelined_reply(self, phase: Phase, *, previous_accepted: bool = False) -> Reply:
        """The reply to a command that was written together with others before it.

        Raises `PipeliningBroken` where the server does not answer it within `PIPELINED_REPLY_TIMEOUT`, or, although the
        commands before it were accepted (`previous_accepted`), answers as if they had never come.
        """
        timeout = min(PIPELINED_REPLY_TIMEOUT, self._timeouts.command)
        self._connection.start_timeout(timeout)
        try:
            reply = self._connection.read_reply()
        except ConnectionLost as lost:
            if lost.cause is LossCause.TIMED_OUT:
                raise self._pipelining_error(f"{phase} was not answered within {timeout:g} s") from lost
            raise self._connection_error(lost) from lost
        if previous_accepted and reply.code in COMMAND_LOST:
            raise self._pipelining_error(f"{phase} was answered {reply}")
        return reply

    def _pipelining_error(self, reason: str) -> TransportUnavailable:
        return self._failed(reason, kind=PipeliningBroken)

    def _send_data(
        self, transaction: Transaction, envelope: EnvelopeResult, following: Transaction | None
    ) -> Paused[PipelinedResult]:
        """Send the data of `transaction`, and in the same write the envelope of `following`."""
        if envelope.refusal is not None:
            return (yield from self._end_refused(EMPTY_DATA if envelope.awaits_data else RSET, following))
        data = transaction.data if following is None else transaction.data + envelope_commands(following)
        try:
            self._connection.write(data, self._timeouts.end_of_data)
            if following is not None:
                self._in_flight = transaction, following
            yield self if following is not None and self._connection.is_drained else None
            self._connection.start_timeout(self._timeouts.end_of_data)
        except ConnectionLost as lost:
            return self._result(transaction, following, lost)
        return self._result(transaction, following)

    def _result(
        self, transaction: Transaction, following: Transaction | None, lost: ConnectionLost | None = None
    ) -> PipelinedResult:
        """Read what came of the data of `transaction` and of the envelope of `following`, unless all is `lost`."""
        try:
            if lost is not None:
                raise lost
            result = self._end_of_data(transaction, self._connection.read_reply())
        except ConnectionLost as error:
            if error.written < len(transaction.data):
                result = self._lost_in_data(transaction, error)
            else:
                result = uncertain(transaction.id, self._failed(str(error)))
        return self._with_next_envelope(result, following)

    def _end_refused(self, closing: bytes, following: Transaction | None) -> Paused[PipelinedResult]:
        """End a refused transaction by `closing`, which is RSET or empty data, and begin the one `following`.

        The reply to empty data may be anything: servers accept the empty message or refuse it.
        """
        try:
            self._connection.write(
                closing if following is None else closing + envelope_commands(following), self._timeouts.command
            )
            yield None
            self._connection.start_timeout(self._timeouts.command)
            reply = self._connection.read_reply()
        except ConnectionLost as lost:
            return PipelinedResult(failure=self._connection_error(lost))
        if reply.code == 421 or (closing == RSET and reply.code != 250):
            return PipelinedResult(
                failure=self._session_error(f"the end of a refused message was answered {reply}", reply)
            )
        return self._with_next_envelope(ExchangeResult(), following)

    def _with_next_envelope(self, result: ExchangeResult, following: Transaction | None) -> PipelinedResult:
        """Add to `result` the replies to the envelope of the transaction `following`, unless the session must end."""
        if following is None or result.failure is not None:
            return PipelinedResult(result.outcome, result.failure)
        try:
            envelope = self._envelope_result(following, self._pipelined_reply(Phase.MAIL))
            return PipelinedResult(result.outcome, envelope=envelope)
        except OutOfSequence as error:
            broken = PipeliningBroken(str(error))
            result = ExchangeResult(failure=broken) if result.outcome is None else uncertain(result.outcome.id, broken)
            return PipelinedResult(result.outcome, result.failure)
        except TransportUnavailable as error:
            return PipelinedResult(result.outcome, error)


def envelope_commands(transaction: Transaction) -> bytes:
    """The commands before the data, as one write."""
    return transaction.mail + transaction.rcpt + DATA
