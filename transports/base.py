"""The transport interface: the one file to read before writing a transport.

A transport carries finished messages. It knows no users, placeholders, campaigns or HTTP: what it gets is an
envelope and RFC 5322 bytes, and what it gives back is one `Outcome` per message.

An outcome says what became of a message and, unless it was sent, whom the answer is *about*: only what is about an
address may ever count against it. Trouble with the *transport* itself (cannot connect, login refused, disk full)
raises `TransportUnavailable`: nobody's attempts are used up, and the caller tries the same messages again later.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Self


class Status(StrEnum):
    """What became of one message. Closed: a transport must map every reply to one of these."""

    SENT = "sent"  # the other side took responsibility for it
    DEFERRED = "deferred"  # not taken now, certainly not delivered; try again later
    REFUSED = "refused"  # never again: another try would get the same answer
    UNCERTAIN = "uncertain"  # it may have been delivered: all of it was handed over, and no answer came


class About(StrEnum):
    """Whom the other side's answer is about, and so who bears it. Closed, like `Status`."""

    ADDRESS = "address"  # nobody can be written to there: the only answers that count toward suppression
    MAILBOX = "mailbox"  # it exists and cannot take mail now: full, over its quota
    MESSAGE = "message"  # its size, form or content; also what no code and no wording tells
    SENDER = "sender"  # the From address, its domain, or the account's right to use it
    RATE = "rate"  # too much, too fast: a limit or a quota of whoever sends
    TRANSPORT = "transport"  # the way there: connection, TLS, login, nonsense for an answer


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one recipient, ready to go.

    `id` is stable over attempts and safe in a file name (letters, digits, `-`, `_` and `.`). `sender` and
    `recipient` are bare addresses for the envelope (RFC 5321 section 2.3.1), domains in IDNA form; a non-ASCII
    local part needs SMTPUTF8. `content` is a whole RFC 5322 message with CRLF line ends and no line over 998 bytes.

    `vouched` only saves time: whoever made the message knows already what a transport would otherwise look for (see
    `vouched_message`). It cannot be given, and a copy with other content does not have it.
    """

    id: str
    sender: str
    recipient: str
    content: bytes
    vouched: bool = field(default=False, init=False, compare=False, repr=False)


def vouched_message(message_id: str, sender: str, recipient: str, content: bytes) -> Message:
    """A message whose maker vouches for its form, so that nobody needs to search it.

    All of it is ASCII. Both addresses can be written in SMTP as they stand. The content ends with CRLF, has no other
    line end, and no line of it begins with a dot.
    """
    message = _new(Message)  # as `Message(…)` would make it, which takes twice as long to write into a frozen instance
    _set_id(message, message_id)
    _set_sender(message, sender)
    _set_recipient(message, recipient)
    _set_content(message, content)
    _set_vouched(message, True)
    return message


_new = object.__new__
_set_id, _set_sender, _set_recipient, _set_content, _set_vouched = (
    getattr(Message, one.name).__set__ for one in fields(Message)
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the message `id`; `reply` is the other side's own words, for people to read.

    `about` says whom a refusal or deferral is about, and says nothing of a message that was sent. After one about the
    sender, the rate or the transport the caller draws no more: the messages drawn get their outcomes, with the same
    `about` where the answer was the same, and nobody's attempts are used up.
    """

    id: str
    status: Status
    reply: str = ""
    about: About = About.MESSAGE


def sent_outcome(message_id: str, reply: str) -> Outcome:
    """The outcome of a message that was sent: the most frequent one, made as quickly as `vouched_message` makes its."""
    outcome = _new(Outcome)
    _set_outcome_id(outcome, message_id)
    _set_status(outcome, Status.SENT)
    _set_reply(outcome, reply)
    _set_about(outcome, About.MESSAGE)
    return outcome


_set_outcome_id, _set_status, _set_reply, _set_about = (getattr(Outcome, one.name).__set__ for one in fields(Outcome))


class TransportError(Exception):
    """Base of what this package raises on purpose."""


class TransportConfigError(TransportError, ValueError):
    """The URL cannot be used: an unknown scheme or option, a missing folder, a contradiction; raised when built."""


class TransportUnavailable(TransportError):
    """The transport could not send now; the messages without an outcome were certainly not handed over.

    `about` is `transport`, or `rate` where a limit was reached. `retry_after` is the seconds after which it can be
    tried again, where that is known; it is tried after five minutes at the latest.
    """

    about: About = About.TRANSPORT
    retry_after: float | None = None


class Transport(ABC):
    """Carries messages. Safe to call from several threads, each with a `send` of its own."""

    @classmethod
    @abstractmethod
    def from_url(cls, url: str) -> Self:
        """Build from a URL whose scheme led here; raise `TransportConfigError` if it cannot work."""

    @classmethod
    def shown(cls, url: str) -> str:
        """`url` without what is secret in it: fit for a log, a page and a reason. Never raises.

        Unless a transport says better, which knows what is secret, its scheme is all that is shown.
        """
        return f"{url.strip().partition(':')[0]}:***"

    @abstractmethod
    def send(self, messages: Iterable[Message]) -> Iterator[Outcome]:
        """Hand over `messages` and yield one outcome each, in their order, as they become known.

        `messages` is drawn from lazily, at most a few for each connection ahead of the outcomes. A message drawn is a
        message that may have been handed over; one never drawn certainly was not. Raises `TransportUnavailable` when
        the transport itself fails: the outcomes yielded before stand, and every drawn message that may have been
        handed over gets its outcome (`uncertain`) before the error is raised.
        """

    @abstractmethod
    def check(self) -> None:
        """Raise `TransportUnavailable` when it could not send now. Sends nothing."""

    def close(self) -> None:  # noqa: B027 - a transport that holds nothing has nothing to give back
        """Give back connections and files. The transport may be used again afterwards."""
