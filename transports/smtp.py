"""`smtp://[user[:password]@]host[:port]` and `smtps://…`: mail to one server over a few kept connections.

README.md has the options. Each `send` uses one connection at a time. The dialogue is pipelined where the
server offers PIPELINING, with BDAT if `bdat=yes` and it offers CHUNKING, and in lockstep otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Self

from transports.base import Message, Outcome, Transport
from transports.rate import Rate
from transports.smtp_dialogue import ChunkedDialogue, Dialogue, Draw, LockstepDialogue
from transports.smtp_framing import Framer, Parcel
from transports.smtp_pipeline import PipelinedDialogue
from transports.smtp_pool import SessionPool
from transports.smtp_session import Session, open_session
from transports.smtp_settings import SMTPSettings


class SMTPTransport(Transport):
    """Sends over SMTP. Safe to use after a fork: the child opens connections of its own."""

    def __init__(self, settings: SMTPSettings) -> None:
        self._settings = settings
        self._pool = SessionPool(
            partial(open_session, settings), settings.connections, settings.max_messages, settings.idle
        )

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Build from a URL. Opens nothing; raises `TransportConfigError` for whatever contradicts itself."""
        return cls(SMTPSettings.from_url(url))

    def __repr__(self) -> str:
        return f"SMTPTransport({self._settings.host}:{self._settings.port})"

    def send(self, messages: Iterable[Message]) -> Iterator[Outcome]:
        """See `Transport.send`. At most two messages are drawn ahead of the outcomes, at most one is in doubt."""
        source = Source(messages, self._settings.rate)
        while source.wait():
            with self._pool.session() as session:
                yield from self._dialogue(session).run(self._draw(source, session))

    def check(self) -> None:
        """Make sure that a connection can be had, or that all of them are in use. Raises `TransportUnavailable`."""
        self._pool.check()

    def close(self) -> None:
        """Say goodbye on every connection."""
        self._pool.close()

    def _dialogue(self, session: Session) -> Dialogue:
        patience = self._settings.patience
        if self._chunked(session):
            return ChunkedDialogue(session.wire, patience)
        if session.extensions.pipelining:
            return PipelinedDialogue(session.wire, patience)
        return LockstepDialogue(session.wire, patience)

    def _chunked(self, session: Session) -> bool:
        return self._settings.bdat and session.extensions.chunking and session.extensions.pipelining

    def _draw(self, source: Source, session: Session) -> Draw:
        framer = Framer(session.extensions, chunked=self._chunked(session), notify=self._settings.notify)
        limit = self._settings.max_messages

        def draw() -> Parcel | Outcome | None:
            message = source.next() if session.carried < limit else None
            if message is None:
                return None
            session.carried += 1
            return framer.frame(message)

        return draw


class Source:
    """The caller's messages, let through at the set rate."""

    def __init__(self, messages: Iterable[Message], rate: Rate | None) -> None:
        self._messages = iter(messages)
        self._rate = rate
        self._held: Message | None = None
        self._free = False  # whether the message held may go

    def wait(self) -> bool:
        """Draw the next message unless one is held, and wait until it may go. False at the end."""
        if self._held is None:
            self._held = next(self._messages, None)
            self._free = False
        if self._held is None:
            return False
        if self._rate is not None and not self._free:
            self._rate.wait()
        self._free = True
        return True

    def next(self) -> Message | None:
        """The message that was waited for, or the next one if it may go at once; None if not, or at the end."""
        if self._held is None and (message := next(self._messages, None)) is not None:
            if self._rate is None or self._rate.take():
                return message
            self._held, self._free = message, False
        if self._held is None or not self._free:
            return None
        message, self._held = self._held, None
        return message
