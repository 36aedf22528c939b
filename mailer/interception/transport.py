"""The last barrier before mail leaves: whatever the rest of the service does, nothing passes that may not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from operator import length_hint

from typing_extensions import override

from mailer.interception.redirected import redirected
from mailer.interception.rules import NOT_LISTED, REDIRECTED, Interception
from transports.around import TransportAround
from transports.base import Message, Outcome, Status, Transport


def intercepted(transport: Transport, interception: Interception) -> Transport:
    """Put the barrier around the transport, if there is something to hold back."""
    return InterceptingTransport(transport, interception) if interception else transport


class InterceptingTransport(TransportAround):
    """Redirects every message, or refuses those to addresses that are not listed. It carries nothing by itself."""

    def __init__(self, inner: Transport, interception: Interception) -> None:
        super().__init__(inner)
        self._interception = interception

    @override
    def send(self, messages: Iterable[Message]) -> Iterator[Outcome]:
        if self._interception.redirect_to:
            return self._redirect(messages)
        return self._hold_back(messages)

    def _redirect(self, messages: Iterable[Message]) -> Iterator[Outcome]:
        address = self._interception.redirect_to
        for outcome in self._inner.send(_Changed(messages, lambda message: redirected(message, address))):
            yield replace(outcome, reply=f"{REDIRECTED}{outcome.reply}")

    def _hold_back(self, messages: Iterable[Message]) -> Iterator[Outcome]:
        """The outcomes in the order of the messages: those that pass go on in runs, each up to one that may not."""
        source = _Stopping(messages, self._interception)
        while True:
            yield from self._inner.send(source)
            held = source.take_held()
            if held is None:
                return
            yield Outcome(held.id, Status.REFUSED, NOT_LISTED)


class _Changed(Iterator[Message]):
    """Each message as `change` makes it. It goes on after an error, as `messages` do."""

    def __init__(self, messages: Iterable[Message], change: Callable[[Message], Message]) -> None:
        self._messages = iter(messages)
        self._change = change

    @override
    def __next__(self) -> Message:
        return self._change(next(self._messages))

    def __length_hint__(self) -> int:
        return length_hint(self._messages, 1)


class _Stopping(Iterator[Message]):
    """The messages up to one that may not leave, which is held; once it is taken, those after it."""

    def __init__(self, messages: Iterable[Message], interception: Interception) -> None:
        self._messages = iter(messages)
        self._interception = interception
        self._held: Message | None = None

    @override
    def __next__(self) -> Message:
        if self._held is not None:
            raise StopIteration
        message = next(self._messages)
        if self._interception.reaches(message.recipient):
            return message
        self._held = message
        raise StopIteration

    def take_held(self) -> Message | None:
        """The message that stopped the run, if one did."""
        held, self._held = self._held, None
        return held

    def __length_hint__(self) -> int:
        return 0 if self._held is not None else length_hint(self._messages, 1)
