"""A real HTTP server that takes what the webhook transport sends, and can be told to misbehave."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """`requests` has (headers, body) of every request; `answers` what to do with the next ones, then all is sent."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.contents: list[bytes] = []
        self.answers: list[Any] = []
        self.down = False
        self.lock = threading.Lock()

    def take(self, headers: dict[str, str], body: bytes) -> Any:
        """The answer to one request: (status, headers, body), or "drop"."""
        messages = json.loads(body)["messages"]
        with self.lock:
            self.requests.append((headers, body))
            answer = (503, {"Retry-After": "7"}, b"") if self.down else self.answers.pop(0) if self.answers else None
            if answer is None:
                self.contents.extend(base64.b64decode(each["content"]) for each in messages)
                outcomes = [{"id": each["id"], "status": "sent", "reply": "taken"} for each in messages]
                answer = (200, {}, json.dumps({"outcomes": outcomes}).encode())
        return answer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    receiver: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.receiver.take(dict(self.headers), body)
        if answer == "drop":
            self.close_connection = True
            return
        status, headers, content = answer
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = "Content-Length" in headers  # told to lie about the length: then end early

    def log_message(self, *_args: object) -> None:
        pass


@contextmanager
def running_receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    handler = type("BoundHandler", (Handler,), {"receiver": receiver})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
        yield receiver
        server.shutdown()
        thread.join()
