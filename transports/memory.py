"""`memory:` keeps what it is given: the test double of this family, and the sink that measures everything else.

    transport = MemoryTransport()
    store = transport.store
    store.answer("bob@example.org", Status.DEFERRED, Status.SENT, about=About.MAILBOX)   # his next two messages
    store.fail_after(3)                                                 # then TransportUnavailable until recover()

`memory:name` shares one store between all transports of that name in the process; `?keep=0` only counts.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Self
from urllib.parse import unquote

from transports.base import About, Message, Outcome, Status, Transport, TransportUnavailable
from transports.options import Options, split_url

ARRIVES = (Status.SENT, Status.UNCERTAIN)  # the worst case of an uncertain outcome is that a copy arrived


class Answer(NamedTuple):
    """What to say to a message; without an `about`, an uncertain one is about the transport, any other the message."""

    status: Status
    about: About | None = None
    reply: str = ""

    def outcome(self, message: Message) -> Outcome:
        """The same for `message`."""
        about = self.about or (About.TRANSPORT if self.status is Status.UNCERTAIN else About.MESSAGE)
        return Outcome(message.id, self.status, self.reply or f"memory: {self.status}", about)


TAKEN = Answer(Status.SENT)


class Gate:
    """Holds every `send` that comes to it until it is opened."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._opened = threading.Event()

    def wait_reached(self, timeout: float = 10.0) -> bool:
        """Wait at most `timeout` seconds until a `send` stands at the gate; whether one does."""
        return self._reached.wait(timeout)

    def open(self) -> None:
        """Let everyone pass, now and later."""
        self._opened.set()

    def pass_through(self, timeout: float = 60.0) -> None:
        """Wait until it is opened; raise `TransportUnavailable` after `timeout` seconds."""
        self._reached.set()
        if not self._opened.wait(timeout):
            raise TransportUnavailable(f"the gate was not opened within {timeout:g} s")


class MemoryStore:
    """What arrived and what is to be answered. Safe to use from several threads."""

    def __init__(self, keep: int | None = None) -> None:
        self._lock = threading.Lock()
        self._messages: deque[Message] = deque(maxlen=keep)
        self._arrived = 0
        self._answers: dict[str | None, deque[Answer]] = {}
        self._left: int | None = None
        self._reason = ""
        self._about = About.TRANSPORT
        self._gate: Gate | None = None

    @property
    def messages(self) -> tuple[Message, ...]:
        """The messages that arrived and are kept, oldest first."""
        with self._lock:
            return tuple(self._messages)

    @property
    def arrived(self) -> int:
        """How many messages arrived, kept or not."""
        return self._arrived

    def answer(self, recipient: str | None, *statuses: Status, about: About | None = None, reply: str = "") -> None:
        """Answer the next messages to `recipient` (None: to anyone) with `statuses`, in turn; then SENT again.

        `about` is whom those that are not sent are about, `reply` the words.
        """
        with self._lock:
            self._answers.setdefault(recipient, deque()).extend(Answer(status, about, reply) for status in statuses)

    def forget_answers(self, recipient: str | None = None) -> None:
        """Take back what is told and not answered yet, for `recipient` or, with None, for everyone."""
        with self._lock:
            if recipient is None:
                self._answers.clear()
            else:
                self._answers.pop(recipient, None)

    def fail_after(self, count: int, reason: str = "told to fail", about: About = About.TRANSPORT) -> None:
        """Take `count` more messages, then raise `TransportUnavailable` until `recover`."""
        with self._lock:
            self._left, self._reason, self._about = count, reason, about

    def recover(self) -> None:
        """Take messages again."""
        with self._lock:
            self._left = None

    def hold(self) -> Gate:
        """Make every `send` wait before its next message, until the gate that is returned is opened."""
        self._gate = Gate()
        return self._gate

    def clear(self) -> None:
        """Forget everything, told answers included."""
        with self._lock:
            self._messages.clear()
            self._answers.clear()
            self._arrived, self._left, self._gate = 0, None, None

    def ensure_available(self) -> None:
        """Raise `TransportUnavailable` if the next message would not be taken."""
        with self._lock:
            self._ensure_available()

    def take(self, message: Message) -> Outcome:
        """Do with `message` as told. Raises `TransportUnavailable`, and then it was not taken."""
        if self._gate:
            self._gate.pass_through()
        with self._lock:
            self._ensure_available()
            if self._left is not None:
                self._left -= 1
            answer = self._next_answer(message.recipient)
            if answer.status in ARRIVES:
                self._messages.append(message)
                self._arrived += 1
        return answer.outcome(message)

    def _ensure_available(self) -> None:
        if self._left is not None and self._left <= 0:
            error = TransportUnavailable(f"memory: {self._reason}")
            error.about = self._about
            raise error

    def _next_answer(self, recipient: str) -> Answer:
        for key in (recipient, None):
            if answers := self._answers.get(key):
                return answers.popleft()
        return TAKEN


class MemoryTransport(Transport):
    """Takes every message into `store`, where it can be told to do otherwise."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore()

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Build from `memory:` or `memory:name`, with the option `keep` (how many of the last messages)."""
        parts = split_url(url)
        options = Options(parts.scheme, parts.query, ("keep",))
        keep = options.integer("keep", -1, 0, 10**9)
        return cls(named_store(unquote(parts.rest), keep if keep >= 0 else None))

    @classmethod
    def shown(cls, url: str) -> str:
        """All of it: there is nothing secret in it."""
        return url.strip()

    def send(self, messages: Iterable[Message]) -> Iterator[Outcome]:
        """Take one message after the other. Raises `TransportUnavailable` when told to."""
        for message in messages:
            yield self.store.take(message)

    def check(self) -> None:
        """Raise `TransportUnavailable` when told to fail and no more messages would be taken."""
        self.store.ensure_available()


_stores: dict[str, MemoryStore] = {}
_stores_lock = threading.Lock()


def named_store(name: str, keep: int | None = None) -> MemoryStore:
    """The store of that name in this process, made at first use; an empty name is always a new one."""
    if not name:
        return MemoryStore(keep)
    with _stores_lock:
        return _stores.setdefault(name, MemoryStore(keep))
