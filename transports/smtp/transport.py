"""`smtp://[user[:password]@]host[:port]` and `smtps://…`: mail to one server over a few connections that are kept.

docs/reference/transports.md has the options. A `send` uses every connection that no other `send` needs. The dialogue
is pipelined where the server offers PIPELINING, uses BDAT if `bdat=yes` and it offers CHUNKING too, and is in lockstep
otherwise.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Self

from transports import rate_options
from transports.base import Message, Outcome, Transport, TransportConfigError
from transports.options import shown_options, split_url
from transports.rate import Rate, Rated
from transports.smtp.dialogue import ChunkedDialogue, Dialogue, DrawTransaction, LockstepDialogue, Steps
from transports.smtp.errors import PipeliningBroken
from transports.smtp.multiplexer import DrawMessage, SessionMultiplexer
from transports.smtp.paced_messages import PacedMessages
from transports.smtp.pipeline import PipelinedDialogue
from transports.smtp.pool import SessionPool
from transports.smtp.session import Session, open_session
from transports.smtp.settings import OPTIONS, SMTPSettings
from transports.smtp.transactions import Transaction, TransactionBuilder

log = logging.getLogger(__name__)
HOST = re.compile(r"(?:[^\s:/?#@\[\]]+|\[[0-9A-Fa-f:.%]+\])(?::\d+)?/?")
SHOWN = tuple(name for name in OPTIONS if name not in (*rate_options.SECRET, "token_command"))


class SMTPTransport(Transport, Rated):
    """Sends over SMTP. Safe to use after a fork: the child opens connections of its own."""

    def __init__(self, settings: SMTPSettings) -> None:
        self._settings = settings
        self._pipelining = settings.pipelining
        self._pool = SessionPool(
            partial(open_session, settings), settings.connections, settings.max_messages, settings.idle
        )

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Build from a URL. Opens nothing; raises `TransportConfigError` for whatever contradicts itself."""
        return cls(SMTPSettings.from_url(url))

    @classmethod
    def shown(cls, url: str) -> str:
        """Without user name, password, the command that gives a token and the storage of the rate."""
        try:
            parts = split_url(url)
        except TransportConfigError:
            return super().shown(url)
        user, at, host = parts.rest.removeprefix("//").rpartition("@")
        if "@" in parts.query or not HOST.fullmatch(host):  # a password in which not all is percent-encoded
            return super().shown(url)
        return f"{parts.scheme}://{'***' if user else ''}{at}{host}{shown_options(parts.query, SHOWN)}"

    def __repr__(self) -> str:
        return f"SMTPTransport({self._settings.host}:{self._settings.port})"

    def send(self, messages: Iterable[Message]) -> Iterator[Outcome]:
        """See `Transport.send`. On each connection at most two messages are drawn ahead and at most one is in doubt."""
        paced = PacedMessages(messages, self._settings.rate)
        while paced.wait():
            yield from SessionMultiplexer(self._pool, paced, self._start_dialogue, self._on_broken_pipelining).run()

    def check(self) -> None:
        """Make sure that a session can be had and answers. When all are in use, that is taken as proof enough.

        Raises `TransportUnavailable`, also when the day's quota is used up.
        """
        for rate in self.rates():
            rate.check()
        self._pool.check()

    def rates(self) -> Sequence[Rate]:
        """See `Rated.rates`."""
        return [self._settings.rate] if self._settings.rate else []

    def close(self) -> None:
        """End every session that is not in use with QUIT; those in use end when they are given back."""
        self._pool.close()

    def _start_dialogue(self, session: Session, draw: DrawMessage) -> Steps:
        return self._dialogue(session).run(self._draw_transactions(draw, session))

    def _on_broken_pipelining(self, failure: PipeliningBroken) -> None:
        """From now on send one command at a time to this server."""
        if self._pipelining:
            self._pipelining = False
            log.warning("%s: PIPELINING is broken there; going on without it, as pipelining=no would", failure)

    def _dialogue(self, session: Session) -> Dialogue:
        timeouts = self._settings.timeouts
        if self._chunked(session):
            return ChunkedDialogue(session.connection, timeouts)
        if self._pipelined(session):
            return PipelinedDialogue(session.connection, timeouts)
        return LockstepDialogue(session.connection, timeouts)

    def _chunked(self, session: Session) -> bool:
        return self._settings.bdat and session.extensions.chunking and self._pipelined(session)

    def _pipelined(self, session: Session) -> bool:
        return self._pipelining and session.extensions.pipelining

    def _draw_transactions(self, draw: DrawMessage, session: Session) -> DrawTransaction:
        builder = TransactionBuilder(session.extensions, chunked=self._chunked(session), notify=self._settings.notify)
        limit = self._settings.max_messages

        def draw_transaction() -> Transaction | Outcome | None:
            message = draw() if session.transaction_count < limit else None
            if message is None:
                return None
            session.transaction_count += 1
            return builder.build(message)

        return draw_transaction
