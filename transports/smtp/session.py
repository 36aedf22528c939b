"""Opening an SMTP session: connect, greeting, EHLO, STARTTLS, AUTH. The one place that opens SMTP connections.

smtplib does it, with our reader of replies in place of its own: ours limits how long a reply may be and may take. The
socket then goes to the mail dialogue. Whatever goes wrong here is raised as `TransportUnavailable`.
"""

from __future__ import annotations

import ipaddress
import smtplib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from transports.answers.replies import Reply, printable
from transports.base import TransportUnavailable
from transports.smtp.auth import Credentials, LoginFailed, authenticate
from transports.smtp.connection import Connection, ConnectionLost, reason_of
from transports.smtp.errors import about_reply, unavailable
from transports.smtp.settings import SMTPSettings
from transports.smtp.transactions import Extensions

NOOP = b"NOOP\r\n"
NOOP_AFTER = 1.0  # seconds unused: after that, looking at the socket does not tell whether the server is still there
NOOP_TIMEOUT = 10.0  # seconds
QUIT_TIMEOUT = 2.0


@dataclass(slots=True)
class Session:
    """An SMTP session that is ready for MAIL."""

    connection: Connection
    extensions: Extensions
    transaction_count: int = 0  # that were begun on it
    idle_since: float = 0.0  # when it was last given back to the pool, on the monotonic clock

    def is_alive(self, now: float) -> bool:
        """Whether it can be used again. Sends NOOP if it has been idle for `NOOP_AFTER` seconds or more."""
        if not self.connection.is_idle():
            return False
        return now - self.idle_since < NOOP_AFTER or _code(self._command(NOOP, NOOP_TIMEOUT)) == 250

    def check(self) -> None:
        """Raise `TransportUnavailable` unless the server accepts NOOP."""
        reply = self._command(NOOP, NOOP_TIMEOUT)
        if reply is None:
            raise unavailable(self.connection.endpoint, "NOOP was not answered")
        if reply.code == 530:
            hint = "the server wants a login: give the URL a user name and a password"
            raise unavailable(self.connection.endpoint, f"{hint} (NOOP was answered {reply})")
        if reply.code != 250:
            raise unavailable(self.connection.endpoint, f"NOOP was answered {reply}", about_reply(reply))

    def quit(self) -> None:
        """Send QUIT, wait for the reply for a moment, and close."""
        self._command(b"QUIT\r\n", QUIT_TIMEOUT)
        self.connection.close()

    def drop(self) -> None:
        """Close without QUIT, whatever the state of the session."""
        self.connection.close()

    def _command(self, command: bytes, timeout: float) -> Reply | None:
        try:
            self.connection.write(command, timeout)
            return self.connection.read_reply()
        except ConnectionLost:
            return None


def _code(reply: Reply | None) -> int:
    return reply.code if reply else 0


class _Client(smtplib.SMTP):
    """smtplib's client with our reply reader."""

    reply_timeout = 300.0  # seconds
    endpoint = ""
    _connection: tuple[socket.socket, Connection] | None = None

    def getreply(self) -> tuple[int, bytes]:
        """Read one reply within `reply_timeout` seconds. More than one is refused: it could answer what comes later."""
        connection = self.connection()
        connection.start_timeout(self.reply_timeout)
        reply = connection.read_reply()
        if not connection.is_drained:
            raise ConnectionLost("the server said more than it was asked", 0)
        return reply.code, "\n".join(reply.lines).encode()

    def connection(self) -> Connection:
        """Our connection over the socket that smtplib uses now: STARTTLS replaces it."""
        sock = self.open_socket()
        if self._connection is None or self._connection[0] is not sock:
            self._connection = sock, Connection(sock, self.endpoint)
        return self._connection[1]

    def open_socket(self) -> socket.socket:
        """The socket. Raises `ConnectionLost` where smtplib has closed it after an error."""
        if self.sock is None:
            raise ConnectionLost("the server closed the connection", 0)
        return self.sock


class _TLSClient(_Client, smtplib.SMTP_SSL):
    """The same over a connection that is TLS from its start (RFC 8314 section 3.3)."""


def open_session(settings: SMTPSettings) -> Session:
    """Connect, greet, encrypt and log in as `settings` say. Raises `TransportUnavailable`."""
    client = _client(settings)
    try:
        with _stage(client.endpoint, "connect"):
            _require(client, 220, "the greeting", client.connect(settings.host, settings.port))
            client.open_socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.local_hostname = settings.helo or _own_name(client.open_socket())
        _ehlo(client)
        if settings.starttls:
            _start_tls(client, settings)
        if settings.credentials is not None:
            _log_in(client, settings.credentials)
        return Session(client.connection(), Extensions.from_ehlo(client.esmtp_features))
    except BaseException:
        client.close()
        raise


def _client(settings: SMTPSettings) -> _Client:
    # local_hostname is given so that smtplib does not ask the DNS for it; the real one is set once connected.
    if settings.implicit_tls:
        client: _Client = _TLSClient(local_hostname="", timeout=settings.connect_timeout, context=settings.context)
    else:
        client = _Client(local_hostname="", timeout=settings.connect_timeout)
    client._host = settings.host  # type: ignore[attr-defined]  # what the certificate is checked against
    client.reply_timeout = settings.timeouts.command
    client.endpoint = settings.endpoint
    return client


def _ehlo(client: _Client) -> None:
    with _stage(client.endpoint, "EHLO"):
        code, text = client.ehlo()
        if code in {500, 502}:
            code, text = client.helo()
        _require(client, 250, "EHLO", (code, text))


def _start_tls(client: _Client, settings: SMTPSettings) -> None:
    if not client.has_extn("starttls"):
        raise unavailable(client.endpoint, "the server does not offer STARTTLS")
    with _stage(client.endpoint, "STARTTLS"):
        client.starttls(context=settings.context)
    _ehlo(client)


def _log_in(client: _Client, credentials: Credentials) -> None:
    def ask(line: str) -> Reply:
        client.putcmd(line)
        code, text = client.getreply()
        return Reply(code, tuple(text.decode().split("\n")))

    with _stage(client.endpoint, "login"):
        authenticate(ask, credentials, client.esmtp_features.get("auth", ""))


def _require(client: _Client, code: int, what: str, answer: tuple[int, bytes]) -> None:
    if answer[0] != code:
        raise _unexpected_reply(client.endpoint, what, *answer)


def _unexpected_reply(endpoint: str, what: str, code: int, text: bytes) -> TransportUnavailable:
    reply = Reply(code, (printable(text),))
    return unavailable(endpoint, f"{what} was answered {reply}", about_reply(reply))


@contextmanager
def _stage(endpoint: str, name: str) -> Iterator[None]:
    """Turn whatever goes wrong in the stage `name` of opening into `TransportUnavailable`, which names the stage."""
    try:
        yield
    except smtplib.SMTPResponseException as error:
        raise _unexpected_reply(endpoint, name, error.smtp_code, as_bytes(error.smtp_error)) from error
    except smtplib.SMTPServerDisconnected as error:
        raise unavailable(endpoint, f"{name}: the server closed the connection") from error
    except LoginFailed as error:
        raise unavailable(endpoint, str(error)) from error
    except ConnectionLost as error:
        raise unavailable(endpoint, f"{name}: {error}") from error
    except OSError as error:
        raise unavailable(endpoint, f"{name}: {reason_of(error)}") from error


def as_bytes(text: str | bytes) -> bytes:
    """`text` as bytes: smtplib gives error texts as either."""
    return text if isinstance(text, bytes) else text.encode()


def _own_name(sock: socket.socket) -> str:
    """Our address as a literal (RFC 5321 section 4.1.3), for EHLO: true on every machine, and needs no DNS."""
    address = ipaddress.ip_address(sock.getsockname()[0].partition("%")[0])
    return f"[{address}]" if address.version == 4 else f"[IPv6:{address}]"
