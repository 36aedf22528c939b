"""An HTTP client that costs little: the same request over kept connections, each with one in flight."""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

END = b"\r\n\r\n"
TIMEOUT = 60.0


class BadAnswer(Exception):
    """A request was not answered 200, or not at all."""


@dataclass(frozen=True, slots=True)
class Latencies:
    """Seconds from request to whole answer, sorted; `seconds` for all of them."""

    sorted: tuple[float, ...]
    seconds: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.sorted) / self.seconds

    def percentile(self, percent: int) -> float:
        """The latency that `percent` of the requests do not exceed."""
        return self.sorted[min(len(self.sorted) - 1, len(self.sorted) * percent // 100)]


def request_bytes(path: str, payload: Mapping[str, Any], headers: Mapping[str, str]) -> bytes:
    """A POST of JSON."""
    body = json.dumps(payload).encode()
    named = {"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
    return "\r\n".join(lines).encode() + END + body


class Line:
    """One connection; opened anew when the server has closed it, as it may between two requests."""

    def __init__(self, port: int, request: bytes) -> None:
        self._port = port
        self._request = request
        self.open()

    def open(self) -> None:
        """Connect."""
        self.sock = socket.create_connection(("127.0.0.1", self._port), timeout=TIMEOUT)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self) -> None:
        """Send the request."""
        self._answer = b""
        self.since = time.perf_counter()
        self.sock.sendall(self._request)

    def read(self) -> bool | None:
        """Read on. True: answered; False: more to come; None: closed without a word. Raises `BadAnswer`."""
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data and not self._answer:
            return None
        self._answer += data
        head, found, body = self._answer.partition(END)
        if data and not (found and len(body) >= _length(head)):
            return False
        if not head.startswith(b"HTTP/1.1 200"):
            raise BadAnswer(self._answer[:300].decode(errors="replace"))
        return True


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    raise BadAnswer("an answer without Content-Length")


def hammer(port: int, request: bytes, count: int, connections: int) -> Latencies:
    """Ask `count` times and time each answer. Raises `BadAnswer` for anything but 200."""
    latencies: list[float] = []
    lines = [Line(port, request) for _ in range(min(count, connections))]
    try:
        begun = time.perf_counter()
        with selectors.DefaultSelector() as selector:
            _ask_all(selector, lines, latencies, count)
        return Latencies(tuple(sorted(latencies)), time.perf_counter() - begun)
    finally:
        for line in lines:
            line.sock.close()


def _ask_all(selector: selectors.BaseSelector, lines: list[Line], latencies: list[float], count: int) -> None:
    for line in lines:
        selector.register(line.sock, selectors.EVENT_READ, line)
        line.ask()
    asked = len(lines)
    while len(latencies) < count:
        ready = selector.select(TIMEOUT)
        if not ready:
            raise BadAnswer("no answer in time")
        for key, _ in ready:
            asked += _serve(selector, key.data, latencies, more=asked < count)


def _serve(selector: selectors.BaseSelector, line: Line, latencies: list[float], *, more: bool) -> int:
    """Take what has come on a line and ask again; how many requests were added."""
    answered = line.read()
    if answered is None:
        selector.unregister(line.sock)
        line.sock.close()
        line.open()
        selector.register(line.sock, selectors.EVENT_READ, line)
        line.ask()
        return 0
    if not answered:
        return 0
    latencies.append(time.perf_counter() - line.since)
    if more:
        line.ask()
        return 1
    selector.unregister(line.sock)
    return 0
