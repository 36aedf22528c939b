"""The formats of the file transport that give each message a file: eml with an index, and Maildir."""

from __future__ import annotations

import fcntl
import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header, make_header

from transports.base import Message
from transports.file.folders import Folder, Staging, flush_all, sweep, write_all

INDEX = "index.ndjson"


class FileFormat(ABC):
    """One way to keep messages in a folder."""

    @abstractmethod
    def __init__(self, folder: Folder) -> None:
        """Prepare `folder`. Raises `OSError`."""

    @abstractmethod
    def store(self, folder: Folder, messages: Sequence[Message]) -> None:
        """Store all of `messages` durably. Raises `OSError`; then none of them is left that was not there before."""

    def close(self) -> None:  # noqa: B027 - most hold nothing between calls
        """Close what is kept open between calls."""


class EmlFormat(FileFormat):
    """`<message id>.eml`, with the bytes that SMTP would send; `index.ndjson` gets a line for each, at every send."""

    def __init__(self, folder: Folder) -> None:
        sweep(folder)

    def store(self, folder: Folder, messages: Sequence[Message]) -> None:
        """Write aside, append to the index, flush all of it together, then let the files appear."""
        wanted = latest_by_id(messages).values()
        lines = b"".join(index_line(message, time.time()) for message in wanted)
        with Staging(folder) as staging:
            for message in wanted:
                staging.add(message.content)
            flush_all(staging.descriptors)
            with appended(folder, INDEX, lines):
                staging.publish(folder, [f"{message.id}.eml" for message in wanted])


class MaildirFormat(FileFormat):
    """A Maildir: `new/<message id>`, unless `new` or `cur` has it already. LF line ends, as mail readers expect."""

    def __init__(self, folder: Folder) -> None:
        for name in ("tmp", "new", "cur"):
            with folder.subfolder(name) as part:
                if name == "tmp":
                    sweep(part)

    def store(self, folder: Folder, messages: Sequence[Message]) -> None:
        """Write into `tmp`, flush all of it together, then move to `new`."""
        with folder.subfolder("tmp") as tmp, folder.subfolder("new") as new, folder.subfolder("cur") as cur:
            by_id = latest_by_id(messages)
            there = new.existing(by_id) | _names_read(cur, by_id)
            wanted = [message for name, message in by_id.items() if name not in there]
            with Staging(tmp) as staging:
                for message in wanted:
                    staging.add(message.content.replace(b"\r\n", b"\n"))
                flush_all(staging.descriptors)
                staging.publish(new, [message.id for message in wanted])


def latest_by_id(messages: Sequence[Message]) -> dict[str, Message]:
    """`messages` by their ids; of one id the last."""
    return {message.id: message for message in messages}


def index_line(message: Message, now: float) -> bytes:
    """The index entry of `message` as a line of JSON; `time` in milliseconds since 1970, `size` in bytes."""
    entry = {
        "id": message.id,
        "recipient": message.recipient,
        "subject": subject(message.content),
        "file": f"{message.id}.eml",
        "time": int(now * 1000),
        "size": len(message.content),
    }
    return json.dumps(entry).encode("ascii") + b"\n"


def subject(content: bytes) -> str:
    """The decoded Subject, or as much of it as can be decoded."""
    head = content.partition(b"\r\n\r\n")[0]
    raw = str(message_from_bytes(head).get("Subject", ""))
    try:
        return str(make_header(decode_header(raw)))
    except (HeaderParseError, LookupError, UnicodeError):
        return raw


@contextmanager
def appended(folder: Folder, name: str, data: bytes) -> Iterator[None]:
    """Append `data` to the file `name`, locked and flushed, for the block; cut off again if the block raises."""
    fd = folder.open(name, os.O_RDWR | os.O_APPEND | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        size = os.fstat(fd).st_size
        try:
            write_all(fd, data)
            os.fsync(fd)
            yield
        except BaseException:
            os.ftruncate(fd, size)
            raise
    finally:
        os.close(fd)


def _names_read(cur: Folder, wanted: dict[str, Message]) -> set[str]:
    """The ids that a mail reader has moved to `cur`, where flags follow the name after a colon."""
    names = os.listdir(cur.fd)  # noqa: PTH208 - by descriptor, not by a path that may have changed
    return {base for base in (name.partition(":")[0] for name in names) if base in wanted}
