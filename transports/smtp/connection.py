"""One SMTP connection as a stream of octets: bounded writes that say how far they came, and replies by a deadline."""

from __future__ import annotations

import select
import socket
import ssl
import time
from enum import Enum

from transports.answers.replies import Reply, ReplyParser, ReplySyntaxError
from transports.base import TransportError

READ_SIZE = 16384
WRITE_SIZE = 1 << 20
TLS_RECORD = 16384  # octets: a record that was not written whole is never read by the other side
PENDING_SECONDS = 0.05  # how long to look for a reply after a write has failed


class LossCause(Enum):
    """Why a connection can no longer be used."""

    CLOSED = "the server closed it"
    TIMED_OUT = "nothing came in time"
    OTHER = "anything else"


class ConnectionLost(TransportError):
    """The connection can no longer be used. `written`: octets of the last write that may have reached the server."""

    def __init__(self, reason: str, written: int, cause: LossCause = LossCause.OTHER) -> None:
        super().__init__(reason)
        self.written = written
        self.cause = cause


class Connection:
    """A connected socket, written to in octets and read in replies.

    Reading and writing raise `ConnectionLost`; after that only `pending_reply` and `close` may be called.
    """

    def __init__(self, sock: socket.socket, endpoint: str = "") -> None:
        """`endpoint` is `host:port`, for error messages."""
        self.endpoint = endpoint
        self._sock = sock
        self._write_size = TLS_RECORD if isinstance(sock, ssl.SSLSocket) else WRITE_SIZE
        self._parser = ReplyParser()
        self._timeout = 0.0  # seconds, as last set on the socket
        self._deadline = 0.0  # on the monotonic clock, for what is being written and read
        self._written = 0  # octets of the last write
        self._quickack = False

    def disable_delayed_ack(self) -> None:
        """Have the kernel acknowledge what it receives at once, where it can (TCP_QUICKACK, Linux).

        A server that sends several small replies to one write holds each back (Nagle's algorithm) until the one before
        is acknowledged, and a delayed acknowledgement takes 40 ms.
        """
        self._quickack = hasattr(socket, "TCP_QUICKACK")

    @property
    def is_drained(self) -> bool:
        """Whether everything that was read has been handed out as replies."""
        return self._parser.empty

    def start_timeout(self, seconds: float) -> None:
        """Allow `seconds` altogether for the writing and reading that follows."""
        self._deadline = time.monotonic() + seconds
        if seconds != self._timeout:
            self._set_timeout(seconds)

    def write(self, data: bytes, timeout: float) -> None:
        """Write all of `data`; this and the replies to it may take `timeout` seconds altogether."""
        self.start_timeout(timeout)
        self._written = 0
        try:
            if len(data) <= self._write_size:
                self._written = self._sock.send(data)
            if self._written < len(data):
                self._write_rest(memoryview(data))
        except OSError as error:
            raise self._lost(reason_of(error), cause_of(error)) from error

    def read_once(self, timeout: float) -> bytes:
        """Read what comes first within `timeout` seconds, without parsing it. Only while `is_drained`."""
        self.start_timeout(timeout)
        return self._read()

    def unread(self, data: bytes) -> None:
        """Have `read_reply` parse what `read_once` gave, by the same deadline."""
        self._parser.feed(data)

    def read_reply(self) -> Reply:
        """The next reply, by the deadline that `write` or `start_timeout` has set."""
        try:
            while (reply := self._parser.next()) is None:
                self._set_timeout(self._deadline - time.monotonic())
                self._parser.feed(self._read())
        except ReplySyntaxError as error:
            raise self._lost(str(error)) from error
        return reply

    def pending_reply(self) -> Reply | None:
        """A reply that the server had sent already when a write failed, or None."""
        try:
            self._deadline = time.monotonic() + PENDING_SECONDS
            return self.read_reply()
        except ConnectionLost:
            return None

    def is_idle(self) -> bool:
        """Whether the connection is open and the server has sent nothing that it was not asked for."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return self._parser.empty and not poll.poll(0)

    def close(self) -> None:
        """Close the socket, without QUIT. The connection stays open while a forked process holds it too."""
        self._sock.close()

    def _write_rest(self, data: memoryview) -> None:
        while self._written < len(data):
            self._set_timeout(self._deadline - time.monotonic())
            self._written += self._sock.send(data[self._written : self._written + self._write_size])

    def _read(self) -> bytes:
        try:
            if self._quickack:
                self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # the kernel forgets it soon
            data = self._sock.recv(READ_SIZE)
        except OSError as error:
            raise self._lost(reason_of(error), cause_of(error)) from error
        if not data:
            raise self._lost("the server closed the connection", LossCause.CLOSED)
        return data

    def _set_timeout(self, seconds: float) -> None:
        if seconds <= 0:
            raise self._lost("timed out", LossCause.TIMED_OUT)
        self._timeout = seconds
        self._sock.settimeout(seconds)

    def _lost(self, text: str, cause: LossCause = LossCause.OTHER) -> ConnectionLost:
        return ConnectionLost(text, self._written, cause)


def cause_of(error: OSError) -> LossCause:
    """Why the connection was lost, from the error that its socket raised."""
    if isinstance(error, (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return LossCause.CLOSED
    return LossCause.TIMED_OUT if isinstance(error, TimeoutError) else LossCause.OTHER


def reason_of(error: OSError) -> str:
    """What went wrong on a socket, in a few words for people. Repeats nothing of what was written to it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate cannot be trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or 'no agreement'}"
    if isinstance(error, TimeoutError):
        return "timed out"
    return error.strerror or "the connection broke off"
