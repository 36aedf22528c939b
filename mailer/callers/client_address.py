"""Whose request it is, when proxies stand in front: nobody's word counts but that of the proxies that were named."""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

UNIX = "unix"  # whoever speaks through a unix socket
_PORT = re.compile(r"\[(?P<six>[0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|(?P<four>[0-9.]+):[0-9]{1,5}")

Address = IPv4Address | IPv6Address


class TrustedProxies:
    """The proxies of `MAILER_TRUSTED_PROXIES`: addresses, networks, and `unix` for a unix socket's other end."""

    def __init__(self, names: Collection[str]) -> None:
        self._unix = UNIX in names
        self._networks = tuple(ip_network(name) for name in names if name != UNIX)

    def client(self, peer: str, forwarded_for: str) -> str:
        """The address to hold a request against: the rightmost of X-Forwarded-For that is no trusted proxy's.

        It is `peer` itself where that is none of them, and the last trusted one before an entry that is no address.
        Pure.
        """
        address = _read(peer)
        if not (self._unix if address is None else self._trusts(address)):
            return peer
        shown = peer
        for entry in reversed(forwarded_for.split(",")):
            address = _read(entry)
            if address is None:
                break
            shown = str(address)
            if not self._trusts(address):
                break
        return shown

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _read(text: str) -> Address | None:
    """An address, with or without a port; an IPv4 address in IPv6 clothes is an IPv4 address."""
    bare = text.strip()
    found = _PORT.fullmatch(bare)
    try:
        address = ip_address(found["six"] or found["four"] if found else bare)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
