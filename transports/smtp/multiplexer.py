"""Several sessions in one thread: while one waits for a reply, the next message is rendered and written to another.

A thread for each session would hand Python's global lock over at each read and write, which takes longer than the rest
of a message. Here each dialogue yields while it waits for a reply, and the sessions take turns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import Protocol

from transports.base import About, Message, Outcome, TransportUnavailable, sent_outcome
from transports.smtp.dialogue import ShortWay, Steps
from transports.smtp.errors import PipeliningBroken, SessionEnded
from transports.smtp.paced_messages import PacedMessages
from transports.smtp.pool import SessionPool
from transports.smtp.session import Session

SELDOM = 16  # messages of a session, after which another session is looked for once more
DrawMessage = Callable[[], Message | None]


class StartDialogue(Protocol):
    """Starts the mail dialogue on a session."""

    def __call__(self, session: Session, draw: DrawMessage) -> Steps:
        """The steps of a dialogue that sends what `draw` gives, until that is None."""


@dataclass(slots=True)
class ActiveSession:
    """A session in use and its dialogue.

    `pending`: the messages it drew that have no outcome yet. `short_way`: how its dialogue can go on without `steps`.
    """

    lease: AbstractContextManager[Session]  # leaving it gives the session back to the pool
    session: Session
    messages: PacedMessages
    steps: Steps = field(default_factory=lambda: iter(()))
    short_way: ShortWay | None = None
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

    def leave_short_way(self, steps: Steps) -> None:
        """Go on with the full dialogue."""
        self.short_way, self.steps = None, steps

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
                if self._sessions[0].short_way is not None:
                    yield from self._send_usual()
                yield from self._advance(self._sessions.popleft())
                self._add_session()
            if self._failure is not None:
                yield from [self._outcomes[each] for each in self._messages.drawn if each in self._outcomes]
                raise self._failure
        except BaseException as error:
            for active in self._sessions:
                active.release(error)
            raise

    def _send_usual(self) -> Iterator[Outcome]:
        """Let the sessions take turns on the short way, until the full dialogue of the first has to go on.

        What `_advance` does step by step for whatever may come is done here at once for what nearly always comes.
        """
        sessions, known, drawn = self._sessions, self._outcomes, self._messages.drawn
        while (short_way := sessions[0].short_way) is not None:
            active = sessions[0]
            reply = short_way.reply()
            if not isinstance(reply, str):
                active.leave_short_way(reply)
                return
            sent = active.pending.popleft().id
            known[sent] = sent_outcome(sent, reply)
            while drawn and drawn[0] in known:
                yield known.pop(drawn.popleft())
            steps = short_way.write()
            if steps is not None:
                active.leave_short_way(steps)
                return
            sessions.rotate(-1)
            if not active.session.transaction_count % SELDOM:
                self._add_session()

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
                if not isinstance(outcome, Outcome):
                    active.short_way = outcome
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
