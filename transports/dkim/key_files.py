"""Reading a private key from its file, and the names of a key, so that whatever cannot work is refused at the start."""

from __future__ import annotations

import os
import re
import stat
from contextlib import closing
from pathlib import Path

import idna
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from transports.base import TransportConfigError

SHORTEST, ADVISED, LONGEST = 1024, 2048, 4096  # bits of an RSA key that verifiers take: RFC 8301 section 3.2
_LARGEST = 64 * 1024  # octets of a file
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
LONGEST_NAME = 253


def read_key(path: str) -> RSAPrivateKey | Ed25519PrivateKey:
    """The key in the PEM file at `path`. Raises `TransportConfigError`, which names the file and says nothing of it.

    A file that others than its owner may read, or write, is refused: whoever has the key can write in the domain's
    name.
    """
    pem = _content(path)
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise _bad(path, "the key is protected by a password; it must not be, as nobody is there to type it") from error
    except (ValueError, UnsupportedAlgorithm):  # whose words may hold a part of the file
        raise _bad(path, "no private key in PEM form; `openssl genpkey` makes one") from None
    if isinstance(key, Ed25519PrivateKey):
        return key
    if not isinstance(key, RSAPrivateKey):
        raise _bad(path, "neither an RSA nor an Ed25519 key, and DKIM knows no other")
    if not SHORTEST <= key.key_size <= LONGEST:
        raise _bad(
            path, f"an RSA key of {key.key_size} bits; receivers take {SHORTEST} to {LONGEST}, make it {ADVISED}"
        )
    return key


def dns_name(what: str, text: str, labels: int) -> str:
    """`text` in lower case and ASCII form. Raises `TransportConfigError` if it is no name of `labels` or more."""
    try:
        name = text.lower() if text.isascii() else idna.encode(text, uts46=True).decode()
    except idna.IDNAError:
        name = ""
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME or name.count(".") + 1 < labels:
        example = "example.com" if labels > 1 else "s2026"
        raise TransportConfigError(f"dkim: {what} {text!r} is no DNS name such as {example}")
    return name


def _content(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # so that a pipe is not waited for
        with closing(os.fdopen(descriptor, "rb")) as file:
            _refuse_open_to_others(path, os.fstat(descriptor).st_mode)
            return file.read(_LARGEST)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        if isinstance(error, TransportConfigError):
            raise
        raise _bad(path, getattr(error, "strerror", None) or "not a path") from error


def _refuse_open_to_others(path: str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise _bad(path, "not a file")
    if mode & _OTHERS:
        raise _bad(path, f"others than its owner may use the key (mode {stat.S_IMODE(mode):04o}); chmod 600 it")


def _bad(path: str, problem: str) -> TransportConfigError:
    return TransportConfigError(f"dkim: key file {Path(path)}: {problem}")
