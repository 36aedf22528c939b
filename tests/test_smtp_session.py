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
from transports.base import About, Message, Status
from transports.smtp.transport import SMTPTransport

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
        ("NOOP", b"421 4.3.2 no\r\n", "NOOP was answered 421 4.3.2 no"),
        ("NOOP", CLOSE, "NOOP was not answered"),
        ("NOOP", b"530 5.7.0 Authentication required\r\n", "the server wants a login"),
        ("NOOP", b"530 5.7.0 Authentication required\r\n", "530 5.7.0 Authentication required"),
    ],
)
def test_bad_start(server: FakeServer, verb: str, reply: bytes, problem: str) -> None:
    server.script[verb] = [reply]

    shown = fails(server.url())

    assert problem in shown
    assert shown.startswith(f"smtp: 127.0.0.1:{server.port}: ")


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
    [("false", "ended with status 1"), ("true", "empty"), ("/nonexistent/x", "No such file or directory")],
)
def test_token_command_fails(server: FakeServer, command: str, problem: str) -> None:
    server.extensions = ("AUTH XOAUTH2",)

    assert problem in fails(server.url(f"auth=xoauth2&token_command={quote(command)}", "ann@"))


@pytest.mark.parametrize(
    ("replies", "problem"),
    [
        (
            [b"535 5.7.8 ann with p\xc3\xa4ssword? no, ann@example.org\r\n"] * 2,
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


@pytest.mark.parametrize("code", [b"504 5.5.4", b"534 5.7.9", b"535 5.7.8"], ids=["504", "534", "535"])
def test_refused_mechanism_is_followed_by_the_next(server: FakeServer, code: bytes) -> None:
    server.extensions = ("AUTH CRAM-MD5 LOGIN PLAIN",)
    server.script["AUTH"] = [code + b" not this\r\n", b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n", None]

    check(server.url("", USER))

    assert [line for line in server.commands if line.startswith("AUTH")] == [server.commands[1], "AUTH LOGIN"]
    assert server.commands[1].startswith("AUTH PLAIN ")
    assert server.connections == 1


def test_all_refused_mechanisms_are_named(server: FakeServer) -> None:
    server.extensions = ("AUTH LOGIN PLAIN CRAM-MD5",)
    server.script["AUTH"] = [b"504 no PLAIN\r\n", b"534 too weak\r\n", b"535 5.7.8 wrong\r\n"]

    shown = fails(server.url("", USER))

    assert shown.endswith(
        "the login was answered 504 no PLAIN (PLAIN); 534 too weak (LOGIN); 535 5.7.8 wrong (CRAM-MD5)"
    )


def test_server_that_hangs_up_on_the_second_try_does_not_hide_the_first_answer(server: FakeServer) -> None:
    server.extensions = ("AUTH LOGIN PLAIN",)
    server.script["AUTH"] = [b"535 5.7.8 wrong\r\n", CLOSE]

    assert "the login was answered 535 5.7.8 wrong (PLAIN)" in fails(server.url("", USER))


@pytest.mark.parametrize("reply", [b"454 4.7.0 later\r\n", b"530 5.7.0 TLS first\r\n", b"525 5.7.13 disabled\r\n"])
def test_other_refusals_of_a_login_are_final(server: FakeServer, reply: bytes) -> None:
    server.extensions = ("AUTH LOGIN PLAIN",)
    server.script["AUTH"] = [reply]

    assert f"the login was answered {reply.decode().strip()}" in fails(server.url("", USER))
    assert [line[:10] for line in server.commands if line.startswith("AUTH")] == ["AUTH PLAIN"]


def test_named_mechanism_is_the_only_one_tried(server: FakeServer) -> None:
    server.extensions = ("AUTH LOGIN PLAIN",)
    server.script["AUTH"] = [b"504 not this\r\n"]

    assert "(LOGIN)" in fails(server.url("auth=login", USER))
    assert [line for line in server.commands if line.startswith("AUTH")] == ["AUTH LOGIN"]


@pytest.mark.parametrize(
    ("user", "password", "said", "expected"),
    [
        ("ann", "a", "authentication has failed", "authentication has failed"),
        ("ann", "in", "invalid in every way", "invalid <secret> every way"),
        ("e", "fail", "authentication failed: e", "authentication failed: <user>"),
        ("ann", "5.7.8", "wrong", "wrong"),
        ("ann", "s3cret!", "is it s3cret!?", "is it <secret>?"),
        ("ann", "s3cret", "is it s3cretary", "is it s3cretary"),
        ("ann", "s3cret", "AGFubgBzM2NyZXQ= is not known", "<secret> is not known"),
        ("ann", "s3cret", "czNjcmV0 is not known", "<secret> is not known"),
    ],
)
def test_only_whole_words_are_taken_for_the_password(
    server: FakeServer, user: str, password: str, said: str, expected: str
) -> None:
    server.extensions = ("AUTH PLAIN",)
    server.script["AUTH"] = [f"535 5.7.8 {said}\r\n".encode()]

    shown = fails(server.url("", f"{user}:{quote(password)}@"))

    assert shown.endswith(f"the login was answered 535 5.7.8 {expected} (PLAIN)")


@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "NOOP"])
@pytest.mark.parametrize(("reply", "about"), [(b"421 4.7.0 busy\r\n", About.RATE), (b"554 no\r\n", About.TRANSPORT)])
def test_421_before_any_message_is_about_the_rate(server: FakeServer, verb: str, reply: bytes, about: About) -> None:
    server.script[verb] = [reply]

    with pytest.raises(TransportUnavailable) as caught:
        check(server.url())

    assert caught.value.about is about


def test_reasons_name_the_host_as_it_was_given(server: FakeServer) -> None:
    server.script["CONNECT"] = [b"554 5.7.1 no\r\n"]

    shown = fails(server.url().replace("127.0.0.1", "localhost"))

    assert shown == f"smtp: localhost:{server.port}: the greeting was answered 554 5.7.1 no"


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
