"""An SMTP server in a process of its own that keeps a list of what it acknowledged, and misbehaves as it is told."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import re
import ssl
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

MESSAGE_ID = re.compile(rb"^Message-ID: <(.+?)>\r?$", re.MULTILINE)
PROCESSES = multiprocessing.get_context("forkserver")
DROP = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """Answer `verb` (CONNECT, MAIL, RCPT, DATA or DOT) with `reply`, or `DROP` the connection.

    Only for `recipient` if given; only once `after` messages were acknowledged on the connection; at most `times`.
    With `keep` the message is taken all the same, and on the list. `delay` is seconds before the answer.
    """

    verb: str
    reply: str = DROP
    recipient: str | None = None
    after: int = 0
    times: int = 1_000_000
    keep: bool = False
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Kept:
    """One acknowledged message."""

    recipient: str
    message_id: str


class RecordingServer:
    """Where it listens and what it has acknowledged; a line is on the list before its 250 is on the wire."""

    def __init__(self, port: int, path: Path) -> None:
        self.port = port
        self.url = f"smtp://127.0.0.1:{port}"
        self._path = path

    def kept(self) -> list[Kept]:
        """What was acknowledged, in order."""
        return [Kept(*json.loads(line)) for line in self._path.read_text().splitlines()]

    def wait_for(self, count: int, seconds: float = 30.0) -> None:
        """Wait until `count` messages were acknowledged."""
        ends = time.monotonic() + seconds
        while len(self.kept()) < count:
            assert time.monotonic() < ends, f"only {len(self.kept())} messages within {seconds} s"
            time.sleep(0.01)

    def copies(self) -> Counter[str]:
        """How many messages each recipient has."""
        return Counter(kept.recipient for kept in self.kept())


@contextmanager
def recording_smtp(
    folder: Path, *faults: Fault, password: str | None = None, certificate: Path | None = None
) -> Iterator[RecordingServer]:
    """Run the server. `password`: what AUTH demands of anyone; `certificate`: a PEM of key and chain for STARTTLS."""
    path = folder / f"kept-{os.urandom(4).hex()}.ndjson"
    path.touch()
    ours, theirs = PROCESSES.Pipe()
    process = PROCESSES.Process(target=_main, args=(theirs, path, faults, password, certificate), daemon=True)
    process.start()
    try:
        assert ours.poll(20), "the SMTP server did not start"
        yield RecordingServer(ours.recv(), path)
    finally:
        process.kill()
        process.join()


def _main(
    pipe: Connection, path: Path, faults: Sequence[Fault], password: str | None, certificate: Path | None
) -> None:
    asyncio.run(_serve(pipe, path, faults, password, certificate))


async def _serve(
    pipe: Connection, path: Path, faults: Sequence[Fault], password: str | None, certificate: Path | None
) -> None:
    told = Told(path, faults)
    options: dict[str, Any] = {"hostname": "recording.test", "enable_SMTPUTF8": True}
    if password is not None:
        options |= {"authenticator": _demand(password), "auth_required": True, "auth_require_tls": False}
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        options["tls_context"] = context
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: FaultySMTP(told, told, loop=loop, **options), "127.0.0.1", 0)
    pipe.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def _demand(password: str) -> Any:
    def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=data.password == password.encode(), handled=False)

    return authenticate


class Told:
    """aiosmtpd's handler: looks for the fault that applies, else keeps the message."""

    def __init__(self, path: Path, faults: Sequence[Fault]) -> None:
        self._list = path.open("ab", buffering=0)
        self._left = [[fault, fault.times] for fault in faults]

    def find(self, verb: str, recipient: str | None, acknowledged: int) -> Fault | None:
        """The first fault that applies now; it is then used up once more."""
        for place in self._left:
            fault, left = place
            if fault.verb == verb and left and acknowledged >= fault.after and fault.recipient in (None, recipient):
                place[1] -= 1
                return fault
        return None

    def keep(self, envelope: Envelope) -> None:
        """Put the message on the list."""
        found = MESSAGE_ID.search(envelope.original_content or b"")
        line = json.dumps([envelope.rcpt_tos[0], found[1].decode() if found else ""])
        self._list.write(line.encode() + b"\n")

    async def answer(self, server: FaultySMTP, verb: str, recipient: str | None = None) -> str | None:
        """The reply of the fault that applies, None when none does; a drop has no reply."""
        fault = self.find(verb, recipient, server.acknowledged)
        if fault is None:
            return None
        await asyncio.sleep(fault.delay)
        if fault.keep:
            self.keep(server.envelope)
        if fault.reply == DROP or fault.reply.startswith("421"):
            server.hang_up(fault.reply)
        return fault.reply or "451 dropped"

    async def handle_MAIL(  # noqa: N802
        self, server: FaultySMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = await self.answer(server, "MAIL")
        if reply is None:
            envelope.mail_from = address
        return reply or "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: FaultySMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = await self.answer(server, "RCPT", address)
        if reply is None:
            envelope.rcpt_tos.append(address)
        return reply or "250 2.1.5 OK"

    async def handle_DATA(self, server: FaultySMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        reply = await self.answer(server, "DOT", envelope.rcpt_tos[0])
        if reply is None:
            self.keep(envelope)
            server.acknowledged += 1
        return reply or "250 2.0.0 kept"


class FaultySMTP(SMTP):
    """aiosmtpd's server, which can hang up, also at DATA."""

    def __init__(self, told: Told, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._told = told
        self.acknowledged = 0

    def hang_up(self, words: str) -> None:
        """Close the connection, after the last `words` if there are any."""
        if words:
            self.transport.write(words.encode() + b"\r\n")
            self.transport.close()
        else:
            self.transport.abort()

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        recipient = self.envelope.rcpt_tos[0] if self.envelope.rcpt_tos else None
        reply = await self._told.answer(self, "DATA", recipient)
        if reply is None:
            await super().smtp_DATA(arg)
        else:
            await self.push(reply)
