"""SMTP replies (RFC 5321 section 4.2): how they are parsed, and what they can mean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from transports.base import TransportError

MAX_LINE = 4096  # octets; RFC 5321 section 4.5.3.1.5 asks for 512, servers write more
MAX_LINES = 128
SHOWN = 500  # characters of a reply that are kept

LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?=\s|$)", re.ASCII)
ADDRESS = re.compile(r"\S+@\S+")
# The same characters as in `mailer.text.one_line`, which this package cannot import: it imports nothing of `mailer`.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class ReplySyntaxError(TransportError):
    """What the server sent is no SMTP reply, or longer than a reply may be."""


class Phase(StrEnum):
    """The phase of a mail transaction: the command that a reply answers."""

    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    END = "end of data"  # the final dot, or BDAT … LAST


class Verdict(StrEnum):
    """What a reply means for the message in hand."""

    ACCEPTED = "accepted"  # go on; after the end of data: sent
    DEFERRED = "deferred"  # this message, later
    REFUSED = "refused"  # this message, never
    UNAVAILABLE = "unavailable"  # not about this message: the transport cannot send now, or not so fast
    OUT_OF_SEQUENCE = "out of sequence"  # no reply to this command: what the next replies answer is not known


@dataclass(frozen=True, slots=True)
class Reply:
    """`code` from 200 to 599 and the text of each line, without control characters."""

    code: int
    lines: tuple[str, ...] = ("",)

    @property
    def text(self) -> str:
        """The whole text in one line, cut to `SHOWN` characters."""
        return " ".join(self.lines).strip()[:SHOWN]

    @property
    def enhanced(self) -> str:
        """The enhanced status code at the start of the text (RFC 3463), such as 4.2.2, or empty."""
        match = ENHANCED.match(self.lines[0])
        return match[0] if match else ""

    def __str__(self) -> str:
        return f"{self.code} {self.text}".rstrip()


class ReplyParser:
    """Turns octets into replies, in whatever pieces they come.

    Raises `ReplySyntaxError`, and must not be used after that.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._lines: list[bytes] = []
        self._code = b""

    @property
    def empty(self) -> bool:
        """Whether every octet that was fed has been handed out."""
        return not self._buffer and not self._lines

    def feed(self, data: bytes) -> None:
        """Add octets that were read."""
        self._buffer += data

    def next(self) -> Reply | None:
        """The next whole reply, or None if more must be read first."""
        while (end := self._buffer.find(b"\n")) >= 0:
            line, self._buffer = self._buffer[:end].removesuffix(b"\r"), self._buffer[end + 1 :]
            if self._add(line):
                return self._finish()
        if len(self._buffer) > MAX_LINE:
            raise ReplySyntaxError("the server's reply is too long")
        return None

    def _add(self, line: bytes) -> bool:
        match = LINE.fullmatch(line)
        if match is None or (self._code and match[1] != self._code):
            raise ReplySyntaxError("the server's answer is not an SMTP reply")
        if len(line) > MAX_LINE or len(self._lines) >= MAX_LINES:
            raise ReplySyntaxError("the server's reply is too long")
        self._code = match[1]
        self._lines.append(match[3] or b"")
        return match[2] != b"-"

    def _finish(self) -> Reply:
        reply = Reply(int(self._code), tuple(map(printable, self._lines)))
        self._lines, self._code = [], b""
        return reply


def printable(text: bytes) -> str:
    """`text` decoded, with a blank for each run of control characters and line separators."""
    return UNPRINTABLE.sub(" ", text.decode(errors="replace")).strip()


def without_addresses(text: str) -> str:
    """`text` fit for a log: every word with an `@` in it is replaced."""
    return ADDRESS.sub("<address>", text)[:SHOWN]
