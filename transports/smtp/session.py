"""Opening a session: connect, greeting, EHLO, STARTTLS, AUTH. The one place that opens SMTP connections.

smtplib does the opening; its reply reader is replaced by ours, which bounds a reply's size and the time it may take,
and the socket is then handed to the mail dialogue. Whatever goes wrong here is `TransportUnavailable`.
"""

from __future__ import annotations

import ipaddress
import smtplib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from transports.base import TransportUnavailable
from transports.smtp.auth import Credentials, LoginTrouble, authenticate
from transports.smtp.errors import about_reply, unavailable
from transports.smtp.framing import Extensions
from transports.smtp.replies import Reply, printable
from transports.smtp.settings import SMTPSettings
from transports.smtp.wire import ConnectionLost, Wire, reason

NOOP = b"NOOP\r\n"
PROBE_AFTER = 1.0  # seconds unused: a look at the socket no longer tells whether the other side is there
PROBE_PATIENCE = 10.0
GOODBYE_PATIENCE = 2.0


@dataclass(slots=True)
class Session:
    """A connection that is ready for MAIL."""

    wire: Wire
    extensions: Extensions
    carried: int = 0  # messages that were begun on it
    rested_at: float = 0.0  # when it was last put back, on the monotonic clock

    def alive(self, now: float) -> bool:
        """Whether it can be used again. Sends NOOP if it has rested for more than a moment."""
        if not self.wire.quiet():
            return False
        return now - self.rested_at < PROBE_AFTER or _code(self._says(NOOP, PROBE_PATIENCE)) == 250

    def confirm(self) -> None:
        """Raise `TransportUnavailable` unless the server answers."""
        reply = self._says(NOOP, PROBE_PATIENCE)
        if reply is None:
            raise unavailable(self.wire.place, "NOOP was not answered")
        if reply.code == 530:
            hint = "the server wants a login: give the URL a user name and a password"
            raise unavailable(self.wire.place, f"{hint} (NOOP was answered {reply})")
        if reply.code != 250:
            raise unavailable(self.wire.place, f"NOOP was answered {reply}", about_reply(reply))

    def quit(self) -> None:
        """Say goodbye and close."""
        self._says(b"QUIT\r\n", GOODBYE_PATIENCE)
        self.wire.close()

    def drop(self) -> None:
        """Close without a word, in the middle of whatever it was."""
        self.wire.close()

    def _says(self, command: bytes, patience: float) -> Reply | None:
        try:
            self.wire.write(command, patience)
            return self.wire.reply()
        except ConnectionLost:
            return None


def _code(reply: Reply | None) -> int:
    return reply.code if reply else 0


class _Client(smtplib.SMTP):
    """smtplib's client with our reply reader."""

    patience = 300.0
    place = ""
    _wire: tuple[socket.socket, Wire] | None = None

    def getreply(self) -> tuple[int, bytes]:
        """Read one reply within `patience` seconds altogether; nothing may follow it unasked."""
        wire = self.wire()
        wire.allow(self.patience)
        reply = wire.reply()
        if not wire.settled:
            raise ConnectionLost("the server said more than it was asked", 0)
        return reply.code, "\n".join(reply.lines).encode()

    def wire(self) -> Wire:
        """The wire over the socket of the moment; smtplib changes it at STARTTLS."""
        sock = self.connected()
        if self._wire is None or self._wire[0] is not sock:
            self._wire = sock, Wire(sock, self.place)
        return self._wire[1]

    def connected(self) -> socket.socket:
        """The socket, which smtplib drops when an error closes it."""
        if self.sock is None:
            raise ConnectionLost("the server closed the connection", 0)
        return self.sock


class _TLSClient(_Client, smtplib.SMTP_SSL):
    """The same over a connection that is TLS from its start (RFC 8314 section 3.3)."""


def open_session(settings: SMTPSettings) -> Session:
    """Connect, greet, encrypt and log in as `settings` say. Raises `TransportUnavailable`."""
    client = _client(settings)
    try:
        with _stage(client.place, "connect"):
            _demand(client, 220, "the greeting", client.connect(settings.host, settings.port))
            client.connected().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.local_hostname = settings.helo or _own_name(client.connected())
        _greet(client)
        if settings.starttls:
            _encrypt(client, settings)
        if settings.credentials is not None:
            _log_in(client, settings.credentials)
        return Session(client.wire(), Extensions.from_ehlo(client.esmtp_features))
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
    client.patience = settings.patience.command
    client.place = settings.place
    return client


def _greet(client: _Client) -> None:
    with _stage(client.place, "EHLO"):
        code, text = client.ehlo()
        if code in {500, 502}:
            code, text = client.helo()
        _demand(client, 250, "EHLO", (code, text))


def _encrypt(client: _Client, settings: SMTPSettings) -> None:
    if not client.has_extn("starttls"):
        raise unavailable(client.place, "the server does not offer STARTTLS")
    with _stage(client.place, "STARTTLS"):
        client.starttls(context=settings.context)
    _greet(client)


def _log_in(client: _Client, credentials: Credentials) -> None:
    def ask(line: str) -> Reply:
        client.putcmd(line)
        code, text = client.getreply()
        return Reply(code, tuple(text.decode().split("\n")))

    with _stage(client.place, "login"):
        authenticate(ask, credentials, client.esmtp_features.get("auth", ""))


def _demand(client: _Client, code: int, what: str, answer: tuple[int, bytes]) -> None:
    if answer[0] != code:
        raise _answered(client.place, what, *answer)


def _answered(place: str, what: str, code: int, text: bytes) -> TransportUnavailable:
    reply = Reply(code, (printable(text),))
    return unavailable(place, f"{what} was answered {reply}", about_reply(reply))


@contextmanager
def _stage(place: str, name: str) -> Iterator[None]:
    """The one table from what goes wrong in opening to the error that is raised."""
    try:
        yield
    except smtplib.SMTPResponseException as error:
        raise _answered(place, name, error.smtp_code, as_bytes(error.smtp_error)) from error
    except smtplib.SMTPServerDisconnected as error:
        raise unavailable(place, f"{name}: the server closed the connection") from error
    except LoginTrouble as error:
        raise unavailable(place, str(error)) from error
    except ConnectionLost as error:
        raise unavailable(place, f"{name}: {error}") from error
    except OSError as error:
        raise unavailable(place, f"{name}: {reason(error)}") from error


def as_bytes(text: str | bytes) -> bytes:
    """smtplib gives either."""
    return text if isinstance(text, bytes) else text.encode()


def _own_name(sock: socket.socket) -> str:
    """An address literal (RFC 5321 section 4.1.3): true on every machine, and needs no look-up."""
    address = ipaddress.ip_address(sock.getsockname()[0].partition("%")[0])
    return f"[{address}]" if address.version == 4 else f"[IPv6:{address}]"
