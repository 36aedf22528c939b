"""`failover:(url url)` uses the next transport when one is unavailable; `roundrobin:(url url)` also takes turns.

Only `TransportUnavailable` leads to the next one, and only with the messages that have no outcome: the interface says
that those were certainly not handed over. A message with any outcome, `uncertain` above all, is never sent again here.
So a limit that one reached leads to the next, as an outage does; a refusal of the sender does not, as it is about the
campaign's From and not about the way: what one relay refuses another would send without the right to.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Self

from transports.base import About, Message, Outcome, Transport, TransportConfigError, TransportUnavailable
from transports.options import Options, shown_options, split_group, split_url
from transports.registry import from_url, shown_url

COOLDOWN = 30.0


class Member:
    """One transport of the group, and until when it is not the first choice."""

    def __init__(self, name: str, transport: Transport) -> None:
        self.name = name
        self.transport = transport
        self.cools_until = float("-inf")

    def cools(self, now: float) -> bool:
        """Whether it failed less than a cool-down ago."""
        return now < self.cools_until


class Source:
    """The caller's messages, remembering those that were drawn and have no outcome yet."""

    def __init__(self, messages: Iterable[Message]) -> None:
        self._messages = iter(messages)
        self._open: deque[Message] = deque()
        self.broken = False

    def draw(self) -> Iterator[Message]:
        """First what an earlier transport left without an outcome, then the rest."""
        yield from tuple(self._open)
        while (message := self._next()) is not None:
            self._open.append(message)
            yield message

    def settle(self, outcome: Outcome) -> None:
        """Take note that the message has its outcome. Raises `ValueError` if it is not the next in order."""
        if not self._open or self._open[0].id != outcome.id:
            raise ValueError(f"outcome {outcome.id} is out of order")
        self._open.popleft()

    def _next(self) -> Message | None:
        try:
            return next(self._messages, None)
        except BaseException:
            self.broken = True  # what it raised is the caller's own, even if it looks like a transport's failure
            raise


class FailoverTransport(Transport):
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
        source = Source(messages)
        order = self._order()
        failures: dict[Member, TransportUnavailable] = {}
        while True:
            member = self._choose(order, failures)
            try:
                for outcome in member.transport.send(source.draw()):
                    source.settle(outcome)
                    failures.clear()
                    yield outcome
            except TransportUnavailable as error:
                if source.broken:
                    raise
                member.cools_until = self._clock() + self._cooldown
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

    def _order(self) -> Sequence[Member]:
        return self._members

    def _choose(self, order: Sequence[Member], failures: dict[Member, TransportUnavailable]) -> Member:
        now = self._clock()
        return min((member for member in order if member not in failures), key=lambda member: member.cools(now))


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

    def _order(self) -> Sequence[Member]:
        with self._turn_lock:
            start = self._turn
            self._turn = (start + 1) % len(self._members)
        return self._members[start:] + self._members[:start]


def _unavailable(failures: dict[Member, TransportUnavailable]) -> TransportUnavailable:
    error = TransportUnavailable("; ".join(f"{member.name}: {failure}" for member, failure in failures.items()))
    limited = all(failure.about is About.RATE for failure in failures.values())
    error.about = About.RATE if limited else About.TRANSPORT
    return error
