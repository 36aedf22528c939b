"""The mail dialogue of one session: what its three forms share, and the two that do not look ahead (lockstep and BDAT).

A dialogue draws transactions, writes their commands and yields the outcomes. Whenever it has written something and must
wait for the reply, it yields None, so that one thread can go on with the dialogue of another session meanwhile. A
message can only be `uncertain` between the end of its data being written and the reply to that; a dialogue never draws
the next transaction in that state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TypeVar

from transports.answers.blame import classify_reply
from transports.answers.replies import Phase, Reply, Verdict
from transports.base import About, Outcome, Status, TransportUnavailable
from transports.smtp.connection import Connection, ConnectionLost, LossCause
from transports.smtp.errors import OutOfSequence, SessionEnded, about_reply, failure
from transports.smtp.transactions import Transaction

DrawTransaction = Callable[[], Transaction | Outcome | None]
T = TypeVar("T")
Paused = Generator["ShortWay | None", None, T]  # yields while a reply is awaited, and returns its value
Steps = Iterator["Outcome | ShortWay | None"]

DATA = b"DATA\r\n"
RSET = b"RSET\r\n"
STATUS = {Verdict.ACCEPTED: Status.SENT, Verdict.DEFERRED: Status.DEFERRED, Verdict.REFUSED: Status.REFUSED}


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait for the reply to a command, and to the end of data (RFC 5321 section 4.5.3.2)."""

    command: float = 300.0
    end_of_data: float = 600.0


@dataclass(frozen=True, slots=True)
class ExchangeResult:
    """The outcome that an exchange with the server gave, if any, and why the session must end, if it must."""

    outcome: Outcome | None = None
    failure: TransportUnavailable | None = None

    def end(self) -> Iterator[Outcome]:
        """The outcome, if there is one. Raises the failure, if there is one."""
        if self.outcome is not None:
            yield self.outcome
        if self.failure is not None:
            raise self.failure


class ShortWay(ABC):
    """What a dialogue may yield in place of None: while the usual replies come, it can be gone on with without it.

    A message is written and waits for its reply. `reply` and `write` take turns; after either has given steps, and
    after a step of the dialogue that yielded this, neither may be called.
    """

    @abstractmethod
    def reply(self) -> str | Steps:
        """The reply with which the message was sent; otherwise the steps with which the full dialogue goes on."""

    @abstractmethod
    def write(self) -> Steps | None:
        """Write the next message, which then waits for its reply. The steps of the full dialogue, if that has to."""


class Dialogue(ABC):
    """The mail dialogue of one session that is ready for MAIL.

    After `TransportUnavailable` the connection must be dropped: what the server sends next may answer anything.
    """

    def __init__(self, connection: Connection, timeouts: Timeouts) -> None:
        self._connection = connection
        self._timeouts = timeouts

    @abstractmethod
    def run(self, draw: DrawTransaction) -> Steps:
        """Send each transaction that `draw` gives, until it gives None, and yield its outcome.

        `draw` may also give an outcome, of a message that cannot be sent; it is yielded as it is. None, or a short way,
        is yielded while a reply is awaited; whoever abandons the dialogue then may leave a message uncertain. Raises
        `TransportUnavailable`; messages that were drawn and have no outcome were then certainly not handed over.
        """

    def _outcome(self, transaction: Transaction, phase: Phase, reply: Reply) -> Outcome | None:
        """The outcome that `reply` to the command `phase` means, or None if the transaction goes on."""
        verdict, about = classify_reply(phase, reply)
        if verdict is Verdict.OUT_OF_SEQUENCE:
            raise self._failed(f"{phase} was answered {reply}", about, OutOfSequence)
        if verdict is Verdict.UNAVAILABLE:
            ended = phase is Phase.MAIL and reply.code == 421
            raise self._failed(f"{phase} was answered {reply}", about, SessionEnded if ended else TransportUnavailable)
        if verdict is Verdict.ACCEPTED and phase is not Phase.END:
            return None
        return Outcome(transaction.id, STATUS[verdict], str(reply), about)

    def _command(self, command: bytes) -> Paused[Reply]:
        try:
            self._connection.write(command, self._timeouts.command)
            yield None
            self._connection.start_timeout(self._timeouts.command)
            return self._connection.read_reply()
        except ConnectionLost as lost:
            raise self._connection_error(lost) from lost

    def _read_reply(self) -> Reply:
        try:
            return self._connection.read_reply()
        except ConnectionLost as lost:
            raise self._connection_error(lost) from lost

    def _rset(self) -> Paused[None]:
        reply = yield from self._command(RSET)
        if reply.code != 250:
            raise self._session_error(f"RSET was answered {reply}", reply)

    def _failed(
        self, reason: str, about: About = About.TRANSPORT, kind: type[TransportUnavailable] = TransportUnavailable
    ) -> TransportUnavailable:
        return failure(kind, self._connection.endpoint, reason, about)

    def _connection_error(self, lost: ConnectionLost) -> TransportUnavailable:
        """The error for a connection that was lost while no message was uncertain."""
        return self._failed(str(lost), kind=SessionEnded if lost.cause is LossCause.CLOSED else TransportUnavailable)

    def _session_error(self, reason: str, reply: Reply) -> TransportUnavailable:
        """The error for a reply, given between two transactions, after which the session cannot go on."""
        return self._failed(reason, about_reply(reply), SessionEnded if reply.code == 421 else TransportUnavailable)

    def _end_of_data(self, transaction: Transaction, reply: Reply) -> ExchangeResult:
        """What the reply to the end of data means for the transaction."""
        try:
            return ExchangeResult(self._outcome(transaction, Phase.END, reply))
        except OutOfSequence as error:
            return uncertain(transaction.id, error)
        except TransportUnavailable as error:
            return ExchangeResult(failure=error)

    def _lost_in_data(self, transaction: Transaction, lost: ConnectionLost) -> ExchangeResult:
        """The connection was lost before the end of data was written. The server may have said why before that."""
        reply = self._connection.pending_reply()
        if reply is None or reply.code < 400:
            return ExchangeResult(failure=self._failed(str(lost)))
        result = self._end_of_data(transaction, reply)
        return ExchangeResult(result.outcome, result.failure or self._failed(f"the data was answered {reply}"))


def uncertain(message_id: str, failure: TransportUnavailable) -> ExchangeResult:
    """The whole message was written, and whether the server took it is not known."""
    return ExchangeResult(Outcome(message_id, Status.UNCERTAIN, str(failure), About.TRANSPORT), failure)


class LockstepDialogue(Dialogue):
    """One command, one reply: for servers without PIPELINING."""

    def run(self, draw: DrawTransaction) -> Steps:
        """See `Dialogue.run`."""
        while (item := draw()) is not None:
            if isinstance(item, Outcome):
                yield item
                continue
            refusal = yield from self._send_envelope(item)
            if refusal is not None:
                yield refusal
                yield from self._rset()
                continue
            result = yield from self._send_data(item)
            yield from result.end()

    def _send_envelope(self, transaction: Transaction) -> Paused[Outcome | None]:
        for phase, command in ((Phase.MAIL, transaction.mail), (Phase.RCPT, transaction.rcpt), (Phase.DATA, DATA)):
            reply = yield from self._command(command)
            refusal = self._outcome(transaction, phase, reply)
            if refusal is not None:
                return refusal
        return None

    def _send_data(self, transaction: Transaction) -> Paused[ExchangeResult]:
        try:
            self._connection.write(transaction.data, self._timeouts.end_of_data)
            yield None
            self._connection.start_timeout(self._timeouts.end_of_data)
            return self._end_of_data(transaction, self._connection.read_reply())
        except ConnectionLost as lost:
            if lost.written < len(transaction.data):
                return self._lost_in_data(transaction, lost)
            return uncertain(transaction.id, self._failed(str(lost)))


class ChunkedDialogue(Dialogue):
    """MAIL, RCPT and the content as one BDAT chunk in one write (RFC 3030 section 4.2), one message at a time."""

    def run(self, draw: DrawTransaction) -> Steps:
        """See `Dialogue.run`."""
        self._connection.disable_delayed_ack()
        while (item := draw()) is not None:
            if isinstance(item, Outcome):
                yield item
                continue
            result = yield from self._send(item)
            yield from result.end()
            if result.outcome is not None and result.outcome.status is not Status.SENT:
                yield from self._rset()  # RFC 3030 section 2: the state after a failed BDAT is not defined

    def _send(self, transaction: Transaction) -> Paused[ExchangeResult]:
        if not self._connection.is_idle():  # looked at before the write: after it, the message would be uncertain
            return ExchangeResult(failure=self._unasked())
        data = transaction.mail + transaction.rcpt + transaction.data
        refusal: Outcome | None = None
        try:
            self._connection.write(data, self._timeouts.end_of_data)
            yield None
            self._connection.start_timeout(self._timeouts.end_of_data)
            refusal = self._outcome(transaction, Phase.MAIL, self._connection.read_reply())
            rcpt = self._connection.read_reply()
            refusal = refusal or self._outcome(transaction, Phase.RCPT, rcpt)
            end = self._connection.read_reply()
        except ConnectionLost as lost:
            return self._lost_in_chunk(transaction, lost, refusal, lost.written == len(data))
        except OutOfSequence as error:
            return uncertain(transaction.id, error)
        except TransportUnavailable as error:
            return ExchangeResult(failure=error)
        return ExchangeResult(refusal) if refusal else self._end_of_data(transaction, end)

    def _unasked(self) -> TransportUnavailable:
        """The error for a server that closed the connection, or sent a reply, before it was asked anything."""
        reply = self._connection.pending_reply()
        if reply is None:
            return self._failed("the server closed the connection", kind=SessionEnded)
        return self._session_error(f"between two messages the server said {reply}", reply)

    def _lost_in_chunk(
        self, transaction: Transaction, lost: ConnectionLost, refusal: Outcome | None, whole: bool
    ) -> ExchangeResult:
        if refusal is not None:
            return ExchangeResult(refusal, self._connection_error(lost))
        return (
            uncertain(transaction.id, self._failed(str(lost)))
            if whole
            else ExchangeResult(failure=self._connection_error(lost))
        )
