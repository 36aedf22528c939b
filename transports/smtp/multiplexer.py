"""Several sessions in one thread: while one waits for a reply, the next message is rendered and written to another.

A thread for each session would hand Python's global lock over at each read and write, which takes longer than the rest
of a message. Here each dialogue yields while it waits for a reply, and the sessions take turns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from operator import length_hint
from typing import Protocol

from transports.base import About, Message, Outcome, TransportUnavailable
from transports.rate import Rate
from transports.smtp.errors import PipeliningBroken, SessionEnded
from transports.smtp.pool import SessionPool
from transports.smtp.session import Session

DialogueSteps = Iterator[Outcome | None]  # an outcome, or None while a reply is awaited
DrawMessage = Callable[[], Message | None]


class StartDialogue(Protocol):
    """Starts the mail dialogue on a session."""

    def __call__(self, session: Session, draw: DrawMessage) -> DialogueSteps:
        """The steps of a dialogue that sends what `draw` gives, until that is None."""


class PacedMessages:
    """The caller's messages, given out no faster than the rate allows, also by several sessions in turn.

    A message is drawn only when it may go, so that the caller may change its mind until then. While that is awaited,
    the caller is asked by `operator.length_hint` whether there is still a message to wait for.
    `drawn`: the ids of the messages that were drawn from the caller and have no outcome yet, in their order.
    """

    def __init__(self, messages: Iterable[Message], rate: Rate | None) -> None:
        self._messages = iter(messages)
        self._rate = rate
        self._next_message: Message | None = None  # drawn from the caller since it may go, and not given out yet
        self._returned: deque[Message] = deque()  # given out, counted, and not handed over after all
        self._ended = False
        self.drawn: deque[str] = deque()

    def wait(self) -> bool:
        """Wait until a message may go, as long as the rate asks for. False when there are no more."""
        if self.has_returned or self._has_drawn:
            return True
        if not self._wanted() or (self._rate is not None and not self._rate.wait(self._wanted)):
            return False
        return self._draw()

    def ready(self) -> bool:
        """Whether there is a message that may go at once."""
        if self.has_returned or self._has_drawn:
            return True
        return self._wanted() and (self._rate is None or self._rate.take()) and self._draw()

    def next(self) -> Message | None:
        """That message, or None if there is none."""
        if not self.ready():
            return None
        if self._returned:
            return self._returned.popleft()
        message, self._next_message = self._next_message, None
        return message

    @property
    def has_returned(self) -> bool:
        """Whether messages were given back that may still go."""
        return bool(self._returned) and not self._ended

    def give_back(self, messages: Iterable[Message]) -> None:
        """Take back messages that were certainly not handed over. They go next; the order of the outcomes stays."""
        self._returned.extend(messages)

    def end(self) -> None:
        """Give out no more messages."""
        self._ended = True

    @property
    def _has_drawn(self) -> bool:
        return self._next_message is not None and not self._ended

    def _wanted(self) -> bool:
        """Whether the caller may have another message."""
        return not self._ended and length_hint(self._messages, 1) > 0

    def _draw(self) -> bool:
        """Draw the next message from the caller, for which the rate has counted one. False when there are no more."""
        self._next_message = next(self._messages, None)
        if self._next_message is not None:
            self.drawn.append(self._next_message.id)
        elif self._rate is not None:
            self._rate.give_back()
        return self._next_message is not None


@dataclass(slots=True)
class ActiveSession:
    """A session in use and its dialogue. `pending`: the messages it drew that have no outcome yet."""

    lease: AbstractContextManager[Session]  # leaving it gives the session back to the pool
    session: Session
    messages: PacedMessages
    steps: DialogueSteps = field(default_factory=lambda: iter(()))
    pending: deque[Message] = field(default_factory=deque)

    def draw(self) -> Message | None:
        """Draw the next message for this session."""
        message = self.messages.next()
        if message is not None:
            self.pending.append(message)
        return message

    @property
    def has_sent(self) -> bool:
        """Whether a message before the pending ones has had its outcome on this session."""
        return self.session.transaction_count > len(self.pending)

    def release(self, error: BaseException | None = None) -> None:
        """Give the session back to the pool; after an `error` it is dropped."""
        self.lease.__exit__(type(error) if error else None, error, None)


class SessionMultiplexer:
    """The sessions of one `send`, which take turns in one thread.

    A session that the server ends between two messages is followed by a new one. The transport is unavailable only when
    the server ends a session at its first message, or when no session can be opened.
    `on_broken_pipelining` is told of a server whose PIPELINING is broken; the messages without an outcome are then sent
    on a new session, with the dialogue that `start_dialogue` chooses for it.
    """

    def __init__(
        self,
        pool: SessionPool,
        messages: PacedMessages,
        start_dialogue: StartDialogue,
        on_broken_pipelining: Callable[[PipeliningBroken], None],
    ) -> None:
        self._pool = pool
        self._messages = messages
        self._start_dialogue = start_dialogue
        self._on_broken_pipelining = on_broken_pipelining
        self._sessions: deque[ActiveSession] = deque()
        self._outcomes: dict[str, Outcome] = {}  # known, and waiting for those of earlier messages
        self._failure: TransportUnavailable | None = None

    def run(self) -> Iterator[Outcome]:
        """Outcomes in the order of the messages, as they become known.

        Raises `TransportUnavailable` when a session fails, after the other sessions have come to an end.
        """
        try:
            self._open(self._pool.session())
            while self._sessions or self._reopen():
                yield from self._advance(self._sessions.popleft())
                self._add_session()
            if self._failure is not None:
                yield from [self._outcomes[each] for each in self._messages.drawn if each in self._outcomes]
                raise self._failure
        except BaseException as error:
            for active in self._sessions:
                active.release(error)
            raise

    def _open(self, lease: AbstractContextManager[Session]) -> None:
        active = ActiveSession(lease, lease.__enter__(), self._messages)
        active.steps = self._start_dialogue(active.session, active.draw)
        self._sessions.append(active)

    def _reopen(self) -> bool:
        """Open a session for messages that were given back when the last session ended. False when there is none."""
        if not self._messages.has_returned:
            return False
        try:
            self._open(self._pool.session())
        except TransportUnavailable as failure:
            self._fail(failure)
        return bool(self._sessions)

    def _fail(self, failure: TransportUnavailable) -> None:
        """End the sending because of `failure`; of several the first is kept, or the first that is about the rate."""
        if self._failure is None or (failure.about is About.RATE and self._failure.about is not About.RATE):
            self._failure = failure
        self._messages.end()

    def _add_session(self) -> None:
        """Use one more session if the pool has one free and a message may go; the sending goes on without it too."""
        if not 0 < len(self._sessions) < self._pool.size or not self._messages.ready():
            return
        lease = self._pool.session_if_free()
        if lease is not None:
            with suppress(TransportUnavailable):
                self._open(lease)

    def _advance(self, active: ActiveSession) -> Iterator[Outcome]:
        """Go on with a dialogue until it waits for a reply, and yield the outcomes that are known by then."""
        try:
            for outcome in active.steps:
                if outcome is None:
                    self._sessions.append(active)
                    return
                active.pending.popleft()
                self._outcomes[outcome.id] = outcome
                yield from self._in_order()
        except TransportUnavailable as failure:
            active.release(failure)
            self._session_failed(active, failure)
        except BaseException as error:
            active.release(error)
            raise
        else:
            active.release()

    def _session_failed(self, active: ActiveSession, failure: TransportUnavailable) -> None:
        if isinstance(failure, PipeliningBroken):
            self._on_broken_pipelining(failure)
        elif not (isinstance(failure, SessionEnded) and active.has_sent):
            self._fail(failure)
            return
        self._messages.give_back(active.pending)

    def _in_order(self) -> Iterator[Outcome]:
        drawn = self._messages.drawn
        while drawn and drawn[0] in self._outcomes:
            yield self._outcomes.pop(drawn.popleft())
