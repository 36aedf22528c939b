"""A Rocket.Chat workspace as its published API pages have it, over real HTTP on a free port."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

LOGGED_OUT = {"status": "error", "message": "You must be logged in to do this."}
UNAUTHORIZED = {"status": "error", "error": "Unauthorized", "message": "Unauthorized"}
TOTP = {"success": False, "error": "TOTP Required [totp-required]", "errorType": "totp-required"}
TOO_MANY = {"success": False, "error": "Error, too many requests. Please slow down. [error-too-many-requests]"}


def member(name: str, **changes: Any) -> dict[str, Any]:
    """A user as users.list shows them to an administrator."""
    emails = [{"address": f"{name}@example.com", "verified": True}]
    user = {"_id": name, "username": name, "name": name.title(), "type": "user", "active": True, "emails": emails}
    return {**user, "status": "offline", "roles": ["user"], "createdAt": "2015-01-01T00:00:00.000Z", **changes}


class FakeWorkspace:
    """`users` is its directory; `tokens` are (user id, token) pairs; `before` is called with the number of a request.

    What `before` returns, if anything, is the answer: a status, a body and headers.
    """

    def __init__(self, *users: dict[str, Any], cap: int = 100) -> None:
        self.users = {user["_id"]: user for user in users}
        self.tokens = {("admin", "secret"): {"roles": ["admin"], "active": True}}
        self.passwords: dict[str, str] = {}  # by user id; who logs in gets a token
        self.codes: dict[str, str] = {}  # by user id: who needs a second factor
        self.cap = cap
        self.offsets: list[int] = []
        self.requests = 0
        self.before: Callable[[int], tuple[int, Any, dict[str, str]] | None] = lambda _number: None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FakeWorkspace:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def posted(self, path: str, headers: Any, body: Any) -> tuple[int, Any, dict[str, str]]:
        """The same for one POST."""
        self.requests += 1
        interfered = self.before(self.requests)
        if interfered:
            return interfered
        caller = headers.get("X-User-Id"), headers.get("X-Auth-Token")
        if path == "/api/v1/login":
            return self._login(headers, body)
        if path == "/api/v1/logout" and self.tokens.pop(caller, None):
            return 200, {"status": "success", "data": {"message": "You've been logged out!"}}, {}
        return 401, LOGGED_OUT, {}

    def _login(self, headers: Any, body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        name = body.get("user") or body.get("username")
        if name not in self.passwords or self.passwords[name] != body.get("password"):
            return 401, UNAUTHORIZED, {}
        code = headers.get("x-2fa-code") if headers.get("x-2fa-method") == "totp" else body.get("code")
        if name in self.codes and self.codes[name] != code:
            return 400, {**TOTP, "details": {"method": "totp", "availableMethods": ["totp"]}}, {}
        token = f"{name}-{self.requests}"
        self.tokens[name, token] = {"roles": ["admin"], "active": True}
        me = {"_id": name, "username": name}
        data = {"userId": name, "authToken": token, "me": me}
        return 200, {"status": "success", "data": data}, {"Set-Cookie": "rc_token=stolen; Path=/"}

    def answer(self, path: str, headers: Any) -> tuple[int, Any, dict[str, str]]:
        """The status, body and headers for one GET."""
        self.requests += 1
        interfered = self.before(self.requests)
        if interfered:
            return interfered
        caller = headers.get("X-User-Id"), headers.get("X-Auth-Token")
        account = self.tokens.get(caller)
        if account is None:
            return 401, LOGGED_OUT, {}
        parts = urlsplit(path)
        if parts.path == "/api/v1/me":
            return 200, {"_id": caller[0], "username": caller[0], **account, "success": True}, {}
        if parts.path == "/api/v1/users.list":
            return 200, self.page({name: values[0] for name, values in parse_qs(parts.query).items()}), {}
        return 404, {"success": False, "error": "Not found"}, {}

    def page(self, query: dict[str, str]) -> dict[str, Any]:
        offset, count = int(query.get("offset", 0)), min(self.cap, int(query.get("count", 50)))
        (by, direction), *_ = json.loads(query.get("sort", '{"username": 1}')).items()
        found = sorted(self.users.values(), key=lambda user: user.get(by, ""), reverse=direction == -1)
        self.offsets.append(offset)
        page = found[offset : offset + count]
        return {"users": page, "count": len(page), "offset": offset, "total": len(found), "success": True}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        workspace = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._send(*workspace.answer(self.path, self.headers))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
                self._send(*workspace.posted(self.path, self.headers, body))

            def _send(self, status: int, body: Any, headers: dict[str, str]) -> None:
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def slow_down(seconds: float) -> tuple[int, Any, dict[str, str]]:
    """Rocket.Chat's 429, with the time of its reset in milliseconds."""
    return 429, TOO_MANY, {"X-RateLimit-Reset": str(int((time.time() + seconds) * 1000))}
