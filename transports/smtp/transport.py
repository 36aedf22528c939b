"""`smtp://[user[:password]@]host[:port]` and `smtps://…`: mail to one server over a few kept connections.

docs/reference/transports.md has the options. A `send` uses all connections that nobody else needs. The dialogue is
pipelined where the server offers PIPELINING, with BDAT if `bdat=yes` and it offers CHUNKING, and in lockstep otherwise.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Self

from transports.base import Message, Outcome, Transport, TransportConfigError
from transports.options import shown_options, split_url
from transports.smtp.dialogue import ChunkedDialogue, Dialogue, Draw, LockstepDialogue
from transports.smtp.errors import PipeliningBroken
from transports.smtp.framing import Framer, Parcel
from transports.smtp.lanes import Lanes, Source, Take
from transports.smtp.pipeline import PipelinedDialogue
from transports.smtp.pool import SessionPool
from transports.smtp.session import Session, open_session
from transports.smtp.settings import OPTIONS, SMTPSettings

log = logging.getLogger(__name__)
HOST = re.compile(r"(?:[^\s:/?#@\[\]]+|\[[0-9A-Fa-f:.%]+\])(?::\d+)?/?")
SHOWN = tuple(name for name in OPTIONS if name not in ("rate_storage", "token_command"))


class SMTPTransport(Transport):
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
        source = Source(messages, self._settings.rate)
        while source.wait():
            yield from Lanes(self._pool, source, self._begin, self._distrust).run()

    def check(self) -> None:
        """Make sure that a connection can be had, or that all of them are in use. Raises `TransportUnavailable`."""
        self._pool.check()

    def close(self) -> None:
        """Say goodbye on every connection."""
        self._pool.close()

    def _begin(self, session: Session, take: Take) -> Iterator[Outcome | None]:
        return self._dialogue(session).run(self._draw(take, session))

    def _distrust(self, failure: PipeliningBroken) -> None:
        """From now on use one command at a time with this server."""
        if self._pipelining:
            self._pipelining = False
            log.warning("%s: PIPELINING is broken there; going on without it, as pipelining=no would", failure)

    def _dialogue(self, session: Session) -> Dialogue:
        patience = self._settings.patience
        if self._chunked(session):
            return ChunkedDialogue(session.wire, patience)
        if self._pipelined(session):
            return PipelinedDialogue(session.wire, patience)
        return LockstepDialogue(session.wire, patience)

    def _chunked(self, session: Session) -> bool:
        return self._settings.bdat and session.extensions.chunking and self._pipelined(session)

    def _pipelined(self, session: Session) -> bool:
        return self._pipelining and session.extensions.pipelining

    def _draw(self, take: Take, session: Session) -> Draw:
        framer = Framer(session.extensions, chunked=self._chunked(session), notify=self._settings.notify)
        limit = self._settings.max_messages

        def draw() -> Parcel | Outcome | None:
            message = take() if session.carried < limit else None
            if message is None:
                return None
            session.carried += 1
            return framer.frame(message)

        return draw
