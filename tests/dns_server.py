"""A DNS server for tests: UDP and TCP on one port of the loopback address, and a table of records in place of zones."""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

Records = Mapping[str, Sequence[str]]  # "example.org TXT" → values as a zone file has them
SMALL = 512  # octets of an answer over UDP where the question names no larger size (RFC 1035 section 4.2.1)


@dataclass
class DnsServer:
    """`failing` names are answered with SERVFAIL, and `silent` ones not at all. `asked` are all questions, in order."""

    port: int
    records: dict[str, Sequence[str]] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)  # "UDP" or "TCP", and "example.org TXT"

    @property
    def place(self) -> str:
        """As `--resolver` takes it."""
        return f"127.0.0.1:{self.port}"

    def forget(self) -> None:
        """Know nothing any more."""
        for known in (self.records, self.failing, self.silent, self.asked):
            known.clear()

    def answer(self, wire: bytes, how: str) -> bytes | None:
        """The answer to a question; None: silence."""
        query = dns.message.from_wire(wire)
        [question] = query.question
        name = question.name.to_text(omit_final_dot=True).lower()
        key = f"{name} {dns.rdatatype.to_text(question.rdtype)}"
        self.asked.append((how, key))
        if name in self.silent:
            return None
        response = dns.message.make_response(query, recursion_available=True)
        if name in self.failing:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif values := self._values(name, key, response):
            response.answer.append(dns.rrset.from_text_list(question.name, 60, "IN", key.split()[1], values))
        elif not any(known.split()[0] == name for known in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return self._fitting(response, max(query.payload, SMALL) if how == "UDP" else 65_535)

    def _values(self, name: str, key: str, response: dns.message.Message) -> Sequence[str]:
        alias = self.records.get(f"{name} CNAME")
        if not alias or key in self.records:
            return self.records.get(key, ())
        response.answer.append(dns.rrset.from_text_list(f"{name}.", 60, "IN", "CNAME", alias))
        target, kind = alias[0].removesuffix("."), key.split()[1]
        if values := self.records.get(f"{target} {kind}"):
            response.answer.append(dns.rrset.from_text_list(alias[0], 60, "IN", kind, values))
        return ()

    @staticmethod
    def _fitting(response: dns.message.Message, size: int) -> bytes:
        wire = response.to_wire(max_size=65_535)
        if len(wire) <= size:
            return wire
        response.answer.clear()
        response.flags |= dns.flags.TC
        return response.to_wire()


class _UDP(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        octets, socket = self.request
        answer = self.server.dns.answer(octets, "UDP")  # type: ignore[attr-defined]
        if answer is not None:
            socket.sendto(answer, self.client_address)


class _TCP(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while head := self.rfile.read(2):  # some ask several questions on one connection
            [length] = struct.unpack("!H", head)
            answer = self.server.dns.answer(self.rfile.read(length), "TCP")  # type: ignore[attr-defined]
            if answer is not None:
                self.wfile.write(struct.pack("!H", len(answer)) + answer)


def texts_as_records(texts: Mapping[str, str]) -> dict[str, Sequence[str]]:
    """A TXT record for each name: its text in strings of at most 255 octets (RFC 1035 section 3.3.14)."""
    return {
        f"{name} TXT": [" ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))]
        for name, text in texts.items()
    }


@contextmanager
def dns_server(records: Records = {}, **more: Any) -> Iterator[DnsServer]:  # noqa: B006 - it is copied
    """A server that answers from `records` until the end of the block."""
    with _listening() as (udp, tcp):
        server = DnsServer(udp.server_address[1], dict(records), **more)
        threads = [threading.Thread(target=one.serve_forever, args=(0.02,)) for one in (udp, tcp)]
        for one, thread in zip((udp, tcp), threads, strict=True):
            one.dns = server  # type: ignore[attr-defined]
            thread.start()
        try:
            yield server
        finally:
            for one, thread in zip((udp, tcp), threads, strict=True):
                one.shutdown()
                thread.join()


@contextmanager
def _listening() -> Iterator[tuple[socketserver.UDPServer, socketserver.TCPServer]]:
    """Both on one port: TCP takes one that is free, and if it is not free for UDP, another."""
    for _ in range(50):
        tcp = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _TCP)
        try:
            udp = socketserver.UDPServer(tcp.server_address[:2], _UDP)  # type: ignore[arg-type]
        except OSError:
            tcp.server_close()
            continue
        with tcp, udp:
            yield udp, tcp
        return
    raise RuntimeError("no port is free for both")
