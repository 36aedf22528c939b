"""Who is acting in this thread: a caller of the API, a person at the command line, or the service itself.

The guard of the API and the root of the command line say so at their beginning. The functions that change something
need not be told: `mailer.audit.log` asks here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum


class Via(StrEnum):
    """By which way somebody acts."""

    API = "api"
    CLI = "cli"
    PAGE = "page"  # a caller who has signed in
    LINK = "link"  # recipients, about themselves
    SYSTEM = "system"  # nobody: the service by itself


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who acts.

    `who` is the id of a caller, or the name of the system's user who gives a command. `origin` is from where: the
    client's address, or the name of the machine.
    """

    who: str
    via: Via
    origin: str


_CURRENT: ContextVar[Actor] = ContextVar("actor")


@contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """Whatever is done in the block is done by `actor`."""
    before = _CURRENT.set(actor)
    try:
        yield
    finally:
        _CURRENT.reset(before)


def current_actor() -> Actor:
    """Who is acting. Where nobody was named it is `system`, on this machine."""
    return _CURRENT.get(None) or Actor(Via.SYSTEM.value, Via.SYSTEM, this_machine())


def this_machine() -> str:
    """The name of this machine."""
    return os.uname().nodename
