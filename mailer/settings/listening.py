"""Addresses to listen at: how they are written, and whether one can listen there now."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator

Address = tuple[str, int] | str | int
"""As gunicorn gives it: host and port, the path of a Unix socket, or the descriptor of an open socket."""


def address_of(text: str) -> tuple[str, int]:
    """The host and the port of `HOST:PORT`, where an IPv6 address stands in brackets. Raises `ValueError`."""
    host, _, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not bare or (":" in bare) != host.startswith("[") or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ValueError(f"{text!r} is not HOST:PORT with a port from 1 to 65535")
    return bare, int(port)


def refusals(addresses: Iterable[Address]) -> Iterator[str]:
    """For each of `addresses` at which one cannot listen, a sentence that says why. Unix sockets are not tried."""
    for address in addresses:
        if not isinstance(address, tuple):
            continue
        host, port = address[:2]
        try:
            _try(host, port)
        except OverflowError:
            yield f"cannot listen at {_shown(host, port)}: a port is a number up to 65535"
        except OSError as error:
            reason = error.strerror or os.strerror(error.errno or 0)
            yield f"cannot listen at {_shown(host, port)}: {reason[:1].lower()}{reason[1:]}"


def _try(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as the server does, so that closed connections are not in the way
        probe.bind((host, port))


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
