"""The errors for an SMTP session that cannot go on. They name host and port, and hold no address of a person."""

from __future__ import annotations

from typing import TypeVar

from transports.answers.replies import Reply, without_addresses
from transports.base import About, TransportUnavailable

E = TypeVar("E", bound=TransportUnavailable)


class OutOfSequence(TransportUnavailable):
    """A reply that cannot answer the command: the replies before it may have answered other commands too."""


class PipeliningBroken(TransportUnavailable):
    """The server offers PIPELINING, and did not answer commands that came in one write, or not in their order.

    Nothing of the message that they belong to was handed over.
    """


class SessionEnded(TransportUnavailable):
    """The server ended the session between two transactions. Nothing of the next message was handed over."""


def failure(kind: type[E], endpoint: str, reason: str, about: About = About.TRANSPORT) -> E:
    """An error of that kind. `endpoint` is `host:port`; e-mail addresses in `reason` are taken out."""
    error = kind(f"smtp: {endpoint}: {without_addresses(reason)}")
    error.about = about
    return error


def unavailable(endpoint: str, reason: str, about: About = About.TRANSPORT) -> TransportUnavailable:
    """The error for whatever has no class of its own; see `failure`."""
    return failure(TransportUnavailable, endpoint, reason, about)


def about_reply(reply: Reply) -> About:
    """Whom a reply is about that answers no command of a mail transaction."""
    return About.RATE if reply.code == 421 else About.TRANSPORT
