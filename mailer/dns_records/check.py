"""Everything that the DNS says of a domain that mail is sent from, judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from mailer.dns_records.dkim import WHAT as DKIM
from mailer.dns_records.dkim import Selector, dkim_findings, no_selector
from mailer.dns_records.dmarc_findings import WHAT as DMARC
from mailer.dns_records.dmarc_findings import dmarc_findings
from mailer.dns_records.finding import Finding, Level
from mailer.dns_records.lookups import Address, DnsFailure, Lookups
from mailer.dns_records.mail_hosts import MX, PTR, mx_findings, ptr_findings
from mailer.dns_records.spf.findings import WHAT as SPF
from mailer.dns_records.spf.findings import spf_findings
from mailer.dns_records.transport_security import MTA_STS, TLS_RPT, mta_sts_findings, tls_rpt_findings

Part = tuple[str, Callable[[], Iterable[Finding]]]  # what it is about, and how it is looked at


@dataclass(frozen=True, slots=True)
class Sending:
    """How mail of a domain is sent. `domain` is that of From, and `envelope` that of the envelope sender.

    `addresses` are those that it goes out from to the receivers, and `selectors` the keys that sign it.
    """

    domain: str
    envelope: str
    addresses: Sequence[Address] = ()
    selectors: Sequence[Selector] = ()


def check(lookups: Lookups, sending: Sending) -> list[Finding]:
    """Look at everything. Where the DNS does not answer, that part is unknown, and the others are looked at."""
    return [finding for what, look in _parts(lookups, sending) for finding in _looked(what, look)]


def _parts(lookups: Lookups, sending: Sending) -> Iterator[Part]:
    domain, envelope = sending.domain, sending.envelope
    yield SPF, partial(spf_findings, lookups, envelope, sending.addresses)
    for selector in sending.selectors:
        yield DKIM, partial(_key, lookups, selector)
    if not sending.selectors:
        yield DKIM, partial(_known, no_selector(domain))
    signers = [selector.domain for selector in sending.selectors]
    yield DMARC, partial(dmarc_findings, lookups, domain, envelope, signers)
    for mailed in dict.fromkeys((domain, envelope)):
        yield MX, partial(mx_findings, lookups, mailed)
    for address in sending.addresses:
        yield PTR, partial(ptr_findings, lookups, address)
    if not sending.addresses:
        yield PTR, partial(_known, _no_address())
    yield MTA_STS, partial(mta_sts_findings, lookups, domain)
    yield TLS_RPT, partial(tls_rpt_findings, lookups, domain)


def _key(lookups: Lookups, selector: Selector) -> Iterator[Finding]:
    return dkim_findings(selector, lookups.txt(selector.place))


def _known(finding: Finding) -> list[Finding]:
    return [finding]


def _no_address() -> Finding:
    says = "it is not known from which address mail goes out; --ip names it. Behind a relay it is the relay's"
    return Finding(PTR, Level.NOTE, says)


def _looked(what: str, look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    found = list[Finding]()
    try:
        found.extend(look())
    except DnsFailure as error:
        found.append(Finding(what, Level.UNKNOWN, f"cannot be told: {error}"))
    return found
