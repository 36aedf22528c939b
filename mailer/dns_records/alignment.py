"""Alignment: is the domain in From the same as the one that was authenticated (RFC 9989 section 4.4)? Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from transports.base import TransportConfigError
from transports.options import split_group, split_url

if TYPE_CHECKING:
    from mailer.settings import Settings

SHARED = 2  # labels that two domains of one organization have in common at least, such as example.com


def domain_of(address: str) -> str:
    """The domain of an address, in lower case, without a dot at its end."""
    return address.rpartition("@")[2].lower().removesuffix(".")


def certainly_apart(one: str, other: str) -> bool:
    """Whether two domains cannot belong together, whatever the DNS says.

    They do not where neither is the other's parent and they share no more than a top-level domain. Where they share
    more, such as two below `co.uk`, only the DNS can tell: `mailer dns check` asks it.
    """
    ours, theirs = one.split(".")[::-1], other.split(".")[::-1]
    shared = next((place for place, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), None)
    return shared is not None and shared < SHARED


def aligned(author: str, authenticated: str, organization: tuple[str, str], *, strict: bool) -> bool:
    """Whether an authenticated domain counts for the author's. `organization` has the organizational domain of each."""
    return author == authenticated if strict else organization[0] == organization[1]


def envelope_warnings(bounce_address: str, senders: Iterable[str]) -> tuple[str, ...]:
    """A sentence for each domain of `senders` that mail with bounces to `bounce_address` is certainly not aligned with.

    `senders` are addresses, or domains with an `@` before them. Without a bounce address the sender's own address is
    in the envelope, and all is aligned.
    """
    envelope = domain_of(bounce_address) if bounce_address else ""
    domains = dict.fromkeys(map(domain_of, senders)) if envelope else {}
    return tuple(
        f"Bounces go to {envelope}, so SPF does not count for mail From {domain} (DMARC): sign it with DKIM as that "
        "domain, or take bounces there"
        for domain in domains
        if certainly_apart(domain, envelope)
    )


def alignment_warnings(settings: Settings, *senders: str) -> tuple[str, ...]:
    """The same for a service with these settings, for `senders` or else for all that are allowed.

    Where the transport signs there is nothing to warn of: mail whose sender's domain has no key is refused there.
    """
    if settings.bounce_address is None or signs(settings.transport):
        return ()
    return envelope_warnings(str(settings.bounce_address), senders or settings.allowed_senders)


def signs(url: str) -> bool:
    """Whether a transport signs with DKIM: the one of this URL or, in a group, all of them."""
    try:
        parts = split_url(url)
        members = split_group(parts.scheme, parts.rest) if parts.rest.startswith("(") else ()
    except TransportConfigError:
        return False
    if parts.scheme in ("dkim", "webhook"):
        return parts.scheme == "dkim"
    return bool(members) and all(map(signs, members))
