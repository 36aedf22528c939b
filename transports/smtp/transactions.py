"""A message as one SMTP mail transaction: its commands and data, or the reason why this server cannot take it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from transports.base import About, Message, Outcome, Status

ATOM = r"[^\x00-\x20\x7f-\x9f<>\"\ud800-\udfff]"
QUOTED = r'"(?:[^\x00-\x1f\x7f-\x9f"\\\ud800-\udfff]|\\[\x20-\x7e])*"'
MAILBOX = re.compile(rf"(?:{ATOM}+|{QUOTED})@[^\x00-\x20\x7f-\x9f<>@\"\ud800-\udfff]+")

# Each begins with the octet to look for, which makes them several times as fast as `bytes.replace` or a look-behind.
LONE_CR = re.compile(rb"\r[^\n]")  # in a text that ends with LF
LONE_LF = re.compile(rb"\n(?<!\r\n)")
DOT_LINE = re.compile(rb"\r\n\.")
FINAL_DOT = b".\r\n"


@dataclass(frozen=True, slots=True)
class Extensions:
    """What the server offered after EHLO. `size` is the largest message in octets, 0 for no known limit."""

    pipelining: bool = False  # RFC 2920
    chunking: bool = False  # RFC 3030
    eight_bit: bool = False  # RFC 6152
    utf8: bool = False  # RFC 6531
    dsn: bool = False  # RFC 3461
    size_known: bool = False  # RFC 1870
    size: int = 0

    @classmethod
    def from_ehlo(cls, offered: Mapping[str, str]) -> Extensions:
        """From keywords in lower case and their parameters."""
        size = offered.get("size", "")
        return cls(
            pipelining="pipelining" in offered,
            chunking="chunking" in offered,
            eight_bit="8bitmime" in offered,
            utf8="smtputf8" in offered,
            dsn="dsn" in offered,
            size_known="size" in offered,
            size=int(size) if re.fullmatch(r"\d{1,18}", size, re.ASCII) else 0,
        )


class Transaction(NamedTuple):
    """One mail transaction (RFC 5321 section 3.3), ready to be written; `id` is the message's."""

    id: str
    mail: bytes  # the MAIL command with its CRLF
    rcpt: bytes  # the RCPT command with its CRLF
    data: bytes  # what follows DATA, up to the final dot and its CRLF; or BDAT with its chunk


class TransactionBuilder:
    """Makes transactions for one server; `chunked` chooses BDAT over DATA, `notify` is NOTIFY's value or empty."""

    def __init__(self, extensions: Extensions, *, chunked: bool = False, notify: str = "") -> None:
        self._extensions = extensions
        self._chunked = chunked
        self._rcpt_options = f" NOTIFY={notify}" if notify and extensions.dsn else ""
        self._wants_dsn = bool(self._rcpt_options)

    def build(self, message: Message) -> Transaction | Outcome:
        """The transaction that sends `message`, or the outcome `refused` if this server cannot take it."""
        if message.vouched and not 0 < self._extensions.size < len(message.content):
            text = message.content
            return self._transaction(message, text, last_chunk(text) if self._chunked else text + FINAL_DOT)
        return self._examined(message)

    def _examined(self, message: Message) -> Transaction | Outcome:
        """The same for a message that nobody vouches for, which may hold anything."""
        text = message.content if message.content.endswith(b"\r\n") else message.content + b"\r\n"
        plain = text.isascii()
        plain_header = plain or text.partition(b"\r\n\r\n")[0].isascii()
        if problem := self._sender_problem(message):
            return Outcome(message.id, Status.REFUSED, problem, About.SENDER)
        if problem := self._recipient_problem(message) or self._content_problem(text, plain, plain_header):
            return Outcome(message.id, Status.REFUSED, problem, About.MESSAGE)
        data = last_chunk(text) if self._chunked else dot_stuffed(text)
        return self._transaction(message, text, data, plain=plain, plain_header=plain_header)

    def _transaction(
        self, message: Message, text: bytes, data: bytes, *, plain: bool = True, plain_header: bool = True
    ) -> Transaction:
        options = self._mail_options(message, len(text), plain, plain_header)
        return Transaction(
            message.id,
            f"MAIL FROM:<{message.sender}>{options}\r\n".encode(),
            f"RCPT TO:<{message.recipient}>{self._rcpt_options}\r\n".encode(),
            data,
        )

    def _sender_problem(self, message: Message) -> str:
        if message.sender and not MAILBOX.fullmatch(message.sender):
            return "not sent: the sender's address cannot be written in SMTP"
        if not self._extensions.utf8 and not message.sender.isascii():
            return "not sent: the server takes no sender's address outside ASCII (SMTPUTF8)"
        return ""

    def _recipient_problem(self, message: Message) -> str:
        if not MAILBOX.fullmatch(message.recipient):
            return "not sent: the recipient's address cannot be written in SMTP"
        if not self._extensions.utf8 and not message.recipient.isascii():
            return "not sent: the server takes no recipient's address outside ASCII (SMTPUTF8)"
        return ""

    def _content_problem(self, text: bytes, plain: bool, plain_header: bool) -> str:
        if LONE_CR.search(text) or LONE_LF.search(text):
            return "not sent: the content has a line end that is not CRLF"
        if not plain and not self._extensions.eight_bit:
            return "not sent: the server takes no 8-bit content (8BITMIME)"
        if not plain_header and not self._extensions.utf8:
            return "not sent: the server takes no header outside ASCII (SMTPUTF8)"
        if 0 < self._extensions.size < len(text):
            return f"not sent: {len(text)} octets are more than the server takes ({self._extensions.size})"
        return ""

    def _mail_options(self, message: Message, size: int, plain: bool, plain_header: bool) -> str:
        options = f" SIZE={size}" if self._extensions.size_known else ""
        if not plain:
            options += " BODY=8BITMIME"
        if not (plain_header and message.sender.isascii() and message.recipient.isascii()):  # RFC 6531 section 3.4
            options += " SMTPUTF8"
        if self._wants_dsn:
            options += f" RET=HDRS ENVID={message.id}"
        return options


def dot_stuffed(text: bytes) -> bytes:
    """`text` (whole lines) with leading dots doubled, and the final dot added (RFC 5321 section 4.5.2)."""
    if text.startswith(b"."):
        text = b"." + text
    return DOT_LINE.sub(b"\r\n..", text) + FINAL_DOT


def last_chunk(text: bytes) -> bytes:
    """`text` as the only, and so the last, chunk of its message (BDAT … LAST, RFC 3030 section 2)."""
    return b"BDAT %d LAST\r\n%b" % (len(text), text)
