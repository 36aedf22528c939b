"""From which address a request comes when proxies stand in front. Only the named proxies are believed."""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

UNIX = "unix"  # the name for whoever connects through a unix socket
_PORT = re.compile(r"\[(?P<six>[0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|(?P<four>[0-9.]+):[0-9]{1,5}")

Address = IPv4Address | IPv6Address


class TrustedProxies:
    """The proxies of `MAILER_TRUSTED_PROXIES`: addresses, networks, and `unix` for connections by a unix socket."""

    def __init__(self, names: Collection[str]) -> None:
        self._unix = UNIX in names
        self._networks = tuple(ip_network(name) for name in names if name != UNIX)

    def client(self, peer: str, forwarded_for: str) -> str:
        """The client's address: the rightmost one in X-Forwarded-For that is not a trusted proxy's.

        If `peer` is not a trusted proxy, it is the client. An entry that is no address ends the search: then it is the
        last trusted proxy before that entry. Pure.
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
    """The address in `text`, which may have a port; None: there is none. `::ffff:192.0.2.1` is an IPv4 address."""
    bare = text.strip()
    found = _PORT.fullmatch(bare)
    try:
        address = ip_address(found["six"] or found["four"] if found else bare)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
