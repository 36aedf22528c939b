"""A mail as its parts (RFC 2046). Pure; never raises, and bounded in size, depth and number of parts.

Python's parser makes a tree as deep as the mail says, and reads the message in a message too. Here the returned
message is wanted as text, and a mail that is nested a thousand deep is of no interest.
"""

from __future__ import annotations

import binascii
import html
import quopri
import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from mailer.bounces.formats.fields import Fields, parse_octets, to_text

MAX_SIZE = 1 << 20  # octets that are looked at; a report comes before the message that it returns
MAX_HEADER = 1 << 16  # octets in which a field is looked for that shows that it is a mail
MAX_DEPTH = 8
MAX_PARTS = 64

RETURNED = {
    "message/rfc822",
    "message/global",
    "text/rfc822-headers",
    "text/rfc822-header",
    "message/rfc822-headers",
    "message/global-headers",
}
_ALWAYS = ("From", "Date", "To", "Subject", "Message-ID", "Received", "Return-Path", "Delivered-To")
_TYPE = re.compile(r"[ \t]*([\w.+-]+/[\w.+-]+)", re.ASCII)
_BOUNDARY = re.compile(r"boundary[ \t]*=[ \t]*(?:\"([^\"]{1,200})\"|([^\s;\"]{1,200}))", re.IGNORECASE)
_CHARSET = re.compile(r"charset[ \t]*=[ \t]*\"?([\w.:-]+)", re.IGNORECASE)
_BREAKS = re.compile(r"<(?:br|/?p|/?div|/?tr|/?h\d|/?li|hr)\b[^<>]*>", re.IGNORECASE)
_TAGS = re.compile(r"<(?:[a-z!/][^<>]*)>", re.IGNORECASE)


class Part(NamedTuple):
    """A part that has no parts: its type in lower case, its fields, and its content as text."""

    type: str
    fields: Fields
    text: str


class Letter(NamedTuple):
    """A mail: its header fields and its parts, in their order."""

    fields: Fields
    parts: tuple[Part, ...]

    def first(self, *types: str) -> Part | None:
        """The first part of one of these types."""
        return next((part for part in self.parts if part.type in types), None)


def is_mail(raw: bytes) -> bool:
    """Whether there is a field at the beginning of which every mail has some (RFC 5322 section 3.6), or a trace."""
    text = raw[:MAX_HEADER].decode("latin-1").lstrip("\r\n")
    fields = parse_octets(text.partition("\n")[2] if text.startswith("From ") else text)[0]
    return any(name in fields for name in _ALWAYS)


def open_mail(raw: bytes) -> Letter:
    """Take any octets apart as a mail; what is over `MAX_SIZE` is left out."""
    text = raw[:MAX_SIZE].decode("latin-1")  # an octet is a character, until the charset of its part is known
    if text.startswith("From "):  # the separator of a mailbox file
        text = text.partition("\n")[2]
    fields, body = parse_octets(text.lstrip("\r\n"))
    return Letter(fields, tuple(islice(_parts(fields, body, "text/plain", 0), MAX_PARTS)))


def plain(markup: str) -> str:
    """HTML as text, as far as a notice needs it: a line for each block, and no tags."""
    return html.unescape(_TAGS.sub("", _BREAKS.sub("\n", markup.replace("\n", " "))))


def _parts(fields: Fields, body: str, default: str, depth: int) -> Iterator[Part]:
    value = " ".join(fields.all("Content-Type")[:1])
    found = _TYPE.match(value)
    kind = found[1].lower() if found else default
    boundary = _BOUNDARY.search(value)
    if kind.startswith("multipart/") and boundary and depth < MAX_DEPTH:
        yield from _divided(body, boundary[1] or boundary[2], depth + 1)
    else:
        yield Part("text/plain" if kind.startswith("multipart/") else kind, fields, _content(fields, body, value))


def _divided(body: str, boundary: str, depth: int) -> Iterator[Part]:
    line = re.compile(rf"(?:^|\n)--{re.escape(boundary.rstrip())}(?:--)?[ \t]*\r?(?=\n|$)")
    pieces = line.split(body, MAX_PARTS)
    if len(pieces) == 1:  # the boundary that it names is not there
        yield Part("text/plain", Fields(), to_text(body.encode("latin-1"), None))
    for piece in pieces[1:]:
        fields, content = parse_octets(piece.removeprefix("\n"))
        if "From" in fields and ("Received" in fields or "Message-ID" in fields):  # a message that nobody has wrapped
            yield Part("message/rfc822", Fields(), to_text(piece.encode("latin-1"), None))
        elif piece.strip():
            yield from _parts(fields, content, "text/plain", depth)


def _content(fields: Fields, body: str, content_type: str) -> str:
    octets = body.encode("latin-1")
    encoding = fields.get("Content-Transfer-Encoding").strip().lower()
    if encoding == "quoted-printable":
        octets = quopri.decodestring(octets)
    elif encoding == "base64":
        octets = _base64(octets)
    charset = _CHARSET.search(content_type)
    return to_text(octets, charset[1] if charset else None)


def _base64(octets: bytes) -> bytes:
    letters = re.sub(rb"[^A-Za-z0-9+/]", b"", octets.partition(b"=")[0])
    try:
        return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))
    except binascii.Error:  # a letter too many at the end
        return binascii.a2b_base64(letters[: len(letters) // 4 * 4])
