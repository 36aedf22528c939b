"""How many messages the mailbox keeps, and of which transports. Pure.

It is for development and staging, where messages stay on this machine anyway. Mail that goes out to people is kept
nowhere.
"""

from __future__ import annotations

from transports.base import TransportConfigError
from transports.options import split_group, split_url

USUAL = 10_000  # messages
MOST = 100_000
STAY_HERE = ("console", "file", "memory")  # the transports whose messages go to nobody


def parse(text: str) -> int | None:
    """Read `auto` (None), `true`, `false` or a number of messages. Raises ValueError."""
    named = {"auto": None, "true": USUAL, "false": 0}
    if text.lower() in named:
        return named[text.lower()]
    if not (text.isascii() and text.isdigit() and int(text) <= MOST):
        raise ValueError(f"Neither auto nor true nor false nor a number of messages up to {MOST}.")
    return int(text)


def stays_here(transport_url: str) -> bool:
    """Whether no message of this transport leaves for anybody, nor of any transport within `failover:(…)`."""
    try:
        parts = split_url(transport_url)
        if parts.scheme in STAY_HERE:
            return True
        members = split_group(parts.scheme, parts.rest) if parts.rest.startswith("(") else ()
    except (TransportConfigError, ValueError):
        return False
    return bool(members) and all(map(stays_here, members))


def kept(setting: int | None, transport_url: str) -> int:
    """How many messages are kept under these settings; 0: there is no mailbox."""
    if not stays_here(transport_url):
        return 0
    return USUAL if setting is None else setting
