"""What the settings say of how mail is sent: from which domains, with which envelope sender, signed by which keys."""

from __future__ import annotations

from collections.abc import Sequence

from mailer.dns_records.alignment import certainly_apart, domain_of
from mailer.dns_records.check import Sending
from mailer.dns_records.dkim import Selector
from mailer.dns_records.lookups import Address
from transports.base import TransportConfigError
from transports.dkim.records import keys_in


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


def transport_selectors(url: str, now: float) -> list[Selector]:
    """The keys by which a transport signs, or will, with what the DNS must have; none where it does not.

    `now` is in seconds since 1970: a key whose time is over is not missed.
    """
    try:
        keys = keys_in(url)
    except TransportConfigError:
        return []
    return [Selector(key.selector, key.domain, key.record.text) for key in keys if key.until > now]
