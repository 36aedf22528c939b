"""A transport whose messages are kept in the mailbox too. It carries nothing by itself, and changes nothing.

A mailbox that fails costs nobody a message: it is logged, and the messages are sent as without it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from operator import length_hint

from typing_extensions import override

from mailer.mailbox.store import MailboxStore
from mailer.storage.database import Database
from mailer.storage.database_errors import DATABASE_ERRORS, own_words
from transports.around import TransportAround
from transports.base import Message, Outcome, Status, Transport

log = logging.getLogger(__name__)

AT_ONCE = 200  # messages in one transaction
ARRIVES = (Status.SENT, Status.UNCERTAIN)  # in the worst case an uncertain one did arrive


def kept_in_mailbox(db: Database, transport: Transport, keep: int) -> Transport:
    """Put the mailbox around the transport, if it keeps anything."""
    return KeptTransport(transport, MailboxStore(db, keep)) if keep else transport


class _Noted(Iterator[Message]):
    """Notes each message that is drawn, in `drawn`. It goes on after an error, as `messages` do."""

    def __init__(self, messages: Iterable[Message], drawn: dict[str, Message]) -> None:
        self._messages = iter(messages)
        self._drawn = drawn

    @override
    def __next__(self) -> Message:
        message = next(self._messages)
        self._drawn[message.id] = message
        return message

    def __length_hint__(self) -> int:
        return length_hint(self._messages, 1)


class KeptTransport(TransportAround):
    """Keeps what `inner` has sent: once for each `send`, which ends with a checkpoint, or for `AT_ONCE` messages."""

    def __init__(self, inner: Transport, store: MailboxStore) -> None:
        super().__init__(inner)
        self._store = store

    @override
    def send(self, messages: Iterable[Message]) -> Iterator[Outcome]:
        drawn: dict[str, Message] = {}
        arrived: list[Message] = []
        outcomes = self._inner.send(_Noted(messages, drawn))
        try:
            for outcome in outcomes:
                message = drawn.pop(outcome.id, None)
                if message is not None and outcome.status in ARRIVES:
                    arrived.append(message)
                yield outcome
                if len(arrived) >= AT_ONCE:
                    self._keep(arrived)
                    arrived.clear()
        finally:
            getattr(outcomes, "close", lambda: None)()
            self._keep(arrived)

    def _keep(self, arrived: Sequence[Message]) -> None:
        try:
            if arrived:
                self._store.add(arrived)
        except DATABASE_ERRORS as error:
            log.warning("%d messages are not in the mailbox: %s", len(arrived), own_words(error))
