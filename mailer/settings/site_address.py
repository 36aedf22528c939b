"""Checks of the address with which links begin: is it https, and can those who get the mail reach it? Pure."""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import urlsplit

from transports.base import TransportConfigError
from transports.options import split_group, split_url

_LOCAL_NAMES = {"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"}
_NUMBERS = re.compile(r"[0-9a-fx.]+", re.IGNORECASE)


def warnings_about(site_url: str) -> tuple[str, ...]:
    """What is probably wrong with the address with which links begin, a sentence each; nothing where all is well."""
    if urlsplit(site_url).scheme == "https":
        return ()
    return (
        f"MAILER_SITE_URL is not https: {site_url}; mail programs then offer no one-click unsubscribing (RFC 8058), "
        "and whoever carries the traffic can read the links",
    )


def is_local(host: str) -> bool:
    """Whether `host` means the machine on which it is looked up: a name or an address, in any spelling.

    It takes more spellings than `transports.options.is_loopback`, since it serves a warning; that one decides whether a
    password may be sent without TLS, and takes only what is certain.
    """
    name = host.rstrip(".").lower()
    if name in _LOCAL_NAMES or name.endswith(".localhost"):
        return True
    address = _address(name)
    return address is not None and (address.is_loopback or address.is_unspecified)


def links_lead_nowhere(site_url: str, transport_url: str) -> bool:
    """Whether mail goes to another machine by SMTP, with links that only this machine can follow."""
    return is_local(urlsplit(site_url).hostname or "") and any(not is_local(host) for host in smtp_hosts(transport_url))


def smtp_hosts(transport_url: str) -> tuple[str, ...]:
    """The SMTP servers' hosts in a transport's URL, also those inside `failover:(…)`; none for a malformed URL."""
    try:
        parts = split_url(transport_url)
        if parts.scheme in ("smtp", "smtps"):
            return (urlsplit(parts.rest).hostname or "",)
        members = split_group(parts.scheme, parts.rest) if parts.rest.startswith("(") else ()
    except (TransportConfigError, ValueError):
        return ()
    return tuple(host for member in members for host in smtp_hosts(member))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that `host` is, as the resolver reads it, for which 127.1 and 0x7f000001 are 127.0.0.1 too."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return _classic(host)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _classic(host: str) -> ipaddress.IPv4Address | None:
    if not _NUMBERS.fullmatch(host):
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None
