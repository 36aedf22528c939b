"""Questions to the DNS, answered by a resolver: that of the system, or one that is named."""

from __future__ import annotations

from collections.abc import Sequence

import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver
import dns.reversename
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.TXT import TXT

from mailer.dns_records.lookups import Address, DnsFailure, MailExchanger, parse_address

SECONDS = 5.0  # for one question, over all tries
SIZE = 1232  # octets of an answer over UDP, which no road cuts into pieces
PATIENCE = 3  # questions, after which a resolver that has answered none is not asked any more


class Silence(DnsFailure):
    """Nothing came back in time."""


class Resolver:
    """Asks one recursive resolver, each question once. `server` is its address and port; None: the system's.

    A truncated answer is asked for again over TCP. One that answers nothing at all is soon given up. Raises
    `DnsFailure` where the system names no resolver.
    """

    def __init__(self, server: tuple[str, int] | None = None, seconds: float = SECONDS) -> None:
        try:
            self._resolver = dns.resolver.Resolver(configure=server is None)
        except dns.resolver.NoResolverConfiguration as error:
            raise DnsFailure("this system names no DNS resolver; --resolver names one") from error
        if server is not None:
            self._resolver.nameservers, self._resolver.port = [server[0]], server[1]
        self._resolver.lifetime = seconds
        self._resolver.use_edns(0, payload=SIZE)
        self._known: dict[tuple[str, str], tuple[object, ...] | DnsFailure] = {}

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

    def _asked(self, name: str, kind: str) -> tuple[object, ...]:
        if (name, kind) not in self._known:
            try:
                self._known[name, kind] = self._ask(name, kind)
            except DnsFailure as error:
                self._known[name, kind] = error
        known = self._known[name, kind]
        if isinstance(known, DnsFailure):
            raise known
        return known

    def _ask(self, name: str, kind: str) -> tuple[object, ...]:
        if len(self._known) >= PATIENCE and all(isinstance(one, Silence) for one in self._known.values()):
            raise Silence(f"{kind} of {name}: not asked, as nothing before was answered")
        try:
            return tuple(self._resolver.resolve(dns.name.from_text(name), kind, search=False))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return ()
        except (dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel):
            return ()  # no such name can exist (RFC 7208 section 4.3)
        except dns.exception.Timeout as error:
            raise Silence(f"{kind} of {name}: no answer") from error
        except dns.exception.DNSException as error:
            raise DnsFailure(f"{kind} of {name}: the DNS answers with an error") from error


def _plain(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower() if name != dns.name.root else ""
