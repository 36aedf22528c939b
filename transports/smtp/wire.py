"""One SMTP connection as a stream of octets: bounded writes that say how far they came, and replies by a deadline."""

from __future__ import annotations

import re
import select
import socket
import ssl
import time
from enum import Enum

from transports.base import TransportError
from transports.smtp.replies import Reply, ReplyParser, ReplySyntaxError

READ_SIZE = 16384
WRITE_SIZE = 1 << 20
TLS_RECORD = 16384  # octets: a record that was not written whole is never read by the other side


class Loss(Enum):
    """How a connection came to be of no more use."""

    CLOSED = "the other side closed it"
    LATE = "nothing came in time"
    UNUSABLE = "anything else"


class ConnectionLost(TransportError):
    """The connection is of no more use. `written`: octets of the last write that may have arrived."""

    def __init__(self, reason: str, written: int, loss: Loss = Loss.UNUSABLE) -> None:
        super().__init__(reason)
        self.written = written
        self.loss = loss


class Wire:
    """A connected socket. Reading and writing raise `ConnectionLost`; then only `last_words` and `close` make sense."""

    def __init__(self, sock: socket.socket, place: str = "") -> None:
        """`place` is `host:port`, for people to read."""
        self.place = place
        self._sock = sock
        self._chunk = TLS_RECORD if isinstance(sock, ssl.SSLSocket) else WRITE_SIZE
        self._parser = ReplyParser()
        self._patience = 0.0
        self._deadline = 0.0
        self._written = 0
        self._quick = False

    def acknowledge_at_once(self) -> None:
        """Have what is read acknowledged at once, where the system can.

        For a dialogue whose replies come in several small pieces to one write: the server's Nagle algorithm holds the
        next piece back until the last is acknowledged, which otherwise takes 40 ms.
        """
        self._quick = hasattr(socket, "TCP_QUICKACK")

    @property
    def settled(self) -> bool:
        """Whether nothing that was read is waiting to be understood."""
        return self._parser.empty

    def allow(self, patience: float) -> None:
        """Give what follows `patience` seconds altogether."""
        self._deadline = time.monotonic() + patience
        if patience != self._patience:
            self._set_timeout(patience)

    def write(self, data: bytes, patience: float) -> None:
        """Write all of `data`; this and the replies to it may take `patience` seconds altogether."""
        self.allow(patience)
        self._written = 0
        try:
            if len(data) <= self._chunk:
                self._written = self._sock.send(data)
            if self._written < len(data):
                self._write_rest(memoryview(data))
        except OSError as error:
            raise self._lost(reason(error), loss_of(error)) from error

    def expect(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        """Read once and match it whole: the quick way when the usual replies come. Otherwise `reply` has them."""
        if not self._parser.empty:
            return None
        data = self._read()
        match = pattern.fullmatch(data)
        if match is None:
            self._parser.feed(data)
        return match

    def reply(self) -> Reply:
        """The next reply."""
        try:
            while (reply := self._parser.next()) is None:
                self._set_timeout(self._deadline - time.monotonic())
                self._parser.feed(self._read())
        except ReplySyntaxError as error:
            raise self._lost(str(error)) from error
        return reply

    def last_words(self) -> Reply | None:
        """What the server had said already when a write failed."""
        try:
            self._deadline = time.monotonic() + 0.05
            return self.reply()
        except ConnectionLost:
            return None

    def quiet(self) -> bool:
        """Whether the server has neither closed the connection nor said anything unasked."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return self._parser.empty and not poll.poll(0)

    def close(self) -> None:
        """Close without a word. The connection stays open where a forked process holds it too."""
        self._sock.close()

    def _write_rest(self, data: memoryview) -> None:
        while self._written < len(data):
            self._set_timeout(self._deadline - time.monotonic())
            self._written += self._sock.send(data[self._written : self._written + self._chunk])

    def _read(self) -> bytes:
        try:
            if self._quick:
                self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # the kernel forgets it soon
            data = self._sock.recv(READ_SIZE)
        except OSError as error:
            raise self._lost(reason(error), loss_of(error)) from error
        if not data:
            raise self._lost("the server closed the connection", Loss.CLOSED)
        return data

    def _set_timeout(self, seconds: float) -> None:
        if seconds <= 0:
            raise self._lost("timed out", Loss.LATE)
        self._patience = seconds
        self._sock.settimeout(seconds)

    def _lost(self, text: str, loss: Loss = Loss.UNUSABLE) -> ConnectionLost:
        return ConnectionLost(text, self._written, loss)


def loss_of(error: OSError) -> Loss:
    """How the connection was lost, from what went wrong on its socket."""
    if isinstance(error, (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return Loss.CLOSED
    return Loss.LATE if isinstance(error, TimeoutError) else Loss.UNUSABLE


def reason(error: OSError) -> str:
    """What went wrong on a socket, in a few words and without anything of what was written."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate cannot be trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or 'no agreement'}"
    if isinstance(error, TimeoutError):
        return "timed out"
    return error.strerror or "the connection broke off"
