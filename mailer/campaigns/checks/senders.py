"""Whether a campaign's From is one for which this service may send, as far as its settings tell. The DNS is not asked.

`mailer dns check` asks it.
"""

from __future__ import annotations

from mailer.campaigns.checks.known_hosts import MAILBOX_PROVIDERS, sends_for
from mailer.messages.addresses import parse_mailbox
from mailer.settings.site_address import smtp_hosts
from transports.dkim.records import unsigned_because

SHOWN = 3  # of the domains that there are keys of


def about_sender(sender: str, transport_url: str) -> tuple[str, ...]:
    """A sentence if mail from `sender`, bare or as `Name <address>`, will probably be taken for forged."""
    domain = sender_domain(sender)
    servers = smtp_hosts(transport_url)
    if domain in MAILBOX_PROVIDERS and servers and not all(sends_for(server, domain) for server in servers):
        return (f"Only {domain}'s own servers may send from its addresses; many receivers refuse this From.",)
    return _about_signing(domain, unsigned_because(domain, transport_url) if domain else None)


def _about_signing(domain: str, keys: tuple[str, ...] | None) -> tuple[str, ...]:
    """`keys` are the domains that there are keys of, if none of them signs for `domain`; None: one does."""
    if keys is None:
        return ()
    if any(domain == one or domain.endswith(f".{one}") for one in keys):
        return (f"Nothing signs for {domain} now: its DKIM key is not in force.",)
    rest = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return (f"Nothing signs for {domain}: the DKIM key is for {', '.join(keys[:SHOWN])}{rest}.",)


def sender_domain(sender: str) -> str:
    """The domain of `sender`, bare or as `Name <address>`, in lower case; empty for what is no address."""
    try:
        return parse_mailbox(sender).address.rpartition("@")[2].lower()
    except ValueError:
        return ""
