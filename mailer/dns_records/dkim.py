"""What the DNS says of a DKIM key (RFC 6376 section 3.6.1, RFC 8463 for Ed25519). Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from mailer.dns_records.finding import TEXT, Finding, Level, Publish
from mailer.dns_records.tags import Tags, read_tags

WHAT = "DKIM"
LEAST, GOOD = 1024, 2048  # bits of an RSA key: what receivers accept (RFC 8301 section 3.2), and what they ask for
ED25519 = 32  # octets of a key


class Selector(NamedTuple):
    """Where a key is published: in `domain`, that of the signature, under a name of its own.

    `record` is what must stand there; empty: only whoever signs knows it.
    """

    name: str
    domain: str
    record: str = ""

    @property
    def place(self) -> str:
        """The name of its record."""
        return f"{self.name}._domainkey.{self.domain}"


def dkim_findings(selector: Selector, records: Sequence[str]) -> Iterator[Finding]:
    """Judge the TXT records at a selector. Where it is known what must stand there, that mends whatever is wrong."""
    for one in _judged(selector, records):
        mends = one.level is Level.WRONG and selector.record
        yield replace(one, publish=_published(selector)) if mends else one


def _judged(selector: Selector, records: Sequence[str]) -> Iterator[Finding]:
    if not records:
        hint = "" if selector.record else "; put the public half of the key that signs for KEY"
        says = f"there is no key at {selector.place}, so no signature by it holds{hint}"
        yield Finding(WHAT, Level.WRONG, says, _published(selector))
    elif len(records) > 1:
        says = f"{selector.place} has {len(records)} records; there may be one, that of the key that signs"
        yield Finding(WHAT, Level.WRONG, says)
    elif selector.record and _key_in(selector.record) != _key_in(records[0]):
        says = f"the key at {selector.place} is another than the one that signs, so no signature holds"
        yield Finding(WHAT, Level.WRONG, says)
    else:
        yield from _about_key(selector.place, read_tags(records[0]))


def _published(selector: Selector) -> Publish:
    return Publish(selector.place, TEXT, selector.record or "v=DKIM1; k=rsa; p=KEY")


def _key_in(record: str) -> bytes | None:
    return _decoded(read_tags(record).get("p"))


def no_selector(domain: str) -> Finding:
    """What can be said where nobody knows a selector: the DNS does not list them."""
    says = f"no selector is known for {domain}, so no key can be looked for; --selector names one"
    return Finding(WHAT, Level.NOTE, f"{says}. Whoever signs, such as the relay, shows it as s= in DKIM-Signature")


def _about_key(place: str, tags: Tags) -> Iterator[Finding]:
    problem = next(_problems(tags), None)
    if problem:
        yield Finding(WHAT, Level.WRONG, f"{place}: {problem}")
        return
    kind, key = tags.get("k", "rsa"), _decoded(tags.get("p"))
    bits = _rsa_bits(key) if kind == "rsa" and key else None
    if kind == "rsa" and bits is None:
        yield Finding(WHAT, Level.WRONG, f"{place}: p= holds no RSA key")
    elif kind == "ed25519" and len(key or b"") != ED25519:
        yield Finding(WHAT, Level.WRONG, f"{place}: p= holds no Ed25519 key, which has {ED25519} octets")
    elif bits is not None and bits < GOOD:
        level = Level.WRONG if bits < LEAST else Level.NOTE
        yield Finding(WHAT, level, f"{place}: an RSA key of {bits} bits; make one of {GOOD} under another selector")
    else:
        yield Finding(WHAT, Level.OK, f"{place}: {f'an RSA key of {bits} bits' if bits else 'an Ed25519 key'}")
    if "y" in tags.get("t").replace(" ", "").split(":"):
        yield Finding(
            WHAT, Level.NOTE, f"{place}: t=y says that this is a test, and receivers may ignore it; leave it out"
        )


def _problems(tags: Tags) -> Iterator[str]:
    yield from tags.problems
    if tags.get("v", "DKIM1") != "DKIM1":
        yield f"v={tags.get('v')} is not DKIM1"
    if "p" not in tags.values:
        yield "there is no p=, which holds the key"
    elif not tags.get("p"):
        yield "the key is revoked (p= is empty)"
    elif _decoded(tags.get("p")) is None:
        yield "p= is no base64; it may have been cut or broken into lines"
    if tags.get("k", "rsa") not in ("rsa", "ed25519"):
        yield f"k={tags.get('k')} is no kind of key that receivers know"
    if "h" in tags.values and "sha256" not in tags.get("h").replace(" ", "").split(":"):
        yield f"h={tags.get('h')} leaves out sha256, the only hash that receivers accept"
    if not {"*", "email"} & set(tags.get("s", "*").replace(" ", "").split(":")):
        yield f"s={tags.get('s')} does not allow the key for mail"


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None


def _rsa_bits(key: bytes) -> int | None:
    try:
        loaded = load_der_public_key(key)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return loaded.key_size if isinstance(loaded, RSAPublicKey) else None
