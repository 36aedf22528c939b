"""A transport whose answers are counted and timed. It carries nothing by itself, and changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Self

from typing_extensions import override

from mailer.metrics.database_gauges import DatabaseGauges
from mailer.metrics.instruments import Answers, Instruments
from mailer.storage.database import Database
from transports.base import Message, Outcome, Status, Transport

Told = Callable[[Answers, Sequence[float]], None]


def watched(db: Database, transport: Transport) -> tuple[Instruments, Transport]:
    """Make all that counts in a process, and put it around its transport."""
    instruments = Instruments(DatabaseGauges(db))
    return instruments, MeasuredTransport(transport, instruments.answered)


class _Timed(Iterator[Message]):
    """Notes by `clock` when each message is drawn, in `drawn`."""

    def __init__(self, messages: Iterable[Message], drawn: dict[str, float]) -> None:
        self._messages = iter(messages)
        self._drawn = drawn

    @override
    def __next__(self) -> Message:
        message = next(self._messages)
        self._drawn[message.id] = time.perf_counter()
        return message


class MeasuredTransport(Transport):
    """Tells `told` of the answers of `inner`: once for each `send`, which costs less than once for each message."""

    def __init__(self, inner: Transport, told: Told) -> None:
        self._inner = inner
        self._told = told

    @classmethod
    @override
    def from_url(cls, url: str) -> Self:
        raise NotImplementedError("it is made around another transport")

    @override
    def send(self, messages: Iterable[Message]) -> Iterator[Outcome]:
        drawn: dict[str, float] = {}
        answers = Answers()
        seconds: list[float] = []
        outcomes = self._inner.send(_Timed(messages, drawn))
        try:
            for outcome in outcomes:
                began = drawn.pop(outcome.id, None)
                if began is not None:
                    seconds.append(time.perf_counter() - began)
                    about = "" if outcome.status is Status.SENT else str(outcome.about)
                    answers[(str(outcome.status), about)] += 1
                yield outcome
        finally:
            getattr(outcomes, "close", lambda: None)()
            self._told(answers, seconds)

    @override
    def check(self) -> None:
        self._inner.check()

    @override
    def close(self) -> None:
        self._inner.close()
