"""A DNS server on the loopback address that has TXT records, and says of all other names that there are none."""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


def answer(asked: bytes, texts: Mapping[str, str], room: int) -> bytes:
    """What to say, in at most `room` octets: what does not fit is asked for again over TCP."""
    query = dns.message.from_wire(asked)
    response = dns.message.make_response(query)
    question = query.question[0]
    text = texts.get(question.name.to_text(omit_final_dot=True).lower())
    if text is None:
        response.set_rcode(dns.rcode.NXDOMAIN)
    elif question.rdtype == dns.rdatatype.TXT:
        strings = " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))
        response.answer.append(dns.rrset.from_text(question.name, 60, "IN", "TXT", strings))
    wire = response.to_wire()
    if len(wire) > max(room, query.payload):
        response.answer.clear()
        response.flags |= dns.flags.TC
        wire = response.to_wire()
    return wire


@contextmanager
def txt_server(texts: Mapping[str, str]) -> Iterator[int]:
    """Serve by UDP and TCP on one free port until the block ends. `texts` may change meanwhile."""

    class Datagram(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            asked, sock = self.request
            sock.sendto(answer(asked, texts, 512), self.client_address)

    class Stream(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while head := self.rfile.read(2):
                wire = answer(self.rfile.read(struct.unpack("!H", head)[0]), texts, 65_535)
                self.wfile.write(struct.pack("!H", len(wire)) + wire)

    socketserver.ThreadingTCPServer.allow_reuse_address = True
    with ExitStack() as stack:
        tcp, udp = both_on_one_port(Stream, Datagram)
        port = int(tcp.server_address[1])
        stack.callback(tcp.server_close)
        stack.callback(udp.server_close)
        for server in (udp, tcp):
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            stack.callback(server.shutdown)
        yield port


def both_on_one_port(stream: type, datagram: type) -> tuple[socketserver.TCPServer, socketserver.UDPServer]:
    """A port that is free for one protocol may be taken for the other, so some are tried."""
    for _ in range(20):
        tcp = socketserver.ThreadingTCPServer(("127.0.0.1", 0), stream)
        tcp.daemon_threads = True
        try:
            return tcp, socketserver.ThreadingUDPServer(("127.0.0.1", int(tcp.server_address[1])), datagram)
        except OSError:
            tcp.server_close()
    raise OSError("no port is free for both")
