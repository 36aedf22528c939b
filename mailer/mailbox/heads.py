"""What lists show of a message, read from its bytes.

It is to be quick, since somebody who looks may wait for hundreds of messages. It knows how this service lays messages
out: fields as it writes their names, the text part first. Of other messages it may find less. `mailer.mailbox.opened`
reads any message.
"""

from __future__ import annotations

import re
from binascii import a2b_qp
from contextlib import suppress
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from functools import lru_cache
from typing import NamedTuple

from mailer.interception.redirected import ORIGINAL
from mailer.messages.addresses import comparable
from mailer.text import one_line

LONGEST = 1000  # characters of a field that is kept for lists
SNIPPET = 250  # characters, as Mailpit has it
_READ = 400  # bytes from which the snippet is made
_END = b"\r\n\r\n"
_TEXT = b"\r\nContent-Type: text/plain"
_FROM, _TO, _SUBJECT, _REPLY_TO, _ORIGINAL = (
    f"\r\n{name}: ".encode() for name in ("From", "To", "Subject", "Reply-To", ORIGINAL)
)
ANSWERS = "\nreply-to: "  # the last line of `Head.words` begins so, where there is one
_ATTACHED = re.compile(rb"^Content-Disposition: *attachment\b", re.MULTILINE | re.IGNORECASE)


class Head(NamedTuple):
    """The columns of `MailboxMessage` that come from the message itself."""

    address: str
    recipient: str
    author: str
    addressee: str
    subject: str
    snippet: str
    words: str
    size: int
    attachments: int


def head_of(content: bytes, recipient: str) -> Head:
    """Read what is shown of a message to this recipient. Whatever cannot be read stands there as it is."""
    head = b"\r\n" + content[: content.find(_END) + 2]
    author, addressee, subject = _field(head, _FROM), _field(head, _TO), _field(head, _SUBJECT)
    address = comparable(_field(head, _ORIGINAL) or recipient)
    snippet = _snippet(content)
    words = f"{author}\n{addressee}\n{recipient}\n{address}\n{subject}\n{snippet}".lower()
    words += f"{ANSWERS}{answers.lower()}" if (answers := _field(head, _REPLY_TO)) else ""
    attachments = len(_ATTACHED.findall(content)) if b"ttachment" in content else 0
    return Head(address, recipient, author, addressee, subject, snippet, words, len(content), attachments)


def answers_in(begin: bytes) -> str:
    """The field Reply-To of a message that begins so, decoded; empty if there is none."""
    return _field(b"\r\n" + begin.partition(_END)[0] + b"\r\n", _REPLY_TO)


def _field(head: bytes, name: bytes) -> str:
    """The value of the first field of that name, decoded; empty if there is none."""
    begin = head.find(name)
    if begin < 0:
        return ""
    begin += len(name)
    end = head.find(b"\r\n", begin)
    while head[end + 2 : end + 3] in (b" ", b"\t"):  # folded
        end = head.find(b"\r\n", end + 2)
    value = head[begin:end].decode("utf-8", "replace")
    return decoded(value) if "=?" in value or not value.isprintable() else value[:LONGEST]


@lru_cache(maxsize=256)  # the messages of a campaign have some of them in common
def decoded(value: str) -> str:
    """The value of a field in one line, with its encoded words (RFC 2047) decoded."""
    with suppress(HeaderParseError, LookupError, UnicodeError, ValueError):
        value = str(make_header(decode_header(value.replace("\r\n", ""))))
    return one_line(value)[:LONGEST]


def _snippet(content: bytes) -> str:
    """The beginning of the text part, in one line; empty if there is none."""
    head = content.find(_TEXT)
    begin = content.find(_END, head) + 4
    if head < 0 or begin < 4:
        return ""
    octets = content[begin : begin + _READ].partition(b"\r\n--")[0]  # the next part begins there
    if content.find(b"quoted-printable", head, begin) > 0:
        octets = a2b_qp(octets)
    return one_line(octets.decode("utf-8", "ignore"))[:SNIPPET]
