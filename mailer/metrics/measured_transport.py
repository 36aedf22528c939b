"""A transport whose answers are counted and timed. It carries nothing by itself, and changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import length_hint

from typing_extensions import override

from mailer.metrics.database_gauges import DatabaseGauges
from mailer.metrics.instruments import SENT, UNAVAILABLE, Answers, Instruments
from mailer.settings.send_window import SendWindow
from mailer.storage.database import Database
from transports.around import TransportAround
from transports.base import Message, Outcome, Status, Transport, TransportUnavailable
from transports.rate import TooSlow
from transports.slots import says_used_up

Told = Callable[[Answers, Sequence[float]], None]


def watched(db: Database, transport: Transport, window: SendWindow | None = None) -> tuple[Instruments, Transport]:
    """Make all that counts in a process, and put it around its transport."""
    instruments = Instruments(DatabaseGauges(db, window))
    return instruments, MeasuredTransport(transport, instruments.answered)


class _Timed(Iterator[Message]):
    """Notes when each message is drawn, in `drawn`. It goes on after an error, as `messages` do."""

    def __init__(self, messages: Iterable[Message], drawn: dict[str, float]) -> None:
        self._messages = iter(messages)
        self._drawn = drawn

    @override
    def __next__(self) -> Message:
        message = next(self._messages)
        self._drawn[message.id] = time.perf_counter()
        return message

    def __length_hint__(self) -> int:
        return length_hint(self._messages, 1)


class MeasuredTransport(TransportAround):
    """Tells `told` of the answers of `inner`: once for each `send`, which costs less than once for each message."""

    def __init__(self, inner: Transport, told: Told) -> None:
        super().__init__(inner)
        self._told = told

    @override
    def send(self, messages: Iterable[Message]) -> Iterator[Outcome]:
        clock, sent = time.perf_counter, Status.SENT  # looked up once: this loop runs for every message
        drawn: dict[str, float] = {}

        others: list[Outcome] = []
        seconds: list[float] = []
        stopped: TransportUnavailable | None = None
        outcomes = self._inner.send(_Timed(messages, drawn))
        try:
            for outcome in outcomes:
                began = drawn.pop(outcome.id, None)
                if began is not None:
                    seconds.append(clock() - began)
                    if outcome.status is not sent:
                        others.append(outcome)
                yield outcome
        except TransportUnavailable as error:
            stopped = error
            raise
        finally:
            getattr(outcomes, "close", lambda: None)()
            self._tell(others, seconds, stopped)

    def _tell(
        self, others: Sequence[Outcome], seconds: Sequence[float], stopped: TransportUnavailable | None = None
    ) -> None:
        answers = Answers((str(one.status), str(one.about)) for one in others) if others else Answers()
        if sent := len(seconds) - len(others):
            answers[SENT] = sent
        if stopped is not None and not _is_a_limit_of_ours(stopped):
            answers[(UNAVAILABLE, str(stopped.about))] += 1
        self._told(answers, seconds)


def _is_a_limit_of_ours(error: TransportUnavailable) -> bool:
    """Whether nobody refused anything: our own rate has no room, or a day's quota is used up."""
    return isinstance(error, TooSlow) or says_used_up(str(error))
