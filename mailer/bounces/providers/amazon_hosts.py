"""What is fetched from Amazon's hosts, and from no other: the certificates that sign notifications, and confirmations.

The address stands in a request that anybody may send. So it has to be https, of SNS itself and in the topic's region;
redirects are not followed, and little is read.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import requests
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from mailer.bounces.providers.base import NotGenuine
from mailer.errors import ProviderUnavailable

TIMEOUT = (3, 5)  # seconds to connect, and between two pieces of the answer: SNS waits for 15 in all
LARGEST = 64 * 1024  # bytes
KEPT_FOR = 24 * 3600.0  # seconds for which a certificate is known
MOST_KEPT = 20
MOST_FETCHED = 10  # certificates a minute

_HOST = re.compile(r"sns\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
_CERTIFICATE = re.compile(r"/SimpleNotificationService-[0-9a-f]{32}\.pem")

Fetch = Callable[[str], bytes]


def fetch(url: str, *, session: requests.Session | None = None) -> bytes:
    """The answer to a GET, if it is 200 and small. Raises `ProviderUnavailable`."""
    with session or requests.Session() as asking:
        asking.trust_env = False
        try:
            with asking.get(url, timeout=TIMEOUT, allow_redirects=False, stream=True) as answer:
                found = answer.raw.read(LARGEST + 1, decode_content=True) or b""
        except (requests.RequestException, OSError) as error:
            raise _unavailable(url, type(error).__name__) from error  # its text has the address, with a token in it
    if answer.status_code != 200 or len(found) > LARGEST:
        raise _unavailable(url, f"it answered {answer.status_code}" if len(found) <= LARGEST else "it is too large")
    return found


def _unavailable(url: str, why: str) -> ProviderUnavailable:
    """Says which host it was, and nothing else of the address."""
    return ProviderUnavailable(f"What proves this request could not be fetched from {urlsplit(url).hostname}: {why}.")


def is_certificate(url: str, region: str) -> bool:
    """Whether SNS in this region could have its certificates there."""
    return _is_sns(url, region) and _CERTIFICATE.fullmatch(urlsplit(url).path) is not None and "?" not in url


def is_confirmation(url: str, region: str, topic: str) -> bool:
    """Whether a visit confirms the subscription to this topic, and does nothing else."""
    if not _is_sns(url, region):
        return False
    asked = parse_qs(urlsplit(url).query)
    return asked.get("Action") == ["ConfirmSubscription"] and asked.get("TopicArn") == [topic]


def _is_sns(url: str, region: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # a bracket that is not closed, a port that is none
        return False
    host = _HOST.fullmatch(parts.netloc)  # the whole of it: no login before it, no port behind it
    return parts.scheme == "https" and port is None and host is not None and host["region"] == region


class Certificates:
    """The public keys in the certificates, each fetched once a day. Only so many are fetched a minute."""

    def __init__(self, fetch_: Fetch = fetch) -> None:
        self._fetch = fetch_
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, RSAPublicKey]] = {}  # until when, by `time.monotonic`
        self._fetched: deque[float] = deque(maxlen=MOST_FETCHED)

    def key(self, url: str, region: str) -> RSAPublicKey:
        """The key in the certificate at `url`. Raises `NotGenuine` for another's address, and `ProviderUnavailable`."""
        if not is_certificate(url, region):
            raise NotGenuine("SigningCertURL is not an address of Amazon SNS in the region of the topic.")
        until, known = self._known.get(url, (0.0, None))
        if known is not None and until > time.monotonic():
            return known
        with self._lock:
            self._count()
        key = _key_in(url, self._fetch(url))
        with self._lock:
            if len(self._known) >= MOST_KEPT:
                self._known.clear()
            self._known[url] = time.monotonic() + KEPT_FOR, key
        return key

    def _count(self) -> None:
        """Raise `ProviderUnavailable` if as many as may be have been fetched within the last minute."""
        now = time.monotonic()
        if len(self._fetched) == MOST_FETCHED and now - self._fetched[0] < 60:
            raise ProviderUnavailable(f"As many as {MOST_FETCHED} certificates were fetched within a minute.")
        self._fetched.append(now)


def _key_in(url: str, pem: bytes) -> RSAPublicKey:
    try:
        key = x509.load_pem_x509_certificate(pem).public_key()
    except ValueError as error:
        raise _unavailable(url, "it is no certificate") from error
    if not isinstance(key, RSAPublicKey):
        raise _unavailable(url, "it is no certificate for RSA")
    return key
