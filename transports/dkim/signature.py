"""One message's signatures, made by dkimpy, with keys that are loaded already.

The library reads a key anew for each signature, and computes RSA in Python: 6.8 ms a message. Of its key objects it
uses one method, and only for Ed25519, which is `sign`. So it is told Ed25519 for every key and given an object that
signs by OpenSSL, and the true algorithm is put into the field before that is signed: 0.6 ms. All else is the library's.
`trial` makes sure, of each key and at every start, that what comes out is verified.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import dkim

from transports.base import TransportConfigError
from transports.dkim.fields import signed_fields
from transports.dkim.keys import ED25519, SigningKey

_RELAXED = (b"relaxed", b"relaxed")
_READ_FOR_NOTHING = base64.b64encode(bytes(32))  # what the library reads as a key, and never signs with
_TRIAL = (
    b"From: news@%b\r\nTo: ann@example.org\r\nSubject:  a  trial\r\nDate: Tue, 24 Nov 2026 02:10:44 +0000\r\n"
    b"Message-ID: <trial@%b>\r\nList-Unsubscribe: <https://example.org/>\r\n\r\nA trial, \t with blanks.  \r\n\r\n"
)

MessageFormatError = dkim.MessageFormatError


class _Signed(NamedTuple):
    signature: bytes


class _KeyObject(NamedTuple):
    """What the library asks to sign."""

    key: SigningKey

    def sign(self, digest: bytes) -> _Signed:
        return _Signed(self.key.signature(digest))


class MessageSigner(dkim.DKIM):
    """A message that is taken apart once, and signed by any number of keys.

    Raises `MessageFormatError` for what has no header that can be read.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__(content, signature_algorithm=ED25519.encode())
        self._names = [name.lower() for name, _ in self.headers]

    def values(self, name: bytes) -> list[bytes]:
        """The values of the fields with this name, in lower case, as they stand."""
        return [field[1] for field, found in zip(self.headers, self._names, strict=True) if found == name]

    def signature(self, key: SigningKey, lifetime: int = 0) -> bytes:
        """A whole DKIM-Signature field: ASCII, folded, with CRLF at each end of a line. `lifetime` is in seconds.

        No part of the body is left out (`l=`). It has an end (`x=`) only if `lifetime` says so.
        """
        self._key, self._lifetime = key, lifetime
        names = {"selector": key.selector.encode(), "domain": key.domain.encode()}
        signed = signed_fields(self._names)
        field: bytes = self.sign(**names, privkey=_READ_FOR_NOTHING, canonicalize=_RELAXED, include_headers=signed)
        return field

    def gen_header(
        self, fields: Sequence[tuple[bytes, bytes]], include_headers: Any, canon_policy: Any, header_name: Any, *_: Any
    ) -> Any:
        """What the library calls with the tags of the field, to sign it: with the tags as they are meant."""
        meant = list(self._meant(fields))
        return super().gen_header(meant, include_headers, canon_policy, header_name, _KeyObject(self._key), False)

    def _meant(self, tags: Sequence[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        for name, value in tags:
            yield name, self._key.algorithm.encode() if name == b"a" else value
            if name == b"t" and self._lifetime:
                yield b"x", b"%d" % (int(value) + self._lifetime)


def trial(key: SigningKey) -> None:
    """Sign a message and have the library verify it. Raises `TransportConfigError` unless that succeeds."""
    domain, record = key.domain.encode(), key.record
    content = _TRIAL % (domain, domain)
    signed = MessageSigner(content).signature(key, lifetime=3600) + content
    found: list[str] = []

    def dns(name: bytes, **_: int) -> bytes:
        found.append(name.decode())
        return record.text.encode()

    try:
        good = dkim.DKIM(signed).verify(dnsfunc=dns) and found == [f"{record.name}."]
    except dkim.DKIMException:  # so a domain or selector of more than 68 octets, which the library folds
        good = False
    if not good:
        raise TransportConfigError(f"dkim: {record.name}: what the key signs is not verified; is the name too long?")
