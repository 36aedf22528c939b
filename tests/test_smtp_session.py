"""Opening a session: TLS, logins, and servers that greet badly."""

from __future__ import annotations

import base64
import hmac
import logging
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.smtp_servers import CLOSE, EXTENSIONS, FakeServer, log_in, make_certificate, running, running_aiosmtpd
from transports import TransportUnavailable
from transports.base import Message, Status
from transports.smtp import SMTPTransport

USER = "ann:p%C3%A4ssword@"
MESSAGE = Message("m1", "s@example.org", "r@example.org", b"Subject: x\r\n\r\nHi\r\n")


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with running(FakeServer()) as server:
        yield server


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def check(url: str) -> None:
    with closing(SMTPTransport.from_url(url)) as transport:
        transport.check()


def send_one(url: str) -> Status:
    with closing(SMTPTransport.from_url(url)) as transport:
        (outcome,) = transport.send([MESSAGE])
        return outcome.status


def fails(url: str) -> str:
    with pytest.raises(TransportUnavailable) as caught:
        check(url)
    return str(caught.value)


@pytest.mark.parametrize(
    ("verb", "reply", "problem"),
    [
        ("CONNECT", b"554 5.3.2 no service\r\n", "the greeting was answered 554 5.3.2 no service"),
        ("CONNECT", b"421 too many from ann@example.org\r\n", "greeting was answered 421 too many from <address>"),
        ("CONNECT", CLOSE, "connect: the server closed the connection"),
        ("CONNECT", b"SSH-2.0-OpenSSH\r\n", "connect: the server's answer is not an SMTP reply"),
        ("CONNECT", b"220-" + b"x" * 100_000, "connect: the server's reply is too long"),
        ("CONNECT", b"220-x\r\n" * 10_000, "connect: the server's reply is too long"),
        ("EHLO", b"550 5.7.1 go away\r\n", "EHLO was answered 550 5.7.1 go away"),
        ("EHLO", b"250-x\r\n" * 10_000, "EHLO: the server's reply is too long"),
        ("EHLO", CLOSE, "EHLO: the server closed the connection"),
        ("NOOP", b"421 4.3.2 no\r\n", "does not answer NOOP"),
    ],
)
def test_bad_start(server: FakeServer, verb: str, reply: bytes, problem: str) -> None:
    server.script[verb] = [reply]

    assert problem in fails(server.url())


def test_nobody_listens(server: FakeServer) -> None:
    assert "connect: Connection refused" in fails("smtp://127.0.0.1:1")


def test_silent_server_times_out(server: FakeServer) -> None:
    server.script["CONNECT"] = [b"220-wait\r\n"]

    assert "connect: timed out" in fails(server.url("command_timeout=100ms"))


def test_old_server_is_greeted_with_helo(server: FakeServer) -> None:
    server.script["EHLO"] = [b"502 5.5.1 unknown\r\n"]

    assert send_one(server.url()) is Status.SENT
    assert server.commands[:3] == ["ehlo [127.0.0.1]", "helo [127.0.0.1]", "MAIL FROM:<s@example.org>"]


def test_helo_name_is_used(server: FakeServer) -> None:
    check(server.url("helo=me.example.org"))

    assert server.commands[0] == "ehlo me.example.org"


def test_starttls_is_used_and_verified(server: FakeServer, certificate: tuple[Path, ssl.SSLContext]) -> None:
    server.extensions, server.context = ("STARTTLS", *EXTENSIONS), certificate[1]

    assert send_one(server.url(f"starttls=require&cafile={certificate[0]}")) is Status.SENT
    assert server.verbs[:4] == ["EHLO", "STARTTLS", "EHLO", "MAIL"]


def test_implicit_tls_is_used_and_verified(server: FakeServer, certificate: tuple[Path, ssl.SSLContext]) -> None:
    server.context, server.implicit_tls = certificate[1], True

    assert send_one(server.url(f"cafile={certificate[0]}", scheme="smtps")) is Status.SENT


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_untrusted_certificate(server: FakeServer, certificate: tuple[Path, ssl.SSLContext], scheme: str) -> None:
    server.extensions, server.context = ("STARTTLS", *EXTENSIONS), certificate[1]
    server.implicit_tls = scheme == "smtps"

    problem = fails(server.url("" if server.implicit_tls else "starttls=require", USER, scheme))

    assert "the certificate cannot be trusted: self" in problem
    assert "AUTH" not in server.verbs


def test_certificate_for_another_host(server: FakeServer, certificate: tuple[Path, ssl.SSLContext]) -> None:
    server.context, server.implicit_tls = certificate[1], True

    url = server.url(f"cafile={certificate[0]}", scheme="smtps").replace("127.0.0.1", "localhost")

    assert "the certificate cannot be trusted: Hostname mismatch" in fails(url)


@pytest.mark.parametrize(
    ("offered", "reply", "problem"),
    [
        pytest.param(EXTENSIONS, None, "does not offer STARTTLS", id="hidden"),
        pytest.param(("STARTTLS",), b"454 4.7.0 not now\r\n", "STARTTLS was answered 454 4.7.0 not now", id="refused"),
        pytest.param(("STARTTLS",), b"220 go\r\n250 injected\r\n", "said more than it was asked", id="injected"),
        pytest.param(("STARTTLS",), CLOSE, "STARTTLS: the server closed the connection", id="closed"),
        pytest.param(("STARTTLS",), b"220 go\r\n", "STARTTLS: ", id="no handshake"),
    ],
)
def test_starttls_trouble_sends_no_password(
    server: FakeServer, offered: tuple[str, ...], reply: bytes | None, problem: str
) -> None:
    server.extensions = offered
    server.script["STARTTLS"] = [reply]
    server.closing = {"STARTTLS"}

    assert problem in fails(server.url("starttls=require&command_timeout=500ms", USER))
    assert "AUTH" not in server.verbs


@pytest.mark.parametrize("mechanism", ["auto", "plain", "login"])
def test_login_at_a_real_server(mechanism: str) -> None:
    with running_aiosmtpd(authenticator=log_in, auth_require_tls=False) as real:
        assert send_one(f"smtp://{USER}127.0.0.1:{real.port}?auth={mechanism}") is Status.SENT
        assert "535" in fails(f"smtp://ann:wrong@127.0.0.1:{real.port}?auth={mechanism}")


def test_cram_md5_answers_the_challenge(server: FakeServer) -> None:
    server.extensions = ("AUTH CRAM-MD5",)
    challenge = b"<1896.697170952@fake.test>"
    server.script["AUTH"] = [b"334 " + base64.b64encode(challenge) + b"\r\n", None]

    check(server.url("", USER))

    digest = hmac.new("pässword".encode(), challenge, "md5").hexdigest()
    assert base64.b64decode(server.commands[2]).decode() == f"ann {digest}"
    assert server.commands[1] == "AUTH CRAM-MD5"


def token_command() -> str:
    return "token_command=" + quote(f"{sys.executable} -c 'print(\"t0ken\")'")


@pytest.mark.parametrize("source", ["file", "command"])
def test_xoauth2_reads_its_token_for_each_connection(server: FakeServer, tmp_path: Path, source: str) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    server.extensions = ("AUTH PLAIN XOAUTH2",)
    option = f"token_file={tmp_path}/token" if source == "file" else token_command()

    check(server.url(f"auth=xoauth2&{option}", "ann%40example.org@"))

    verb, mechanism, response = server.commands[1].split()
    assert (verb, mechanism) == ("AUTH", "XOAUTH2")
    assert base64.b64decode(response) == b"user=ann@example.org\x01auth=Bearer t0ken\x01\x01"


def test_xoauth2_refusal_is_heard_out(server: FakeServer) -> None:
    server.extensions = ("AUTH XOAUTH2",)
    server.script["AUTH"] = [b"334 " + base64.b64encode(b'{"status":"401"}') + b"\r\n", b"535 5.7.8 t0ken is bad\r\n"]

    problem = fails(server.url("auth=xoauth2&" + token_command(), "ann@"))

    assert "the login was answered 535 5.7.8 <secret> is bad" in problem
    assert server.commands[2] == ""


@pytest.mark.parametrize(
    ("command", "problem"),
    [("false", "ended with status 1"), ("true", "empty"), ("/nonexistent/x", "FileNotFoundError")],
)
def test_token_command_fails(server: FakeServer, command: str, problem: str) -> None:
    server.extensions = ("AUTH XOAUTH2",)

    assert problem in fails(server.url(f"auth=xoauth2&token_command={quote(command)}", "ann@"))


@pytest.mark.parametrize(
    ("replies", "problem"),
    [
        (
            [b"535 5.7.8 ann with p\xc3\xa4ssword? no, ann@example.org\r\n"],
            "535 5.7.8 <user> with <secret>? no, <address>",
        ),
        ([b"454 4.7.0 try later\r\n"], "the login was answered 454 4.7.0 try later"),
        ([b"334 more\r\n"] * 9, "does not come to an end"),
        ([CLOSE], "login: the server closed the connection"),
    ],
    ids=["535", "454", "endless", "closed"],
)
def test_login_refused_shows_no_secret(
    server: FakeServer, replies: list[bytes | None], problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.extensions = ("AUTH LOGIN PLAIN",)
    server.script["AUTH"] = replies

    shown = fails(server.url("", USER)) + caplog.text

    assert problem in shown
    assert "ssword" not in shown
    assert base64.b64encode(b"\0ann\0p\xc3\xa4ssword").decode() not in shown


def test_no_way_to_log_in_is_offered(server: FakeServer) -> None:
    assert "offers none of these ways to log in: PLAIN, LOGIN, CRAM-MD5" in fails(server.url("", USER))


def test_failed_start_leaves_no_connection_open(server: FakeServer) -> None:
    server.script["EHLO"] = [b"550 no\r\n"]
    fails(server.url())
    done = threading.Event()

    def look() -> None:
        server.sockets[0].close()
        done.set()

    threading.Thread(target=look).start()
    assert done.wait(5)
    assert server.connections == 1
