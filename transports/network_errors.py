"""Says in words for people why a server did not answer; the errors of sockets, TLS and requests are for programmers."""

from __future__ import annotations

import ssl
import subprocess

import requests
import urllib3

_WORDS: dict[type[BaseException], str] = {
    urllib3.exceptions.NameResolutionError: "there is no such host",
    requests.exceptions.ProxyError: "the proxy does not let it through",
    requests.exceptions.InvalidURL: "it is not an address",
    requests.ConnectTimeout: "it takes no connection in time",
    requests.ReadTimeout: "it takes too long to answer",
    urllib3.exceptions.ReadTimeoutError: "it takes too long to answer",
    subprocess.TimeoutExpired: "it takes too long",
}


def in_words(error: BaseException) -> str:
    """A few words for the error, from the first of its causes that says something; no URL, which may hold a secret."""
    causes = _causes(error)
    certificate = next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None)
    if certificate is not None:
        return f"TLS failed: {getattr(certificate, 'verify_message', None) or certificate.reason or 'no agreement'}"
    for kind, words in _WORDS.items():
        if any(isinstance(cause, kind) for cause in causes):
            return words
    told = (cause.strerror for cause in causes if isinstance(cause, OSError) and isinstance(cause.strerror, str))
    silent = any(isinstance(cause, TimeoutError) for cause in causes)
    return next(filter(None, told), "it takes too long" if silent else "the connection broke off")


def never_arrived(error: requests.RequestException) -> bool:
    """Whether the request was certainly not sent: there was no connection to send it on."""
    return any(isinstance(cause, _NO_CONNECTION) for cause in _causes(error))


_NO_CONNECTION = (
    requests.ConnectTimeout,
    requests.exceptions.InvalidURL,
    requests.exceptions.ProxyError,
    requests.exceptions.SSLError,
    urllib3.exceptions.NewConnectionError,
)


def _causes(error: BaseException) -> list[BaseException]:
    """The error, its arguments and what it was raised from: requests and urllib3 wrap each other's errors."""
    found: list[BaseException] = []
    left: list[object] = [error]
    while left:
        one = left.pop(0)
        if isinstance(one, BaseException) and one not in found:
            found.append(one)
            left += [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]
    return found
