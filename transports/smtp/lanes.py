"""Several connections in one thread: while one server thinks, the next message is made and written to another.

A thread for each connection would have Python's lock handed over at each read and write, which takes longer than the
rest of a message. Here the dialogues pause while an answer is on its way, and are gone on with in turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import Protocol

from transports.base import About, Message, Outcome, TransportUnavailable
from transports.rate import Rate
from transports.smtp.errors import PipeliningBroken, SessionEnded
from transports.smtp.pool import SessionPool
from transports.smtp.session import Session

Steps = Iterator[Outcome | None]
Take = Callable[[], Message | None]


class Begin(Protocol):
    """Starts the dialogue on a session; it draws by `take`."""

    def __call__(self, session: Session, take: Take) -> Steps:
        """The dialogue's steps; it ends when `take` gives None."""


class Source:
    """The caller's messages, let through at the set rate. `drawn` has the ids of those without an outcome, in order."""

    def __init__(self, messages: Iterable[Message], rate: Rate | None) -> None:
        self._messages = iter(messages)
        self._rate = rate
        self._held: Message | None = None
        self._free = False  # whether the message held may go
        self._returned: deque[Message] = deque()  # drawn, counted in the rate, and not handed over after all
        self._ended = False
        self.drawn: deque[str] = deque()

    def wait(self) -> bool:
        """Draw the next message unless one is held, and wait until it may go. False at the end."""
        if self.returned:
            return True
        if not self._hold():
            return False
        if self._rate is not None and not self._free:
            self._rate.wait()
        self._free = True
        return True

    def ready(self) -> bool:
        """Whether there is a message that may go at once."""
        if self.returned:
            return True
        if not self._hold():
            return False
        self._free = self._free or self._rate is None or self._rate.take()
        return self._free

    def next(self) -> Message | None:
        """That message; None if there is none."""
        if not self.ready():
            return None
        if self._returned:
            return self._returned.popleft()
        message, self._held, self._free = self._held, None, False
        return message

    @property
    def returned(self) -> bool:
        """Whether there are messages that were given back, and more may go."""
        return bool(self._returned) and not self._ended

    def give_back(self, messages: Iterable[Message]) -> None:
        """Take back what was drawn and certainly not handed over: it goes next, in its place among the outcomes."""
        self._returned.extend(messages)

    def end(self) -> None:
        """Give no more."""
        self._ended = True

    def _hold(self) -> bool:
        if self._held is None and not self._ended:
            self._held = next(self._messages, None)
            if self._held is not None:
                self.drawn.append(self._held.id)
        return self._held is not None and not self._ended


@dataclass(slots=True)
class Lane:
    """A connection in use and its dialogue; `open` are the messages it drew that have no outcome yet."""

    context: AbstractContextManager[Session]
    session: Session
    source: Source
    steps: Steps = field(default_factory=lambda: iter(()))
    open: deque[Message] = field(default_factory=deque)

    def take(self) -> Message | None:
        """Draw the next message for this connection."""
        message = self.source.next()
        if message is not None:
            self.open.append(message)
        return message

    @property
    def proven(self) -> bool:
        """Whether a message before those that are open has had its answer on this connection."""
        return self.session.carried > len(self.open)

    def leave(self, error: BaseException | None = None) -> None:
        """Give the connection back; after an `error` it is dropped."""
        self.context.__exit__(type(error) if error else None, error, None)


class Lanes:
    """The connections of one `send`.

    A session that the server ends between two messages is followed by another, at the cost of a connect: only when
    the first message of a session is answered so, or no session can be opened, is the transport unavailable.
    `distrust` is told of a server whose PIPELINING is broken, and `begin` is then asked anew.
    """

    def __init__(
        self, pool: SessionPool, source: Source, begin: Begin, distrust: Callable[[PipeliningBroken], None]
    ) -> None:
        self._pool = pool
        self._source = source
        self._begin = begin
        self._distrust = distrust
        self._lanes: deque[Lane] = deque()
        self._settled: dict[str, Outcome] = {}
        self._failure: TransportUnavailable | None = None

    def run(self) -> Iterator[Outcome]:
        """Outcomes in the order of the messages, as they become known.

        Raises `TransportUnavailable` when a connection fails, after the other connections have come to an end.
        """
        try:
            self._open(self._pool.session())
            while self._lanes or self._reopen():
                yield from self._advance(self._lanes.popleft())
                self._widen()
            if self._failure is not None:
                yield from [self._settled[name] for name in self._source.drawn if name in self._settled]
                raise self._failure
        except BaseException as error:
            for lane in self._lanes:
                lane.leave(error)
            raise

    def _open(self, context: AbstractContextManager[Session]) -> None:
        lane = Lane(context, context.__enter__(), self._source)
        lane.steps = self._begin(lane.session, lane.take)
        self._lanes.append(lane)

    def _reopen(self) -> bool:
        """When the last session has ended with messages left that were drawn: open one for them."""
        if not self._source.returned:
            return False
        try:
            self._open(self._pool.session())
        except TransportUnavailable as failure:
            self._fail(failure)
        return bool(self._lanes)

    def _fail(self, failure: TransportUnavailable) -> None:
        """End the sending; of several reasons the first is kept, or that a limit was reached."""
        if self._failure is None or (failure.about is About.RATE and self._failure.about is not About.RATE):
            self._failure = failure
        self._source.end()

    def _widen(self) -> None:
        """Use one more connection if there is one to spare and something to send. Without it, it goes as well."""
        if not 0 < len(self._lanes) < self._pool.size or not self._source.ready():
            return
        spare = self._pool.spare()
        if spare is not None:
            with suppress(TransportUnavailable):
                self._open(spare)

    def _advance(self, lane: Lane) -> Iterator[Outcome]:
        """Go on until the next pause, and give what is known by then."""
        try:
            for outcome in lane.steps:
                if outcome is None:
                    self._lanes.append(lane)
                    return
                lane.open.popleft()
                self._settled[outcome.id] = outcome
                yield from self._known()
        except TransportUnavailable as failure:
            lane.leave(failure)
            self._lost(lane, failure)
        except BaseException as error:
            lane.leave(error)
            raise
        else:
            lane.leave()

    def _lost(self, lane: Lane, failure: TransportUnavailable) -> None:
        if isinstance(failure, PipeliningBroken):
            self._distrust(failure)
        elif not (isinstance(failure, SessionEnded) and lane.proven):
            self._fail(failure)
            return
        self._source.give_back(lane.open)

    def _known(self) -> Iterator[Outcome]:
        drawn = self._source.drawn
        while drawn and drawn[0] in self._settled:
            yield self._settled.pop(drawn.popleft())
