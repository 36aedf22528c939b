"""Carry finished messages: one interface, a family of transports, chosen by a URL.

`from_url("smtp://host")` builds one; `base` holds the interface; docs/writing-a-transport.md shows how to add another.
"""

from transports.base import (
    About,
    Message,
    Outcome,
    Status,
    Transport,
    TransportConfigError,
    TransportError,
    TransportUnavailable,
)
from transports.registry import from_url, known_schemes, shown_url

__all__ = [
    "About",
    "Message",
    "Outcome",
    "Status",
    "Transport",
    "TransportConfigError",
    "TransportError",
    "TransportUnavailable",
    "from_url",
    "known_schemes",
    "shown_url",
]
