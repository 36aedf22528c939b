"""`console:` shows each message on standard output, for development. `?format=block` (the default), `line` or `raw`."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from email import message_from_bytes
from email.errors import HeaderParseError, MessageError
from email.header import decode_header, make_header
from email.message import Message as ParsedMessage
from typing import IO, Self

from transports.base import Message, Outcome, Status, Transport, TransportConfigError, TransportUnavailable
from transports.options import Options, split_url

# Control characters but for tab and line feed, line separators, marks that reorder text, lone surrogates: what could
# steer a terminal. The package imports nothing of `mailer`, and so has its own rule beside those of `mailer.text`.
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
RULE = "-" * 72

_stdout_lock = threading.Lock()  # standard output is one for the whole process, however many transports there are


class ConsoleTransport(Transport):
    """Writes each message to standard output, which counts as sent."""

    def __init__(self, form: str = "block") -> None:
        self._form = FORMS[form]

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Build from `console:` with the option `format`."""
        parts = split_url(url)
        if parts.rest:
            raise TransportConfigError("console: takes no path; write console: or console:?format=line")
        options = Options(parts.scheme, parts.query, ("format",))
        return cls(options.choice("format", tuple(FORMS), "block"))

    @classmethod
    def shown(cls, url: str) -> str:
        """The whole URL: there is nothing secret in it."""
        return url.strip()

    def send(self, messages: Iterable[Message]) -> Iterator[Outcome]:
        """Write one message after the other. Raises `TransportUnavailable` when standard output is closed or full."""
        for message in messages:
            write_stdout(self._form(message))
            yield Outcome(message.id, Status.SENT, "written to standard output")

    def check(self) -> None:
        """Raise `TransportUnavailable` when standard output is closed."""
        _stdout_stream()


def write_stdout(data: bytes) -> None:
    """Write all of `data` without other threads' output in between. Raises `TransportUnavailable`."""
    with _stdout_lock:
        stream = _stdout_stream()
        try:
            sys.stdout.flush()
            _write_through(stream, data)
        except (OSError, ValueError) as error:
            raise TransportUnavailable(f"standard output: {error}") from error


def as_block(message: Message) -> bytes:
    """Envelope, subject, unsubscribe link and text part, for people."""
    parsed = message_from_bytes(message.content)
    head = [
        RULE,
        f"envelope    {message.sender or '<>'} -> {message.recipient}",
        f"subject     {_header(parsed, 'Subject')}",
        f"unsubscribe {_header(parsed, 'List-Unsubscribe').strip('<> ')}",
        "",
    ]
    text = _text(parsed).replace("\r\n", "\n").rstrip("\n")
    return _encode("\n".join(_visible(line) for line in (*head, *text.split("\n"), "")))


def as_line(message: Message) -> bytes:
    """Id, envelope and subject on one line."""
    subject = _header(message_from_bytes(message.content), "Subject")
    line = f"{message.id} {message.sender or '<>'} -> {message.recipient} {subject}"
    return _encode(_visible(line).replace("\n", "\\n") + "\n")


def as_raw(message: Message) -> bytes:
    """The content, byte for byte."""
    return message.content


FORMS: dict[str, Callable[[Message], bytes]] = {"block": as_block, "line": as_line, "raw": as_raw}


def _stdout_stream() -> IO[bytes]:
    if sys.stdout is None or sys.stdout.closed:
        raise TransportUnavailable("standard output is closed")
    buffer: IO[bytes] = sys.stdout.buffer
    # The raw stream below the buffer: what cannot be written must not stay in the buffer and come out at a later write.
    return getattr(buffer, "raw", buffer)


def _write_through(stream: IO[bytes], data: bytes) -> None:
    view = memoryview(data)
    while view:
        written = stream.write(view)
        if not written:
            raise BlockingIOError("cannot take more at the moment")
        view = view[written:]


def _encode(text: str) -> bytes:
    return text.encode(sys.stdout.encoding if sys.stdout else "utf-8", "backslashreplace")


def _visible(text: str) -> str:
    return HIDDEN.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def _header(parsed: ParsedMessage, name: str) -> str:
    raw = str(parsed.get(name, ""))
    try:
        return str(make_header(decode_header(raw)))
    except (HeaderParseError, LookupError, UnicodeError):
        return raw


def _text(parsed: ParsedMessage) -> str:
    """The first text part, plain text before anything else, decoded as far as it can be."""
    parts = [part for part in parsed.walk() if part.get_content_maintype() == "text"]
    part = next((part for part in parts if part.get_content_subtype() == "plain"), parts[0] if parts else None)
    payload = part.get_payload(decode=True) if part else b""
    text = payload if isinstance(payload, bytes) else b""
    try:
        return text.decode(part.get_content_charset("utf-8") if part else "utf-8", "replace")
    except (LookupError, MessageError):
        return text.decode("utf-8", "replace")
