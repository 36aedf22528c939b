"""Rates of single recipients' domains, such as `gmail.com=20/second, outlook.com=10/second`. Pure."""

from __future__ import annotations

import re

import idna

from transports.base import TransportConfigError
from transports.rate_options import interval_of

_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", re.ASCII)


def parse(text: str) -> tuple[tuple[str, float], ...]:
    """Read rates, separated by commas: domains in their ASCII form, each with the milliseconds between two messages.

    Raises ValueError, in words for people.
    """
    rates: dict[str, float] = {}
    for entry in filter(None, map(str.strip, text.split(","))):
        name, equals, rate = (part.strip() for part in entry.partition("="))
        domain = _in_ascii(name)
        if not equals or not _DOMAIN.fullmatch(domain):
            raise ValueError(f"Not a domain and its rate such as gmail.com=20/second: {entry!r}.")
        if domain in rates:
            raise ValueError(f"{domain} is named twice.")
        try:
            rates[domain] = interval_of(rate)
        except TransportConfigError as error:
            raise ValueError(f"{error}, for {domain}.") from error
    return tuple(rates.items())


def _in_ascii(domain: str) -> str:
    """The domain as addresses in the directory have it, or nothing where it is none."""
    try:
        return idna.encode(domain, uts46=True).decode().lower() if not domain.isascii() else domain.lower()
    except idna.IDNAError:
        return ""
