"""A message that goes to somebody else than its recipient, as it is read there. Pure."""

from __future__ import annotations

import re

from mailer.messages.headers import text_header
from transports.base import Message, vouched_message

ORIGINAL = "X-Original-To"
_HEAD_END = b"\r\n\r\n"
_TO = re.compile(rb"^To:[^\r\n]*(?:\r\n[ \t][^\r\n]*)*\r\n", re.MULTILINE | re.IGNORECASE)


def redirected(message: Message, address: str) -> Message:
    """The message with `address` on its envelope and in its field To, and its recipient in the field X-Original-To.

    The name in To stays. The recipient's address does not, since somebody who answers to all would write to them.
    """
    head, end, body = message.content.partition(_HEAD_END)
    found = _TO.search(head + b"\r\n")
    name = found[0].rstrip(b"\r\n").removeprefix(b"To:").strip() if found else b""
    fields = f"{text_header(ORIGINAL, message.recipient)}\r\n".encode() + _to(name, address)
    rest = _TO.sub(b"", head + b"\r\n", count=1) if found else head + b"\r\n"
    content = fields + rest.removesuffix(b"\r\n") + end + body
    vouched = message.vouched and address.isascii()
    make = vouched_message if vouched else Message
    return make(message.id, message.sender, address, content)


def _to(mailbox: bytes, address: str) -> bytes:
    """The field To with the name of `mailbox` as it is written there, folds and encoded words included."""
    name, bracket, _ = mailbox.rpartition(b"<")
    shown = name.rstrip(b" \t\r\n")
    if not bracket or not shown:
        return f"To: {address}\r\n".encode()
    return b"To: " + shown + f"\r\n <{address}>\r\n".encode()
