"""Questions to the DNS, whoever answers them: the interface, which tests answer from a table, and what goes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple, Protocol

Address = IPv4Address | IPv6Address
PORT = 53


class DnsFailure(Exception):
    """The DNS gave no answer, not even that there is none. The text is one line that names the question."""


class MailExchanger(NamedTuple):
    """An MX record; of a null MX (RFC 7505) the host is empty."""

    preference: int
    host: str


class Lookups(Protocol):
    """Asks the DNS. Names have no dot at the end. An empty answer means that there is no such record, or no such name.

    Each raises `DnsFailure` where nobody knows.
    """

    def txt(self, name: str) -> Sequence[str]:
        """The TXT records, each with its strings joined."""

    def mx(self, name: str) -> Sequence[MailExchanger]:
        """The MX records, the most preferred first."""

    def addresses(self, name: str, version: int) -> Sequence[Address]:
        """The A records (`version` 4) or the AAAA records (6)."""

    def ptr(self, address: Address) -> Sequence[str]:
        """The names of an address."""


def any_addresses(lookups: Lookups, name: str) -> list[Address]:
    """The A and AAAA records of a name. Raises `DnsFailure`."""
    return [*lookups.addresses(name, 4), *lookups.addresses(name, 6)]


def parse_address(text: str) -> Address:
    """An IP address; an IPv4 address written as IPv6 becomes the former. Raises `ValueError`."""
    address = ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def parse_server(text: str) -> tuple[str, int]:
    """A resolver's address and port, from `192.0.2.53`, `192.0.2.53:5353` or `[2001:db8::53]:5353`. Raises ValueError.

    A name is no address: to look it up would need a resolver.
    """
    host, colon, port = text.rpartition(":") if text.count(":") == 1 or "]" in text else (text, "", "")
    if text.endswith("]"):
        host, colon, port = text, "", ""
    number = int(port) if colon else PORT
    if not 0 < number < 65536:
        raise ValueError("the port must be between 1 and 65535")
    return str(parse_address(host.removeprefix("[").removesuffix("]"))), number
