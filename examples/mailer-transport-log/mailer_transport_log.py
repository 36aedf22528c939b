"""`log:` takes every message and writes its id and size to the log; `?level=debug|info|warning`, `?limit=N`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Self

from transports import Message, Outcome, Status, Transport, TransportConfigError
from transports.options import Options, split_url

log = logging.getLogger(__name__)
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING}


class LogTransport(Transport):
    """Refuses messages over `limit` bytes, to show an outcome that is not `sent`."""

    def __init__(self, level: int = logging.INFO, limit: int = 10_000_000) -> None:
        self._level = level
        self._limit = limit

    @classmethod
    def from_url(cls, url: str) -> Self:
        parts = split_url(url)
        if parts.rest:
            raise TransportConfigError("log: takes no path")
        options = Options(parts.scheme, parts.query, ("level", "limit"))
        level = options.choice("level", tuple(LEVELS), "info")
        return cls(LEVELS[level], options.integer("limit", 10_000_000, 1, 10**9))

    def send(self, messages: Iterable[Message]) -> Iterator[Outcome]:
        for message in messages:
            yield self._take(message)

    def check(self) -> None:
        pass  # the log is always there

    def _take(self, message: Message) -> Outcome:
        size = len(message.content)
        if size > self._limit:
            return Outcome(message.id, Status.REFUSED, f"{size} bytes are more than {self._limit}")
        log.log(self._level, "message %s, %d bytes", message.id, size)
        return Outcome(message.id, Status.SENT, "logged")
