"""`failover:(url url)` uses the next transport when one is unavailable; `roundrobin:(url url)` also takes turns.

Only `TransportUnavailable` leads to the next transport, and only messages without an outcome go to it: by the interface
those were certainly not handed over. A message with any outcome, `uncertain` above all, is never sent again here.

A rate limit thus leads to the next transport, as an outage does. A refusal of the sender does not: it is about the
campaign's From address, and a relay that does not check it would send what it has no right to send.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Self

from transports.base import About, Message, Outcome, Transport, TransportConfigError, TransportUnavailable
from transports.options import Options, shown_options, split_group, split_url
from transports.rate import Rate, Rated, rates_of
from transports.registry import from_url, shown_url

COOLDOWN = 30.0  # seconds


class Member:
    """One transport of the group. Until `cooldown_until` (monotonic seconds) the others are tried before it."""

    def __init__(self, name: str, transport: Transport) -> None:
        self.name = name
        self.transport = transport
        self.cooldown_until = float("-inf")

    def is_cooling(self, now: float) -> bool:
        """Whether its last failure was less than a cool-down before `now`."""
        return now < self.cooldown_until


class ReplayableMessages:
    """The caller's messages. Those that were drawn and have no outcome yet can be drawn again, by the next member."""

    def __init__(self, messages: Iterable[Message]) -> None:
        self._messages = iter(messages)
        self._unanswered: deque[Message] = deque()
        self.caller_failed = False

    def draw(self) -> Iterator[Message]:
        """First the messages that an earlier member left without an outcome, then the rest."""
        yield from tuple(self._unanswered)
        while (message := self._next()) is not None:
            self._unanswered.append(message)
            yield message

    def record(self, outcome: Outcome) -> None:
        """Note that a message has its outcome. Raises `ValueError` if it is not the next one in order."""
        if not self._unanswered or self._unanswered[0].id != outcome.id:
            raise ValueError(f"outcome {outcome.id} is out of order")
        self._unanswered.popleft()

    def _next(self) -> Message | None:
        try:
            return next(self._messages, None)
        except BaseException:
            self.caller_failed = (
                True  # so that a TransportUnavailable of the caller's own is not taken for the member's
            )
            raise


class FailoverTransport(Transport, Rated):
    """Sends through the first member that works; one that failed is passed over for `cooldown` seconds.

    When all of them are cooling down they are tried all the same: waiting is the caller's decision.
    """

    def __init__(
        self,
        members: Sequence[tuple[str, Transport]],
        cooldown: float = COOLDOWN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._members = tuple(Member(name, transport) for name, transport in members)
        self._cooldown = cooldown
        self._clock = clock

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Build from `scheme:(url url)`, at least two of them, with the option `cooldown`."""
        parts = split_url(url)
        options = Options(parts.scheme, parts.query, ("cooldown",))
        urls = split_group(parts.scheme, parts.rest)
        if len(urls) < 2:
            raise TransportConfigError(f"{parts.scheme}: needs at least two URLs in the parentheses")
        return cls([(shown_url(each), from_url(each)) for each in urls], options.duration("cooldown", COOLDOWN))

    @classmethod
    def shown(cls, url: str) -> str:
        """With each member as its own transport shows it."""
        try:
            parts = split_url(url)
            members = " ".join(map(shown_url, split_group(parts.scheme, parts.rest)))
        except TransportConfigError:
            return super().shown(url)
        return f"{parts.scheme}:({members}){shown_options(parts.query, ('cooldown',))}"

    def send(self, messages: Iterable[Message]) -> Iterator[Outcome]:
        """Send through the members in turn. Raises `TransportUnavailable` once each has failed without progress."""
        replayable = ReplayableMessages(messages)
        members = self._preference()
        failures: dict[Member, TransportUnavailable] = {}
        while True:
            member = self._choose(members, failures)
            try:
                for outcome in member.transport.send(replayable.draw()):
                    replayable.record(outcome)
                    failures.clear()
                    yield outcome
            except TransportUnavailable as error:
                if replayable.caller_failed:
                    raise
                member.cooldown_until = self._clock() + self._cooldown
                failures[member] = error
                if len(failures) == len(self._members):
                    raise _unavailable(failures) from error
            else:
                return

    def check(self) -> None:
        """Raise `TransportUnavailable` when no member could send now."""
        failures: dict[Member, TransportUnavailable] = {}
        for member in self._members:
            try:
                member.transport.check()
            except TransportUnavailable as error:
                failures[member] = error
            else:
                return
        raise _unavailable(failures)

    def close(self) -> None:
        """Close every member."""
        for member in self._members:
            member.transport.close()

    def rates(self) -> Sequence[Rate]:
        """Those of the members."""
        return [rate for member in self._members for rate in rates_of(member.transport)]

    def _preference(self) -> Sequence[Member]:
        return self._members

    def _choose(self, members: Sequence[Member], failures: dict[Member, TransportUnavailable]) -> Member:
        now = self._clock()
        return min((member for member in members if member not in failures), key=lambda member: member.is_cooling(now))


class RoundRobinTransport(FailoverTransport):
    """Starts each `send` with the next member in turn; otherwise as `FailoverTransport`."""

    def __init__(
        self,
        members: Sequence[tuple[str, Transport]],
        cooldown: float = COOLDOWN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(members, cooldown, clock)
        self._turn = 0
        self._turn_lock = threading.Lock()

    def _preference(self) -> Sequence[Member]:
        with self._turn_lock:
            start = self._turn
            self._turn = (start + 1) % len(self._members)
        return self._members[start:] + self._members[:start]


def _unavailable(failures: dict[Member, TransportUnavailable]) -> TransportUnavailable:
    error = TransportUnavailable("; ".join(f"{member.name}: {failure}" for member, failure in failures.items()))
    limited = all(failure.about is About.RATE for failure in failures.values())
    error.about = About.RATE if limited else About.TRANSPORT
    waits = [failure.retry_after for failure in failures.values()]
    error.retry_after = min((wait for wait in waits if wait is not None), default=None) if None not in waits else None
    return error
