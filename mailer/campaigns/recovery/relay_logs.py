"""Which messages a relay has taken, as its log or a list of Message-IDs says.

Postfix writes several lines about a message, which its queue id joins: `cleanup` names the Message-ID, and `qmgr` says
that the message is in the queue, which is when the relay has taken it. A message that was refused at its end has the
first line alone. A list has one Message-ID a line, and nothing else. What is neither proves nothing, and a file without
any line of either kind is not what somebody meant to give.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mailer.errors import InvalidState

NO_LOG = "has no line of Postfix's log, and no Message-ID on a line of its own; nothing was recorded"
GZIP = b"\x1f\x8b"
DELIVERY = r"[0-9A-Za-z_-]{1,64}\.[0-9a-f]{16,128}"  # as `messages.template.delivery_id` makes it
LISTED = re.compile(rf"\s*<?({DELIVERY})(?:@[^\s<>]*)?>?\s*")
NAMED = re.compile(rf"\bpostfix\S*/cleanup\[\d+\]: ([0-9A-Za-z]+): message-id=<?({DELIVERY})@")
MESSAGE_ID = re.compile(r"\s*<[^\s<>@]+@[^\s<>@]+>\s*")  # of anybody's message
RELAY = re.compile(r"\bpostfix\S*/[a-z]+\[\d+\]: ")  # any line of Postfix
QUEUED = re.compile(r"\bpostfix\S*/qmgr\[\d+\]: ([0-9A-Za-z]+): .*\(queue active\)")


def taken(path: Path) -> Iterator[str]:
    """The ids of our deliveries that the file proves, each as often as it does.

    Raises `InvalidState`, at the end, for a file that is neither a log nor a list, and `OSError`.
    """
    seen = Seen()
    with _lines(path) as lines:
        yield from proved(seen.passing(lines))
    if not seen.lines:
        raise InvalidState(f"{path}: {NO_LOG}")


class Seen:
    """Counts the lines that a log of Postfix or a list of Message-IDs may have."""

    def __init__(self) -> None:
        self.lines = 0

    def passing(self, lines: Iterable[str]) -> Iterator[str]:
        """Pass the lines on. It is enough to know that there is one."""
        for line in lines:
            if not self.lines and (RELAY.search(line) or LISTED.fullmatch(line) or MESSAGE_ID.fullmatch(line)):
                self.lines = 1
            yield line


def proved(lines: Iterable[str]) -> Iterator[str]:
    """The ids that lines prove."""
    named: dict[str, str] = {}  # by queue id, the delivery of a message that is not in the queue yet
    for line in lines:
        if listed := LISTED.fullmatch(line):
            yield listed[1]
        elif found := NAMED.search(line):
            named[found[1]] = found[2]
        elif (queued := QUEUED.search(line)) and queued[1] in named:
            yield named.pop(queued[1])


@contextmanager
def _lines(path: Path) -> Iterator[IO[str]]:
    """The lines of a file, which may be compressed, as rotated logs are."""
    with path.open("rb") as raw:
        packed = raw.read(2) == GZIP
    options = {"mode": "rt", "encoding": "utf-8", "errors": "replace"}
    with gzip.open(path, **options) if packed else path.open(**options) as lines:  # type: ignore[call-overload]
        yield lines
