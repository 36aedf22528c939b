"""Checks that the web server can listen at its addresses, before gunicorn retries for seconds and gives up."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator

Address = tuple[str, int] | str | int
"""As gunicorn gives it: host and port, the path of a Unix socket, or the descriptor of an open socket."""


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
