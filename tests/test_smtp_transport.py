"""The whole transport over real sockets: each fault at each verb, the connections it keeps, and what it writes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest

from tests.smtp_servers import CLOSE, EXTENSIONS, FakeServer, running, running_aiosmtpd
from transports.base import About, Message, Outcome, Status, TransportUnavailable
from transports.smtp.transport import SMTPTransport

FORMS = {
    "pipelined": (EXTENSIONS, ""),
    "chunked": (EXTENSIONS, "bdat=yes"),
    "lockstep": (("SIZE 1000000", "8BITMIME"), ""),
}


def messages(count: int, prefix: str = "m", body: bytes = b"Subject: x\r\n\r\nHi\r\n.dot\r\n") -> list[Message]:
    return [Message(f"{prefix}{n}", "s@example.org", f"{prefix}{n}@example.org", body) for n in range(count)]


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with running(FakeServer()) as server:
        yield server


@pytest.fixture
def open_transport(server: FakeServer, form: str) -> Iterator[Callable[[str], SMTPTransport]]:
    """Builds a transport to `server` that uses the dialogue `form`."""
    server.extensions = FORMS[form][0]
    opened: list[SMTPTransport] = []

    def build(options: str = "") -> SMTPTransport:
        url = server.url("&".join(filter(None, ("command_timeout=1s&data_timeout=1s", FORMS[form][1], options))))
        opened.append(SMTPTransport.from_url(url))
        return opened[-1]

    yield build
    for transport in opened:
        transport.close()


def send(transport: SMTPTransport, batch: list[Message]) -> tuple[list[str], str]:
    """The statuses' initials by message, and the error's text or nothing."""
    outcomes: list[Outcome] = []
    try:
        outcomes.extend(transport.send(batch))
    except TransportUnavailable as error:
        return [], str(error)
    assert [each.id for each in outcomes] == [each.id for each in batch]
    return [each.status.value for each in outcomes], ""


def send_until_error(transport: SMTPTransport, batch: list[Message]) -> tuple[list[str], str]:
    statuses: list[str] = []
    with pytest.raises(TransportUnavailable) as caught:
        statuses.extend(each.status.value for each in transport.send(batch))
    return statuses, str(caught.value)


def end_of_data(form: str) -> str:
    return "BDAT" if form == "chunked" else "."


def test_all_arrive_and_the_connection_is_kept(
    server: FakeServer, open_transport: Callable[..., SMTPTransport], form: str
) -> None:
    transport = open_transport()

    for number in range(3):
        assert send(transport, messages(5, f"b{number}-")) == (["sent"] * 5, "")

    assert server.connections == 1
    assert server.recipients == [f"b{batch}-{n}@example.org" for batch in range(3) for n in range(5)]
    assert {mail.content for mail in server.mails} == {b"Subject: x\r\n\r\nHi\r\n.dot\r\n"}
    assert ("BDAT" in server.verbs, "DATA" in server.verbs) == (form == "chunked", form != "chunked")


@pytest.mark.parametrize(
    ("verb", "reply", "statuses"),
    [
        ("RCPT", b"550 5.1.1 no such user\r\n", ["sent", "refused", "sent"]),
        ("RCPT", b"450 4.2.1 busy\r\n", ["sent", "deferred", "sent"]),
        ("RCPT", b"452 4.2.2 full\r\n", ["sent", "deferred", "sent"]),
        ("END", b"554 5.7.1 spam\r\n", ["sent", "refused", "sent"]),
        ("END", b"450-4.2.1 later\r\n450 4.2.1 please\r\n", ["sent", "deferred", "sent"]),
        ("MAIL", b"552 5.3.4 too big\r\n", ["sent", "refused", "sent"]),
    ],
)
def test_trouble_with_one_recipient_is_an_outcome(
    server: FakeServer,
    open_transport: Callable[..., SMTPTransport],
    form: str,
    verb: str,
    reply: bytes,
    statuses: list[str],
) -> None:
    server.script[end_of_data(form) if verb == "END" else verb] = [None, reply]
    if verb in {"RCPT", "MAIL"}:
        server.script["DATA"] = [None, b"503 5.5.1 no valid recipients\r\n"] if form == "pipelined" else []
        server.script["BDAT"] = [None, b"503 5.5.1 no valid recipients\r\n"]
    if verb == "MAIL" and form != "lockstep":
        server.script["RCPT"] = [None, b"503 5.5.1 need MAIL\r\n"]

    assert send(open_transport(), messages(3)) == (statuses, "")
    assert server.recipients == ["m0@example.org", "m2@example.org"]
    assert server.connections == 1
    assert ("RSET" in server.verbs) == (form == "chunked" or verb != "END")


@pytest.mark.parametrize(
    ("verb", "reply", "status"),
    [
        ("MAIL", b"550 5.7.60 Client does not have permissions to send as this sender\r\n", Status.REFUSED),
        ("MAIL", b"451 4.1.8 Domain of sender address does not resolve\r\n", Status.DEFERRED),
        ("RCPT", b"550 Sender verify failed\r\n", Status.REFUSED),
        ("END", b"550 5.7.26 Unauthenticated\r\n", Status.REFUSED),
    ],
)
def test_refused_sender_is_an_outcome_and_the_session_goes_on(
    server: FakeServer, open_transport: Callable[..., SMTPTransport], form: str, verb: str, reply: bytes, status: Status
) -> None:
    """For each message that got the answer: whoever draws them stops, and another campaign's go over the connection."""
    server.script[end_of_data(form) if verb == "END" else verb] = [reply, reply]

    outcomes = list(open_transport().send(messages(4)))

    assert [(each.status, each.about) for each in outcomes[:2]] == [(status, About.SENDER)] * 2
    assert all(each.reply == reply.decode().strip() for each in outcomes[:2])
    assert [each.status for each in outcomes[2:]] == [Status.SENT] * 2
    assert server.connections == 1


@pytest.mark.parametrize(
    ("verb", "reply"),
    [
        ("MAIL", b"450 4.7.1 too many messages\r\n"),
        ("RCPT", b"450 4.7.1 too many recipients\r\n"),
        ("RCPT", b"452 4.5.3 too many recipients\r\n"),
        ("RCPT", b"552 5.7.0 Daily sending quota exceeded\r\n"),
        ("END", b"550 5.4.5 Daily user sending quota exceeded\r\n"),
        ("END", b"554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException\r\n"),
    ],
)
def test_after_a_limit_the_rest_are_not_asked(
    server: FakeServer, open_transport: Callable[..., SMTPTransport], form: str, verb: str, reply: bytes
) -> None:
    server.script[end_of_data(form) if verb == "END" else verb] = [None, None, *[reply] * 9]
    outcomes: list[Outcome] = []

    with pytest.raises(TransportUnavailable) as caught:
        outcomes.extend(open_transport().send(messages(9)))

    assert [each.status for each in outcomes] == [Status.SENT] * 2
    assert caught.value.about is About.RATE
    assert reply.decode().strip() in str(caught.value)
    assert server.recipients == ["m0@example.org", "m1@example.org"]
    assert server.verbs.count("MAIL") <= (4 if form == "pipelined" else 3)


def test_lone_dot_when_data_is_let_in_without_a_recipient(server: FakeServer) -> None:
    server.script["RCPT"] = [b"550 5.1.1 no\r\n", None, b"550 5.1.1 no\r\n"]
    server.script["."] = [b"554 5.5.1 no valid recipients\r\n", None, b"554 5.5.1 no valid recipients\r\n"]

    with closing(SMTPTransport.from_url(server.url())) as transport:
        outcomes = list(transport.send(messages(3)))

    assert [each.status for each in outcomes] == [Status.REFUSED, Status.SENT, Status.REFUSED]
    assert [each.reply for each in outcomes] == ["550 5.1.1 no", "250 2.0.0 Ok: queued", "550 5.1.1 no"]
    assert server.recipients == ["m1@example.org"]
    assert "RSET" not in server.verbs


@pytest.mark.parametrize(
    ("verb", "reply", "problem"),
    [
        ("MAIL", b"550 5.7.64 <s@example.org> denied\r\n", "MAIL was answered 550 5.7.64 <address> denied"),
        ("MAIL", b"451 4.3.0 wait\r\n", "MAIL was answered 451"),
        ("MAIL", b"junk\r\n", "not an SMTP reply"),
        ("RCPT", b"421 4.7.0 slow down\r\n", "RCPT was answered 421"),
        ("RCPT", b"451 4.7.650 throttled\r\n", "RCPT was answered 451"),
        ("RCPT", b"354 what?\r\n", "RCPT was answered 354"),
        ("END", b"421 4.3.2 bye\r\n", "end of data was answered 421"),
        ("END", b"452 4.3.1 disk full\r\n", "end of data was answered 452"),
    ],
)
def test_trouble_with_the_transport_is_nobodys_outcome(
    server: FakeServer, open_transport: Callable[..., SMTPTransport], form: str, verb: str, reply: bytes, problem: str
) -> None:
    name = end_of_data(form) if verb == "END" else verb
    server.script[name] = [None, reply]
    server.closing = {name}
    options = (
        "pipelining=no" if reply.startswith(b"354") and form == "pipelined" else ""
    )  # it would be noticed as broken
    senseless = reply[:3] in {b"jun", b"354"}
    expected = ["sent"]
    if senseless and form == "chunked":
        expected = ["sent", "uncertain"]  # all of the second message had been written

    transport = open_transport(options)
    statuses, error = send_until_error(transport, messages(3))

    assert problem in error
    assert statuses == expected
    assert "@" not in error
    assert send(transport, messages(3)[1:]) == (["sent", "sent"], "")
    assert server.recipients == ["m0@example.org", "m1@example.org", "m2@example.org"]


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (CLOSE, "closed"),
        (b"junk\r\n", "not an SMTP reply"),
        (b"250-half", "timed out"),
        (b"354 what?\r\n", "answered 354"),
        (b"250-x\r\n" * 999, "too long"),
    ],
    ids=["closed", "junk", "half", "354", "flood"],
)
def test_no_answer_to_the_end_of_data_leaves_one_message_uncertain(
    server: FakeServer, open_transport: Callable[..., SMTPTransport], form: str, reply: bytes, problem: str
) -> None:
    server.script[end_of_data(form)] = [None, reply]
    server.hanging = {end_of_data(form)} if reply == b"250-half" else set()

    statuses, error = send_until_error(open_transport(), messages(4))

    assert statuses == ["sent", "uncertain"]
    assert problem in error


def test_connection_dropped_before_the_end_of_data(server: FakeServer) -> None:
    """The content is too much for the buffers, and the other side goes away in the middle of it."""
    server.script["DATA"] = [None, b"354 go on\r\n"]
    server.closing = {"DATA"}
    server.extensions = ("PIPELINING",)
    batch = [*messages(1), *messages(2, "big", b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 200_000)]

    with closing(SMTPTransport.from_url(server.url("data_timeout=5s"))) as transport:
        statuses, error = send_until_error(transport, batch)

    assert statuses == ["sent"]
    assert "smtp: " in error


def test_refusal_in_the_middle_of_the_data_is_the_messages_outcome(server: FakeServer) -> None:
    """Else a message that the server will never take would block everybody for ever."""
    server.script["DATA"] = [b"354 go on\r\n552 5.3.4 too big\r\n"]
    server.closing = {"DATA"}
    server.extensions = ()
    (big,) = messages(1, "big", (b"y" * 70 + b"\r\n") * 200_000)

    with closing(SMTPTransport.from_url(server.url("data_timeout=5s"))) as transport:
        statuses, error = send_until_error(transport, [big])

    assert statuses == ["refused"]
    assert "552" in error


def test_421_after_many_and_at_the_next_session(
    server: FakeServer, open_transport: Callable[..., SMTPTransport], form: str
) -> None:
    server.script["MAIL"] = [*[None] * 100, *[b"421 4.7.0 too many\r\n"] * 2]
    transport = open_transport()
    source = iter(messages(150))

    statuses: list[str] = []
    with pytest.raises(TransportUnavailable, match=r"421 4\.7\.0 too many") as caught:
        statuses.extend(each.status for each in transport.send(source))

    assert statuses == ["sent"] * 100
    assert len(server.mails) == 100
    assert (server.connections, caught.value.about) == (2, About.RATE)


def test_replies_in_single_octets(server: FakeServer, open_transport: Callable[..., SMTPTransport], form: str) -> None:
    reply = b"250-2.0.0 a\r\n250-2.0.0 b\r\n250 2.0.0 c\r\n"
    server.script["RCPT"] = [reply] * 4

    assert send(open_transport(), messages(4)) == (["sent"] * 4, "")


@pytest.mark.slow
def test_slow_drip_ends_at_the_deadline(server: FakeServer, open_transport: Callable[..., SMTPTransport]) -> None:
    """Each octet comes well within the timeout; the reply as a whole never does."""
    server.script["MAIL"] = [b"250-"]
    server.hanging = {"MAIL"}
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(0.05):
            if "MAIL" in server.verbs:
                with suppress(OSError):
                    server.sockets[0].send(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    _, error = send_until_error(open_transport(), messages(1))
    stop.set()
    thread.join()

    assert "timed out" in error


def test_local_refusal_keeps_its_place(
    server: FakeServer, open_transport: Callable[..., SMTPTransport], form: str
) -> None:
    batch = messages(5)
    for n in (0, 2, 4):
        batch[n] = Message(batch[n].id, "s@example.org", "bad address@x", b"x\r\n")

    statuses, _ = send(open_transport(), batch)

    assert statuses == ["refused", "sent", "refused", "sent", "refused"]
    assert server.recipients == ["m1@example.org", "m3@example.org"]


def test_too_big_is_refused_without_sending(server: FakeServer) -> None:
    server.extensions = ("PIPELINING", "SIZE 10")

    with closing(SMTPTransport.from_url(server.url())) as transport:
        (outcome,) = transport.send(messages(1))

    assert outcome.status is Status.REFUSED
    assert "MAIL" not in server.verbs


def test_dsn_and_size_are_asked_for(server: FakeServer) -> None:
    with closing(SMTPTransport.from_url(server.url("dsn=failure"))) as transport:
        list(transport.send(messages(1)))

    assert server.commands[1:3] == [
        "MAIL FROM:<s@example.org> SIZE=24 RET=HDRS ENVID=m0",
        "RCPT TO:<m0@example.org> NOTIFY=FAILURE",
    ]


def test_max_messages_closes_and_reopens(
    server: FakeServer, open_transport: Callable[..., SMTPTransport], form: str
) -> None:
    transport = open_transport("max_messages=3")

    assert send(transport, messages(7)) == (["sent"] * 7, "")
    assert server.connections == 3
    assert server.verbs.count("QUIT") == 2
    assert len(server.mails) == 7


@pytest.mark.parametrize("goodbye", [b"", b"421 4.4.2 timeout\r\n"], ids=["closed", "421"])
def test_connection_that_died_at_rest_is_replaced(
    server: FakeServer, open_transport: Callable[..., SMTPTransport], form: str, goodbye: bytes
) -> None:
    transport = open_transport()
    send(transport, messages(2, "a"))
    if goodbye:
        server.sockets[0].sendall(goodbye)
    server.hang_up()

    assert send(transport, messages(2, "b")) == (["sent", "sent"], "")
    assert (server.connections, len(server.mails)) == (2, 4)


def test_connection_that_rested_is_asked_first(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transports.smtp.session.NOOP_AFTER", 0.0)
    server.script["NOOP"] = [None, b"421 4.4.2 timeout\r\n"]

    with closing(SMTPTransport.from_url(server.url())) as transport:
        for number in range(3):
            assert send(transport, messages(1, f"b{number}")) == (["sent"], "")

    assert (server.connections, server.verbs.count("NOOP"), len(server.mails)) == (2, 2, 3)


def test_idle_connection_is_closed(server: FakeServer) -> None:
    with closing(SMTPTransport.from_url(server.url("idle=100ms"))) as transport:
        send(transport, messages(1))
        deadline = time.monotonic() + 10
        while "QUIT" not in server.verbs and time.monotonic() < deadline:
            time.sleep(0.02)

        assert "QUIT" in server.verbs
        assert send(transport, messages(1)) == (["sent"], "")
        assert server.connections == 2


def test_connections_are_bounded(server: FakeServer) -> None:
    with closing(SMTPTransport.from_url(server.url("connections=2"))) as transport:
        results: list[tuple[list[str], str]] = []
        threads = [
            threading.Thread(target=lambda n=n: results.append(send(transport, messages(20, f"t{n}-"))))
            for n in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

    assert results == [(["sent"] * 20, "")] * 6
    assert server.connections <= 2
    assert len(set(server.recipients)) == len(server.recipients) == 120


def test_check_does_not_wait_for_a_connection_in_use(server: FakeServer) -> None:
    with closing(SMTPTransport.from_url(server.url("connections=1"))) as transport:
        outcomes = transport.send(messages(3))
        next(outcomes)

        transport.check()

        assert [each.status for each in outcomes] == [Status.SENT] * 2


def test_abandoned_send_delivers_nothing_more(
    server: FakeServer, open_transport: Callable[..., SMTPTransport], form: str
) -> None:
    transport = open_transport()
    outcomes = transport.send(messages(5))
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]

    assert send(transport, messages(1, "later")) == (["sent"], "")
    assert server.recipients == ["m0@example.org", "later0@example.org"]
    assert server.connections == 2


def test_close_says_goodbye(server: FakeServer) -> None:
    transport = SMTPTransport.from_url(server.url())
    send(transport, messages(1))

    transport.close()

    assert server.verbs[-1] == "QUIT"


def test_close_while_sending_lets_it_end_and_keeps_nothing(server: FakeServer) -> None:
    transport = SMTPTransport.from_url(server.url())
    outcomes = transport.send(messages(3))
    next(outcomes)

    transport.close()

    assert [each.status for each in outcomes] == [Status.SENT] * 2
    assert server.verbs[-1] == "QUIT"


def test_forked_child_opens_its_own_connection(server: FakeServer) -> None:
    with closing(SMTPTransport.from_url(server.url())) as transport:
        send(transport, messages(1, "parent"))

        child = os.fork()
        if child == 0:
            signal.alarm(20)
            statuses: list[str] = []
            try:
                statuses, _ = send(transport, messages(1, "child"))
                transport.close()
            finally:
                os._exit(0 if statuses == ["sent"] else 1)
        _, status = os.waitpid(child, 0)

        assert status == 0
        assert server.connections == 2
        assert send(transport, messages(1, "again")) == (["sent"], "")
    assert server.connections == 2
    assert server.recipients == ["parent0@example.org", "child0@example.org", "again0@example.org"]


def test_next_envelope_rides_behind_the_final_dot(server: FakeServer) -> None:
    server.extensions = ("PIPELINING",)

    with closing(SMTPTransport.from_url(server.url())) as transport:
        send(transport, messages(2))

    assert server.verbs == ["EHLO", "MAIL", "RCPT", "DATA", "MAIL", "RCPT", "DATA", "QUIT"]


def test_rate_is_waited_for_outside_a_transaction(server: FakeServer) -> None:
    with closing(SMTPTransport.from_url(server.url("rate=50/second"))) as transport:
        start = time.monotonic()
        assert send(transport, messages(6)) == (["sent"] * 6, "")

    assert time.monotonic() - start >= 0.08
    assert len(server.mails) == 6


def test_real_server_gets_exactly_what_was_given() -> None:
    body = "Subject: ü\r\n\r\n.\r\n..\r\n.x\r\nGrüße\r\n".encode()
    with running_aiosmtpd() as real, closing(SMTPTransport.from_url(f"smtp://127.0.0.1:{real.port}")) as transport:
        assert send(transport, messages(3, body=body)) == (["sent"] * 3, "")

    assert real.recorder.contents == [body] * 3
