"""What the settings say of how mail is sent: from which domains, with which envelope sender, signed by which keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import parse_qsl

from mailer.dns_records.alignment import certainly_apart, domain_of
from mailer.dns_records.check import Sending
from mailer.dns_records.dkim import Selector
from mailer.dns_records.lookups import Address
from transports.base import TransportConfigError
from transports.options import split_group, split_url


def known_sendings(
    senders: Sequence[str], bounce_address: str, selectors: Sequence[Selector], addresses: Sequence[Address]
) -> list[Sending]:
    """How mail is sent from each domain that is known: those of `senders`, addresses or `@domain`s, and where there
    are none, those that sign. Without a bounce address the sender's own stands in the envelope.
    """
    domains = [*map(domain_of, senders)] or [selector.domain for selector in selectors]
    envelope = domain_of(bounce_address) if bounce_address else ""
    return [
        Sending(domain, envelope or domain, addresses, selectors_for(domain, selectors))
        for domain in dict.fromkeys([*domains, *([envelope] if envelope and not domains else [])])
    ]


def selectors_for(domain: str, selectors: Sequence[Selector]) -> list[Selector]:
    """Those of the keys that may sign for a domain: its own, or else those that are not certainly somebody else's."""
    own = [selector for selector in selectors if selector.domain == domain]
    return own or [selector for selector in selectors if not certainly_apart(selector.domain, domain)]


def transport_selectors(url: str) -> list[Selector]:
    """The keys that a transport's URL names, also inside groups: `dkim:(…)?selector=…&domain=…`; none elsewhere."""
    try:
        return list(dict.fromkeys(_selectors(url)))
    except TransportConfigError:
        return []


def _selectors(url: str) -> Iterator[Selector]:
    parts = split_url(url)
    if parts.scheme == "dkim":
        options = dict(parse_qsl(parts.query))
        if options.get("selector") and options.get("domain"):
            yield Selector(options["selector"].lower(), domain_of(options["domain"]))
    if parts.rest.startswith("(") and parts.scheme != "webhook":
        for member in split_group(parts.scheme, parts.rest):
            yield from _selectors(member)
