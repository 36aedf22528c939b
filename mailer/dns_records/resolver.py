"""Questions to the DNS, answered by a resolver: that of the system, or one that is named."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver
import dns.reversename
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.TXT import TXT

from mailer.dns_records.lookups import Address, DnsFailure, MailExchanger, parse_address

PORT = 53
SECONDS = 5.0  # for one question, over all tries


class Resolver:
    """Asks one recursive resolver, each question once. `server` is its address and port; None: the system's.

    A truncated answer is asked for again over TCP. Raises `DnsFailure` where the system names no resolver.
    """

    def __init__(self, server: tuple[str, int] | None = None, seconds: float = SECONDS) -> None:
        try:
            self._resolver = dns.resolver.Resolver(configure=server is None)
        except dns.resolver.NoResolverConfiguration as error:
            raise DnsFailure("this system names no DNS resolver; --resolver names one") from error
        if server is not None:
            self._resolver.nameservers, self._resolver.port = [server[0]], server[1]
        self._resolver.lifetime = seconds
        self._asked = cache(self._ask)

    def txt(self, name: str) -> Sequence[str]:
        """The TXT records, each with its strings joined. Raises `DnsFailure`."""
        records = [record for record in self._asked(name, "TXT") if isinstance(record, TXT)]
        return [b"".join(record.strings).decode("utf-8", "replace") for record in records]

    def mx(self, name: str) -> Sequence[MailExchanger]:
        """The MX records, the most preferred first. Raises `DnsFailure`."""
        records = [record for record in self._asked(name, "MX") if isinstance(record, MX)]
        return sorted(MailExchanger(record.preference, _plain(record.exchange)) for record in records)

    def addresses(self, name: str, version: int) -> Sequence[Address]:
        """The A records (`version` 4) or the AAAA records (6). Raises `DnsFailure`."""
        return [parse_address(str(record)) for record in self._asked(name, "A" if version == 4 else "AAAA")]

    def ptr(self, address: Address) -> Sequence[str]:
        """The names of an address. Raises `DnsFailure`."""
        name = dns.reversename.from_address(str(address)).to_text(omit_final_dot=True)
        return [str(record).removesuffix(".").lower() for record in self._asked(name, "PTR")]

    def _ask(self, name: str, kind: str) -> tuple[object, ...]:
        try:
            return tuple(self._resolver.resolve(dns.name.from_text(name), kind, search=False))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return ()
        except (dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel):
            return ()  # no such name can exist (RFC 7208 section 4.3)
        except dns.exception.Timeout as error:
            raise DnsFailure(f"{kind} of {name}: no answer") from error
        except dns.exception.DNSException as error:
            raise DnsFailure(f"{kind} of {name}: the DNS answers with an error") from error


def _plain(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower() if name != dns.name.root else ""


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
