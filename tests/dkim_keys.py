"""Keys for DKIM, made once a process, and files of them as operators have them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from transports.dkim.records import keys_in


@cache
def rsa_pem(bits: int = 2048, number: int = 1, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    return generate_private_key(65537, bits).private_bytes(Encoding.PEM, form, NoEncryption())


@cache
def ed25519_pem(number: int = 1) -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def write_key(path: Path, pem: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(pem)
    path.chmod(mode)
    return path


def write_table(folder: Path, *entries: str) -> Path:
    """A table of keys; an entry is `domain selector file`, and further lines of TOML, separated by line ends."""
    blocks = []
    for entry in entries:
        first, _, more = entry.partition("\n")
        domain, selector, file = first.split()
        blocks.append(f'[[key]]\ndomain = "{domain}"\nselector = "{selector}"\nfile = "{file}"\n{more}\n')
    path = folder / "dkim.toml"
    path.write_text("\n".join(blocks))
    return path


def both_keys(folder: Path, domain: str = "example.org") -> Path:
    """The table of a domain with an RSA key `r1` and an Ed25519 key `e1`."""
    write_key(folder / "r1.pem", rsa_pem())
    write_key(folder / "e1.pem", ed25519_pem())
    return write_table(folder, f"{domain} r1 r1.pem", f"{domain} e1 e1.pem")


def public_texts(url: str) -> dict[str, str]:
    """The texts of the TXT records of a transport's keys, by name."""
    return {key.record.name: key.record.text for key in keys_in(url)}
