"""Keys that sign: each is of one domain, has one name there, and may sign during one span of time. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

RSA = "rsa-sha256"
ED25519 = "ed25519-sha256"
ORDER = (RSA, ED25519)  # of the signatures: a verifier that looks at the first one alone finds the one that it knows
_PADDING, _DIGEST = PKCS1v15(), Prehashed(hashes.SHA256())
_MOST_OF_A_STRING = 255  # octets of one string of a TXT record, RFC 1035 section 3.3


class DNSRecord(NamedTuple):
    """The TXT record that tells a public key (RFC 6376 section 3.6.1): its name, and its text in one piece."""

    name: str
    text: str

    @property
    def zone_line(self) -> str:
        """As a zone file has it: the text in strings of at most 255 octets, which whoever reads it joins again."""
        pieces = range(0, len(self.text), _MOST_OF_A_STRING)
        strings = " ".join(f'"{self.text[at : at + _MOST_OF_A_STRING]}"' for at in pieces)
        return f"{self.name}. IN TXT {strings}"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key, loaded, with the `selector` under which `domain` tells its public half; both in lower case.

    It signs from `not_before` on and before `until`, in seconds since 1970; infinite where nothing is said.
    """

    domain: str
    selector: str
    private: RSAPrivateKey | Ed25519PrivateKey = field(repr=False)
    not_before: float = -inf
    until: float = inf

    @property
    def algorithm(self) -> str:
        """The tag `a=` of its signatures."""
        return RSA if isinstance(self.private, RSAPrivateKey) else ED25519

    @property
    def bits(self) -> int:
        """Its size."""
        return self.private.key_size if isinstance(self.private, RSAPrivateKey) else 256

    @property
    def name(self) -> str:
        """The DNS name of its public half."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def record(self) -> DNSRecord:
        """What the domain's DNS must have. An Ed25519 key stands there as its 32 octets (RFC 8463 section 4)."""
        public = self.private.public_key()
        if self.algorithm == RSA:
            kind, octets = "rsa", public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        else:
            kind, octets = "ed25519", public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return DNSRecord(self.name, f"v=DKIM1; k={kind}; p={base64.b64encode(octets).decode()}")

    def is_told_by(self, text: str) -> bool:
        """Whether a TXT record that the DNS has under `name`, in one piece, tells this key: the same `p=` and `k=`."""
        tags = dict(tag.split("=", 1) for tag in "".join(text.split()).split(";") if "=" in tag)
        ours = dict(tag.split("=", 1) for tag in "".join(self.record.text.split()).split(";"))
        return {"v": "DKIM1", "k": "rsa", **tags} == {**tags, **ours}

    def in_force(self, now: float) -> bool:
        """Whether it may sign at `now`."""
        return self.not_before <= now < self.until

    def signature(self, digest: bytes) -> bytes:
        """Sign a SHA-256 digest: RFC 8301, and RFC 8463 section 3."""
        if isinstance(self.private, RSAPrivateKey):
            return self.private.sign(digest, _PADDING, _DIGEST)
        return self.private.sign(digest)


class KeyRing:
    """The keys of one transport, by domain."""

    def __init__(self, keys: Iterable[SigningKey]) -> None:
        self.keys = tuple(keys)
        self._by_domain: dict[str, list[SigningKey]] = {}
        for key in self.keys:
            self._by_domain.setdefault(key.domain, []).append(key)

    def signing(self, domain: str, now: float) -> Sequence[SigningKey]:
        """The keys that sign for an author at `domain`: of each algorithm the newest in force, or none.

        They are those of the domain itself or, where it has none, of the nearest domain above it. Such a signature is
        in relaxed alignment (RFC 7489 section 3.1.1). A new key thus relieves the one before it, without its end
        having to be told, and nobody pays for two RSA signatures meanwhile.
        """
        newest: dict[str, SigningKey] = {}
        for key in sorted(self._nearest(domain), key=lambda key: key.not_before):
            if key.in_force(now):
                newest[key.algorithm] = key
        return [newest[algorithm] for algorithm in ORDER if algorithm in newest]

    def any_in_force(self, now: float) -> bool:
        """Whether there is a key at all that may sign at `now`."""
        return any(key.in_force(now) for key in self.keys)

    def _nearest(self, domain: str) -> Sequence[SigningKey]:
        while domain:
            if keys := self._by_domain.get(domain):
                return keys
            domain = domain.partition(".")[2]
        return ()
