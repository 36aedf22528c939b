"""One message's signatures, made by dkimpy, with keys that are loaded already.

The library reads a key anew for each signature, and computes RSA in Python: 6.8 ms a message. Of its key objects it
uses one method, and only for Ed25519, which is `sign`. So it is told Ed25519 for every key and given an object that
signs by OpenSSL, and the true algorithm is put into the field before that is signed: 0.5 ms. All else is the library's.
`trial` makes sure, of each key and at every start, that what comes out is verified.

There are two short ways, each taken only where it gives the same: a body whose line ends are CRLF is not split into
lines and joined again, and one in which relaxed canonicalization has nothing to change goes through the simple one.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import dkim

from transports.base import TransportConfigError
from transports.dkim.fields import signed_fields
from transports.dkim.keys import ED25519, SigningKey

_RELAXED, _SIMPLE_BODY = (b"relaxed", b"relaxed"), (b"relaxed", b"simple")
_HEAD_END = b"\r\n\r\n"
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
        head, end, body = content.partition(_HEAD_END)
        whole = not end or content.startswith(b"\r\n") or content.count(b"\n") != content.count(b"\r\n")
        try:
            super().__init__((content or b"\r\n") if whole else head + end, signature_algorithm=ED25519.encode())
        except IndexError as error:
            raise MessageFormatError("the first line is a fold") from error
        if not whole:
            self.body = body
        self._names = [name.lower() for name, _ in self.headers]
        self._canonicalize = _SIMPLE_BODY if is_relaxed(self.body) else _RELAXED

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
        field: bytes = self.sign(
            **names, privkey=_READ_FOR_NOTHING, canonicalize=self._canonicalize, include_headers=signed
        )
        return field

    def gen_header(
        self, fields: Sequence[tuple[bytes, bytes]], include_headers: Any, canon_policy: Any, header_name: Any, *_: Any
    ) -> Any:
        """What the library calls with the tags of the field, to sign it: with the tags as they are meant."""
        meant = list(self._meant(fields))
        return super().gen_header(meant, include_headers, canon_policy, header_name, _KeyObject(self._key), False)

    def _meant(self, tags: Sequence[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        meant = {b"a": self._key.algorithm.encode(), b"c": b"/".join(_RELAXED)}
        for name, value in tags:
            yield name, meant.get(name, value)
            if name == b"t" and self._lifetime:
                yield b"x", b"%d" % (int(value) + self._lifetime)


def is_relaxed(body: bytes) -> bool:
    """Whether relaxed canonicalization (RFC 6376 section 3.4.4) does to `body` what the simple one does, and no more.

    It has no blanks at line ends, no two in a row and no tab, and it is not empty.
    """
    return b"  " not in body and b" \r\n" not in body and b"\t" not in body and bool(body.strip(b"\r\n"))


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
