"""`memory:` keeps messages in memory: the test double of this family, and the sink for benchmarks.

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

ARRIVES = (Status.SENT, Status.UNCERTAIN)  # an uncertain message is kept too: in the worst case it did arrive


class ScriptedOutcome(NamedTuple):
    """The outcome to give to one message.

    Without `about`, an uncertain outcome is about the transport and any other about the message.
    """

    status: Status
    about: About | None = None
    reply: str = ""

    def outcome(self, message: Message) -> Outcome:
        """This as the outcome of `message`."""
        about = self.about or (About.TRANSPORT if self.status is Status.UNCERTAIN else About.MESSAGE)
        return Outcome(message.id, self.status, self.reply or f"memory: {self.status}", about)


TAKEN = ScriptedOutcome(Status.SENT)


class Gate:
    """Stops every `send` before its next message until the gate is opened."""

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
    """The messages that arrived, and the outcomes to give. Safe to use from several threads."""

    def __init__(self, keep: int | None = None) -> None:
        self._lock = threading.Lock()
        self._messages: deque[Message] = deque(maxlen=keep)
        self._arrived = 0
        self._script: dict[str | None, deque[ScriptedOutcome]] = {}
        self._takes: int | None = None  # more messages before it fails; None: it does not fail
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
        """Give the next messages to `recipient` (None: to anyone) these `statuses`, in turn; after them SENT again.

        `about` is whom the outcomes that are not SENT are about, `reply` their text.
        """
        with self._lock:
            self._script.setdefault(recipient, deque()).extend(
                ScriptedOutcome(status, about, reply) for status in statuses
            )

    def forget_answers(self, recipient: str | None = None) -> None:
        """Take back what is told and not answered yet, for `recipient` or, with None, for everyone."""
        with self._lock:
            if recipient is None:
                self._script.clear()
            else:
                self._script.pop(recipient, None)

    def fail_after(self, count: int, reason: str = "told to fail", about: About = About.TRANSPORT) -> None:
        """Take `count` more messages, then raise `TransportUnavailable` until `recover`."""
        with self._lock:
            self._takes, self._reason, self._about = count, reason, about

    def recover(self) -> None:
        """Take messages again."""
        with self._lock:
            self._takes = None

    def hold(self) -> Gate:
        """Make every `send` wait before its next message, until the gate that is returned is opened."""
        self._gate = Gate()
        return self._gate

    def clear(self) -> None:
        """Forget all messages, scripted outcomes and failures."""
        with self._lock:
            self._messages.clear()
            self._script.clear()
            self._arrived, self._takes, self._gate = 0, None, None

    def ensure_available(self) -> None:
        """Raise `TransportUnavailable` if the next message would not be accepted."""
        with self._lock:
            self._ensure_available()

    def take(self, message: Message) -> Outcome:
        """Give `message` its outcome, and keep it if it arrived. Raises `TransportUnavailable`: it was not taken."""
        if self._gate:
            self._gate.pass_through()
        with self._lock:
            self._ensure_available()
            if self._takes is not None:
                self._takes -= 1
            scripted = self._next_outcome(message.recipient)
            if scripted.status in ARRIVES:
                self._messages.append(message)
                self._arrived += 1
        return scripted.outcome(message)

    def _ensure_available(self) -> None:
        if self._takes is not None and self._takes <= 0:
            error = TransportUnavailable(f"memory: {self._reason}")
            error.about = self._about
            raise error

    def _next_outcome(self, recipient: str) -> ScriptedOutcome:
        for key in (recipient, None):
            if scripted := self._script.get(key):
                return scripted.popleft()
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
        """The whole URL: there is nothing secret in it."""
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
