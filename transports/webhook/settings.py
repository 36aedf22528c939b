"""The settings in a `webhook:` URL, checked before anything is sent, and what of the URL may be shown."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from transports import rate_options
from transports.base import TransportConfigError
from transports.options import is_loopback
from transports.rate import Rate

SECRET_BYTES = 16  # the shortest secret that is taken
OPTIONS = ("batch", "ca_file", "connect_timeout", "secret_file", "timeout", *rate_options.OPTIONS)
SHOWN = tuple(name for name in OPTIONS if name not in rate_options.SECRET)


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Where to POST and how. Timeouts are in seconds, `batch` in messages; an empty `secret` means no signature."""

    url: str
    secret: bytes = b""
    batch: int = 50
    timeout: float = 60.0
    connect_timeout: float = 10.0
    ca_file: str = ""
    rate: Rate | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        return f"WebhookSettings({shown_target(self.url)})"


def shown_target(url: str) -> str:
    """Scheme, host and port of `url`; the rest is hidden, and so is all of a URL that cannot be taken apart.

    An `@` after the host may be the end of a password with a `/`, `?` or `#` in it; what looks like the host is then
    part of the password.
    """
    try:
        parts = urlsplit(url)
        _port = parts.port
    except ValueError:
        return "***"
    host = parts.netloc.rpartition("@")[2]
    beyond = parts.path + parts.query + parts.fragment
    known = parts.scheme in ("http", "https") and host and "@" not in beyond
    return f"{parts.scheme}://{host}/***" if known else "***"


def check_url(url: str) -> str:
    """The host of `url`. Raises `TransportConfigError` unless it is https, or http to a loopback address."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError:  # which may hold a part of a password
        raise TransportConfigError("webhook: the URL is not valid") from None
    if parts.scheme not in ("http", "https") or not host:
        raise TransportConfigError("webhook: needs an https URL, such as webhook:https://host/path")
    if parts.scheme == "http" and not is_loopback(host):
        raise TransportConfigError("webhook: http is for this machine only; use https")
    return host


def rate_key(url: str) -> str:
    """Whose limits they are: those of the receiver at `url`, of which only the host and a digest are shown."""
    return f"webhook {check_url(url)} {hashlib.sha256(url.encode()).hexdigest()[:8]}"


def read_secret(path: str) -> bytes:
    """The content of the secret's file without white space around it. Raises `TransportConfigError`."""
    if not path:
        return b""
    try:
        secret = Path(path).read_bytes().strip()
    except OSError as error:
        raise TransportConfigError(f"webhook: secret_file {path}: {error.strerror}") from error
    if len(secret) < SECRET_BYTES:
        raise TransportConfigError(f"webhook: secret_file {path} holds fewer than {SECRET_BYTES} bytes")
    return secret


def existing_file(path: str) -> str:
    """`path`, unchanged. Raises `TransportConfigError` if it is given and no file."""
    if path and not Path(path).is_file():
        raise TransportConfigError(f"webhook: ca_file {path} is not a file")
    return path
