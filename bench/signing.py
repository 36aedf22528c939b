"""Part 13: what a signature by DKIM adds to a message, by CPU time."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import dkim
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bench import rendering
from bench.figures import Figure, Part, Ratio, in_turn
from bench.scale import Bench
from transports import from_url
from transports.base import Message
from transports.dkim.fields import signed_fields

TITLE = "13. DKIM on"
DOMAIN = "example.com"  # of the newsletter's sender
OFTEN, LESS_OFTEN = 5, 10  # a fifth of the messages that are rendered elsewhere, and a tenth of those by the slow one
RELAXED = (b"relaxed", b"relaxed")
TABLE = '[[key]]\ndomain = "{domain}"\nselector = "{name}"\nfile = "{name}.pem"\n'


def _keys(folder: Path) -> tuple[bytes, bytes]:
    """An RSA and an Ed25519 key, and a table for each and for both; the keys as dkimpy itself takes them."""
    rsa, ed25519 = generate_private_key(65537, 2048), Ed25519PrivateKey.generate()
    for name, key in (("rsa", rsa), ("ed25519", ed25519)):
        path = folder / f"{name}.pem"
        path.touch(0o600)
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        (folder / f"{name}.toml").write_text(TABLE.format(domain=DOMAIN, name=name))
    (folder / "both.toml").write_text("".join(TABLE.format(domain=DOMAIN, name=name) for name in ("rsa", "ed25519")))
    plain = rsa.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return plain, base64.b64encode(ed25519.private_bytes_raw())


def _sending(url: str, count: int) -> float:
    """Microseconds of CPU a message: rendering it, signing it if `url` says so, and nothing but keeping it then."""
    transport = from_url(url)
    begun = time.process_time()
    for _ in transport.send(rendering.messages(count)):
        pass
    spent = time.process_time() - begun
    transport.close()
    return spent / count * 1e6


def _by_dkimpy(algorithm: bytes, key: bytes, count: int) -> float:
    """The same with the library as it comes."""

    def sign(message: Message) -> bytes:
        signer = dkim.DKIM(message.content, signature_algorithm=algorithm)
        fields = signed_fields([name.lower() for name, _ in signer.headers])
        return bytes(signer.sign(b"s1", DOMAIN.encode(), key, canonicalize=RELAXED, include_headers=fields))

    begun = time.process_time()
    for message in rendering.messages(count):
        sign(message)
    return (time.process_time() - begun) / count * 1e6


def measure(bench: Bench) -> Part:
    """Microseconds of CPU a message, signed by each kind of key."""
    count = max(1, bench.scale.renders // OFTEN)
    fewer = max(1, count // LESS_OFTEN)
    rsa, ed25519 = _keys(bench.work)
    signed = {name: f"dkim:(memory:bench?keep=1)?keys={bench.work}/{name}.toml" for name in ("rsa", "ed25519", "both")}
    contestants: dict[str, Callable[[], float]] = {
        "DKIM off": partial(_sending, "memory:bench?keep=1", count),
        "DKIM on, Ed25519": partial(_sending, signed["ed25519"], count),
        "DKIM on, RSA-2048": partial(_sending, signed["rsa"], count),
        "DKIM on, both": partial(_sending, signed["both"], count),
        "dkimpy as it comes, Ed25519": partial(_by_dkimpy, b"ed25519-sha256", ed25519, count),
        "dkimpy as it comes, RSA-2048": partial(_by_dkimpy, b"rsa-sha256", rsa, fewer),
    }
    results = in_turn(bench.scale.rounds, contestants)
    figures = {name: Figure(name, "us CPU/message", tuple(values)) for name, values in results.items()}
    ratio = figures["dkimpy as it comes, RSA-2048"].median / figures["DKIM on, RSA-2048"].median
    notes = ("One thread, CPU time alone. Each row has the rendering in it, and none the sending.",)
    return Part(
        "signing", TITLE, (Ratio("RSA-2048: dkimpy as it comes / mailer", ratio),), tuple(figures.values()), notes
    )
