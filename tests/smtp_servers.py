"""SMTP servers for tests: aiosmtpd, which is correct, and a raw socket that pipelines and does what it is told."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

CLOSE = b""  # as a reply: close without one
EXTENSIONS = ("PIPELINING", "SIZE 10000000", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN", "CHUNKING")
DEFAULTS = {
    "CONNECT": b"220 fake.test ESMTP\r\n",
    "MAIL": b"250 2.1.0 Ok\r\n",
    "RCPT": b"250 2.1.5 Ok\r\n",
    "DATA": b"354 Go on\r\n",
    ".": b"250 2.0.0 Ok: queued\r\n",
    "BDAT": b"250 2.0.0 Ok: queued\r\n",
    "RSET": b"250 2.0.0 Ok\r\n",
    "NOOP": b"250 2.0.0 Ok\r\n",
    "QUIT": b"221 2.0.0 Bye\r\n",
    "STARTTLS": b"220 2.0.0 Go on\r\n",
    "AUTH": b"235 2.7.0 Ok\r\n",
    "HELO": b"250 fake.test\r\n",
}


@dataclass(frozen=True)
class Mail:
    """What a server took: the commands' arguments, and the content with its dots undone."""

    mail: str
    rcpt: str
    content: bytes


@dataclass
class FakeServer:
    """`script[verb]` holds replies for that verb's next uses; when they are used up, the usual one is given.

    A reply of several lines is given as it stands; one that is `CLOSE` closes; `closing` names verbs after whose
    scripted reply the connection is closed, `hanging` those after which nothing more is said. `down`: always 421.
    """

    extensions: tuple[str, ...] = EXTENSIONS
    context: ssl.SSLContext | None = None
    implicit_tls: bool = False
    script: dict[str, list[bytes | None]] = field(default_factory=lambda: defaultdict(list))
    closing: set[str] = field(default_factory=set)
    hanging: set[str] = field(default_factory=set)
    down: bool = False
    port: int = 0
    connections: int = 0
    commands: list[str] = field(default_factory=list)
    mails: list[Mail] = field(default_factory=list)
    sockets: list[socket.socket] = field(default_factory=list)

    @property
    def verbs(self) -> list[str]:
        return [command.split(" ")[0].upper() for command in self.commands]

    @property
    def recipients(self) -> list[str]:
        return [re.sub(r"^TO:<(.*?)>.*", r"\1", mail.rcpt) for mail in self.mails]

    def url(self, options: str = "", user: str = "", scheme: str = "smtp") -> str:
        """For one connection at a time, so that the dialogue is all in one place, unless the options say otherwise."""
        one = "" if "connections=" in options else "connections=1"
        return f"{scheme}://{user}127.0.0.1:{self.port}?{'&'.join(filter(None, (one, options)))}"

    def hang_up(self) -> None:
        """Close all connections now."""
        for sock in self.sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def serve(self, sock: socket.socket) -> None:
        self.connections += 1
        self.sockets.append(sock)
        with contextlib.suppress(OSError, ValueError):
            if self.implicit_tls and self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
            Conversation(self, sock).run()
        sock.close()

    def reply(self, verb: str) -> bytes:
        """What to say; `CLOSE` to say nothing."""
        if self.down:
            return b"421 4.3.2 going down\r\n"
        queue = self.script[verb]
        reply = queue.pop(0) if queue else None
        return DEFAULTS.get(verb, b"500 5.5.1 what?\r\n") if reply is None else reply


class Conversation:
    """One connection to a `FakeServer`."""

    def __init__(self, server: FakeServer, sock: socket.socket) -> None:
        self.server = server
        self.wrap(sock)
        self.mail = self.rcpt = ""
        self.open = True

    def wrap(self, sock: socket.socket) -> None:
        self.sock = sock
        self.file: BinaryIO = sock.makefile("rb")

    def run(self) -> None:
        try:
            self.say("CONNECT")
            while self.open and (line := self.file.readline()):
                self.server.commands.append(line.decode(errors="replace").rstrip("\r\n"))
                verb, _, argument = self.server.commands[-1].partition(" ")
                self.obey(verb.upper(), argument)
        finally:
            self.file.close()
            self.sock.close()

    def say(self, verb: str, content: bytes | None = None) -> bytes:
        """Reply, having kept the content if it is thereby accepted."""
        server = self.server
        scripted = server.script[verb][:1] not in ([], [None])
        reply = server.reply(verb)
        if content is not None and reply.startswith(b"2") and self.rcpt:
            server.mails.append(Mail(self.mail, self.rcpt, content))
        self.open = reply != CLOSE and not reply.startswith(b"421") and not (scripted and verb in server.closing)
        self.sock.sendall(reply)
        while scripted and verb in server.hanging and self.sock.recv(4096):
            pass
        return reply

    def obey(self, verb: str, argument: str) -> None:
        if verb == "EHLO" and not self.server.script["EHLO"] and not self.server.down:
            lines = ["fake.test", *self.server.extensions]
            self.sock.sendall(
                "".join(f"250-{line}\r\n" for line in lines[:-1]).encode() + f"250 {lines[-1]}\r\n".encode()
            )
        elif verb == "BDAT":
            self.say("BDAT", self.file.read(int(argument.split(maxsplit=1)[0])))
        elif verb == "AUTH":
            self.authenticate()
        else:
            self.command(verb, argument)

    def command(self, verb: str, argument: str) -> None:
        if verb == "RCPT" and not self.mail and not self.server.script[verb]:
            self.sock.sendall(b"503 5.5.1 need MAIL\r\n")
            return
        reply = self.say(verb)
        good = reply[:1] in {b"2", b"3"}
        if verb == "MAIL":
            self.mail, self.rcpt = (argument, "") if good else ("", "")
        elif verb == "RCPT" and good:
            self.rcpt = argument
        elif verb == "DATA" and reply.startswith(b"354") and self.open:
            self.say(".", self.read_data())
        elif verb == "STARTTLS" and good and self.server.context:
            self.wrap(self.server.context.wrap_socket(self.sock, server_side=True))
        elif verb in {"QUIT"}:
            self.open = False

    def authenticate(self) -> None:
        while self.say("AUTH").startswith(b"334"):
            self.server.commands.append(self.file.readline().decode().rstrip("\r\n"))

    def read_data(self) -> bytes:
        lines = []
        while (line := self.file.readline()) != b".\r\n":
            if not line:
                raise ConnectionError
            lines.append(line.removeprefix(b"."))
        return b"".join(lines)


@contextmanager
def running(server: FakeServer) -> Iterator[FakeServer]:
    """Serve on a free loopback port until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    server.port = listener.getsockname()[1]
    threads: list[threading.Thread] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                sock.settimeout(30)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threads.append(threading.Thread(target=server.serve, args=(sock,), daemon=True))
                threads[-1].start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        server.hang_up()
        for thread in (acceptor, *threads):
            thread.join(10)


class Recorder:
    """aiosmtpd's handler: keeps what was accepted."""

    def __init__(self) -> None:
        self.contents: list[bytes] = []
        self.recipients: list[str] = []
        self.senders: list[str] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        self.contents.append(envelope.content)
        self.recipients.extend(envelope.rcpt_tos)
        self.senders.append(str(envelope.mail_from))
        return "250 2.0.0 Ok"


@dataclass
class RealServer:
    """aiosmtpd at `port`."""

    recorder: Recorder
    port: int = 0


def log_in(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    return AuthResult(success=(data.login, data.password) == (b"ann", "pässword".encode()), handled=False)


@contextmanager
def running_aiosmtpd(**options: Any) -> Iterator[RealServer]:
    """A correct server; `options` are those of `aiosmtpd.smtp.SMTP`."""
    real = RealServer(Recorder())
    ready = threading.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> asyncio.Server:
        def factory() -> SMTP:
            return SMTP(real.recorder, hostname="aio.test", enable_SMTPUTF8=True, loop=loop, **options)

        server = await loop.create_server(factory, "127.0.0.1", 0)
        real.port = server.sockets[0].getsockname()[1]
        ready.set()
        return server

    async def stop(server: asyncio.Server) -> None:
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def run() -> None:
        server = loop.run_until_complete(serve())
        loop.run_forever()
        loop.run_until_complete(stop(server))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield real
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def make_certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate for 127.0.0.1 as a CA file, and a server's context that shows it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=fake.test", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context
