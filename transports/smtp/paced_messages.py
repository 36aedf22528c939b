"""The messages of one `send`: drawn one by one, no faster than the rate allows, and given back by a lost session."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from operator import length_hint

from transports.base import Message
from transports.rate import Rate


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
        if self._rate is None and self._next_message is None and not self._returned and not self._ended:
            message = next(self._messages, None)  # without a rate, nothing is to be waited for
            if message is not None:
                self.drawn.append(message.id)
            return message
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
