"""Why an SMTP connection cannot go on: the errors to raise, which name the place and are fit for a log."""

from __future__ import annotations

from typing import TypeVar

from transports.base import About, TransportUnavailable
from transports.smtp.replies import Reply, without_addresses

E = TypeVar("E", bound=TransportUnavailable)


class OutOfStep(TransportUnavailable):
    """A reply that cannot be one to what was asked: the replies before it may have been to something else as well."""


class PipeliningBroken(TransportUnavailable):
    """PIPELINING was offered, and commands that rode behind another were not answered, or not in their order.

    Nothing of the message that they were to open was handed over.
    """


class SessionEnded(TransportUnavailable):
    """The server ended the session between two messages. Nothing of the next one was handed over."""


def failure(kind: type[E], place: str, reason: str, about: About = About.TRANSPORT) -> E:
    """An error of that kind. `place` is `host:port`; addresses in `reason` are taken out."""
    error = kind(f"smtp: {place}: {without_addresses(reason)}")
    error.about = about
    return error


def unavailable(place: str, reason: str, about: About = About.TRANSPORT) -> TransportUnavailable:
    """The error for whatever has no class of its own."""
    return failure(TransportUnavailable, place, reason, about)


def about_reply(reply: Reply) -> About:
    """Whom a reply is about that was given to no command of a message's own."""
    return About.RATE if reply.code == 421 else About.TRANSPORT
