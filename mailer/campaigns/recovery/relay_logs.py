"""Which messages a relay has taken, as its log or a list of Message-IDs says.

Postfix writes several lines about a message, which its queue id joins: `cleanup` names the Message-ID, and `qmgr` says
that the message is in the queue, which is when the relay has taken it. A message that was refused at its end has the
first line alone. A list has one Message-ID a line, and nothing else. What is neither proves nothing.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

GZIP = b"\x1f\x8b"
DELIVERY = r"[0-9A-Za-z_-]{1,64}\.[0-9a-f]{16,128}"  # as `messages.template.delivery_id` makes it
LISTED = re.compile(rf"\s*<?({DELIVERY})(?:@[^\s<>]*)?>?\s*")
NAMED = re.compile(rf"\bpostfix\S*/cleanup\[\d+\]: ([0-9A-Za-z]+): message-id=<?({DELIVERY})@")
QUEUED = re.compile(r"\bpostfix\S*/qmgr\[\d+\]: ([0-9A-Za-z]+): .*\(queue active\)")


def taken(path: Path) -> Iterator[str]:
    """The ids of our deliveries that the file proves, each as often as it does. Raises `OSError`."""
    with _lines(path) as lines:
        yield from proved(lines)


def proved(lines: Iterable[str]) -> Iterator[str]:
    """The same for lines."""
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
