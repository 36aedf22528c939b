"""The keys inside a transport's URL, for those who look after its DNS: what must stand there, and what ends soon."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import lru_cache

from transports.base import TransportConfigError
from transports.dkim.fields import author_domain
from transports.dkim.key_files import ADVISED
from transports.dkim.key_table import OPTIONS, keys_from, sends_unsigned
from transports.dkim.keys import RSA, KeyRing, SigningKey
from transports.options import Options, split_group, split_url

SOON = 14 * 86_400.0  # seconds before a key's end in which there should be a next one
KNOWN_FOR = 60.0  # seconds for which keys are remembered by `unsigned_because`


def keys_in(url: str) -> tuple[SigningKey, ...]:
    """The keys of every `dkim:` in `url`, also within groups, read from their files. Raises `TransportConfigError`.

    The TXT record that the DNS must have for each is its `record`.
    """
    return tuple(key for ring in _rings(url) for key in ring.keys)


def warnings_about(url: str, now: float | None = None) -> tuple[str, ...]:
    """What is to be thought about, a sentence each: keys that are short, or end soon and have none after them.

    `now` is in seconds since 1970; None: this moment. A URL that cannot be used has none: it is refused elsewhere.
    """
    moment = time.time() if now is None else now
    try:
        return tuple(sentence for ring in _rings(url) for sentence in _warnings(ring, moment))
    except TransportConfigError:
        return ()


def unsigned_because(domain: str, url: str, now: float | None = None) -> tuple[str, ...] | None:
    """Why `url` refuses to send for authors at `domain`: the domains that it has keys of, of which none signs for it.

    None: it signs for them, sends unsigned (`without_key=send`), or nobody can tell, as where the keys cannot be read.
    The rule is the one by which messages are signed, and `now` is in seconds since 1970; None: this moment. Files are
    read once in `KNOWN_FOR` seconds.
    """
    author = author_domain(f"a@{domain}".encode())
    if author is None:
        return None
    moment = time.time() if now is None else now
    for ring in _refusing(url, int(time.monotonic() / KNOWN_FOR)):
        if not ring.signing(author, moment):
            return tuple(dict.fromkeys(key.domain for key in ring.keys))
    return None


@lru_cache(maxsize=8)
def _refusing(url: str, _span: int) -> tuple[KeyRing, ...]:
    """The keys of each `dkim:` in `url` that refuses what it has no key for. None of a URL that cannot be used."""
    try:
        return tuple(keys_from(options) for options in _options(url) if not sends_unsigned(options))
    except (TransportConfigError, ValueError):
        return ()


def _rings(url: str) -> Iterator[KeyRing]:
    return map(keys_from, _options(url))


def _options(url: str) -> Iterator[Options]:
    """Those of every `dkim:` in `url`, from the outermost inwards."""
    parts = split_url(url)
    if parts.scheme == "dkim":
        yield Options(parts.scheme, parts.query, OPTIONS)
    if parts.rest.startswith("(") and parts.scheme != "webhook":  # whose parentheses hold no transport
        for member in split_group(parts.scheme, parts.rest):
            yield from _options(member)


def _warnings(ring: KeyRing, now: float) -> Iterator[str]:
    for key in ring.keys:
        if key.algorithm == RSA and key.bits < ADVISED:
            yield f"dkim: {key.name} has {key.bits} bits; receivers ask for {ADVISED}"
    for domain in sorted({key.domain for key in ring.keys}):
        if not ring.signing(domain, now):
            yield f"dkim: no key for {domain} is in force"
        elif not ring.signing(domain, now + SOON):
            yield f"dkim: in {SOON / 86_400:.0f} days no key for {domain} is in force any more"
