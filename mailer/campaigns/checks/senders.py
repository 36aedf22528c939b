"""Whether a campaign's From is one for which this service may send, as far as its settings tell. The DNS is not asked.

`mailer dns check` asks it.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qsl

from mailer.campaigns.checks.known_hosts import MAILBOX_PROVIDERS, sends_for
from mailer.messages.addresses import parse_mailbox
from mailer.settings.site_address import smtp_hosts
from transports.base import TransportConfigError
from transports.options import split_group, split_url

SIGNING = "dkim"  # the scheme of a group that signs, with the domain of its key as an option


def about_sender(sender: str, transport_url: str) -> tuple[str, ...]:
    """A sentence if mail from `sender`, bare or as `Name <address>`, will probably be taken for forged."""
    domain = sender_domain(sender)
    servers = smtp_hosts(transport_url)
    if domain in MAILBOX_PROVIDERS and servers and not all(sends_for(server, domain) for server in servers):
        return (f"Only {domain}'s own servers may send from its addresses; many receivers refuse this From.",)
    signed = tuple(dict.fromkeys(_signing_domains(transport_url)))
    if domain and signed and not any(_aligned(domain, one) for one in signed):
        return (f"Nothing signs for {domain}: the DKIM key is for {', '.join(signed)}.",)
    return ()


def sender_domain(sender: str) -> str:
    """The domain of `sender`, bare or as `Name <address>`, in lower case; empty for what is no address."""
    try:
        return parse_mailbox(sender).address.rpartition("@")[2].lower()
    except ValueError:
        return ""


def _aligned(domain: str, signing: str) -> bool:
    """Whether a signature of `signing` speaks for `domain`: relaxed, RFC 7489 section 3.1.1."""
    return domain == signing or domain.endswith(f".{signing}") or signing.endswith(f".{domain}")


def _signing_domains(transport_url: str) -> Iterator[str]:
    """The domains that `dkim:(…)?domain=…` names, in whichever group. A table of keys tells none."""
    try:
        parts = split_url(transport_url)
        members = split_group(parts.scheme, parts.rest) if parts.rest.startswith("(") else ()
    except (TransportConfigError, ValueError):
        return
    if parts.scheme == SIGNING:
        yield from (value.lower() for name, value in parse_qsl(parts.query) if name == "domain")
    for member in members:
        yield from _signing_domains(member)
