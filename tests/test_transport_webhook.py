from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.webhook_receiver import Receiver, running_receiver
from transports import About, Message, Outcome, Status, TransportConfigError, TransportUnavailable, from_url
from transports.webhook.exchange import Body, seconds_of
from transports.webhook.settings import WebhookSettings
from transports.webhook.transport import WebhookTransport, WebhookUnavailable

SECRET = b"a secret of enough bytes"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as running:
        yield running


def messages(count: int, size: int = 10) -> list[Message]:
    content = b"Subject: \xc3\xbc\r\n\r\n" + b"x" * size
    return [Message(f"m{number}", "list@example.org", f"r{number}@example.org", content) for number in range(count)]


def statuses(receiver: Receiver, count: int, options: str = "timeout=5s") -> list[Status]:
    return [each.status for each in from_url(f"webhook:{receiver.url}?{options}").send(messages(count))]


def answer(*outcomes: Any) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, json.dumps({"outcomes": list(outcomes)}).encode()


@pytest.mark.parametrize(
    ("status", "word", "about"),
    [
        ("refused", "address", About.ADDRESS),
        ("deferred", "mailbox", About.MAILBOX),
        ("refused", "sender", About.SENDER),
        ("refused", "message", About.MESSAGE),
        ("refused", None, About.MESSAGE),
        ("refused", "recipient", About.MESSAGE),
        ("refused", "ADDRESS", About.MESSAGE),
        ("refused", ["address"], About.MESSAGE),
        ("uncertain", None, About.TRANSPORT),
        ("uncertain", "nonsense", About.TRANSPORT),
    ],
)
def test_answer_says_whom_it_is_about(receiver: Receiver, status: str, word: object, about: About) -> None:
    receiver.answers = [answer({"id": "m0", "status": status, "reply": "no", "about": word})]

    (outcome,) = from_url(f"webhook:{receiver.url}").send(messages(1))

    assert outcome == Outcome("m0", Status(status), "no", about)


@pytest.mark.parametrize("word", ["rate", "transport"])
def test_after_an_answer_about_the_rate_or_the_receiver_nobody_else_is_asked(receiver: Receiver, word: str) -> None:
    sent, limited = (
        {"id": "m0", "status": "sent"},
        {"id": "m1", "status": "deferred", "reply": "5 a day", "about": word},
    )
    receiver.answers = [answer(sent, limited)]
    outcomes: list[Outcome] = []

    with pytest.raises(TransportUnavailable, match=r"127\.0\.0\.1: 5 a day") as caught:
        outcomes.extend(from_url(f"webhook:{receiver.url}?batch=2").send(messages(6)))

    assert [(each.id, each.status, each.about) for each in outcomes] == [
        ("m0", Status.SENT, About.MESSAGE),
        ("m1", Status.DEFERRED, About(word)),
    ]
    assert caught.value.about is About(word)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(("code", "about"), [(429, About.RATE), (503, About.TRANSPORT), (401, About.TRANSPORT)])
def test_status_that_takes_nothing_is_about(receiver: Receiver, code: int, about: About) -> None:
    receiver.answers = [(code, {}, b"")]

    with pytest.raises(TransportUnavailable) as caught:
        statuses(receiver, 1)

    assert caught.value.about is about


def test_request_holds_the_batch(receiver: Receiver) -> None:
    statuses(receiver, 2)

    ((headers, body),) = receiver.requests
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body) == {
        "messages": [
            {
                "id": each.id,
                "sender": each.sender,
                "recipient": each.recipient,
                "content": base64.b64encode(each.content).decode(),
            }
            for each in messages(2)
        ]
    }


def test_batches_have_the_size_asked_for(receiver: Receiver) -> None:
    assert statuses(receiver, 7, "batch=3") == [Status.SENT] * 7

    assert [len(json.loads(body)["messages"]) for _, body in receiver.requests] == [3, 3, 1]


def test_signature_covers_timestamp_and_body(receiver: Receiver, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET + b"\n")

    before = int(time.time())
    statuses(receiver, 1, f"secret_file={secret}")

    ((headers, body),) = receiver.requests
    timestamp = headers["X-Mailer-Timestamp"]
    expected = hmac.new(SECRET, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["X-Mailer-Signature"] == f"sha256={expected}"
    assert before <= int(timestamp) <= time.time()


def test_no_secret_no_signature(receiver: Receiver) -> None:
    statuses(receiver, 1)

    assert not [name for name in receiver.requests[0][0] if name.startswith("X-Mailer")]


def test_same_batch_has_the_same_idempotency_key(receiver: Receiver) -> None:
    statuses(receiver, 2)
    statuses(receiver, 2)
    statuses(receiver, 3)

    first, second, other = (headers["Idempotency-Key"] for headers, _ in receiver.requests)
    assert first == second != other


def test_outcomes_are_those_of_the_answer(receiver: Receiver) -> None:
    receiver.answers = [
        answer(
            {"id": "m2", "status": "refused", "reply": "no such user"},
            {"id": "m0", "status": "deferred"},
            {"id": "m1", "status": "sent", "reply": "x" * 9000},
            {"id": "other", "status": "sent"},
        )
    ]

    outcomes = list(from_url(f"webhook:{receiver.url}").send(messages(3)))

    assert [each.status for each in outcomes] == [Status.DEFERRED, Status.SENT, Status.REFUSED]
    assert outcomes[2].reply == "no such user"
    assert len(outcomes[1].reply) == 500


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"", Status.SENT, id="empty"),
        pytest.param(b"ok", Status.UNCERTAIN, id="no json"),
        pytest.param(b"\xff\xfe", Status.UNCERTAIN, id="no text"),
        pytest.param(b"[]", Status.UNCERTAIN, id="no object"),
        pytest.param(b"[" * 200_000, Status.UNCERTAIN, id="too deep"),
        pytest.param(b'{"outcomes": 3}', Status.UNCERTAIN, id="no list"),
        pytest.param(b'{"outcomes": [3, null]}', Status.UNCERTAIN, id="no entries"),
        pytest.param(b'{"outcomes": [{"id": "m0", "status": "done"}]}', Status.UNCERTAIN, id="unknown status"),
        pytest.param(b'{"outcomes": [{"id": "m0", "status": ["sent"]}]}', Status.UNCERTAIN, id="odd status"),
        pytest.param(b'{"outcomes": [{"id": "m1", "status": "sent"}]}', Status.UNCERTAIN, id="not named"),
        pytest.param(b'{"outcomes": [{"id": "m0", "status": "sent"}]}' + b" " * (2 << 20), Status.UNCERTAIN, id="long"),
    ],
)
def test_answer_that_says_nothing_is_uncertain(receiver: Receiver, content: bytes, expected: Status) -> None:
    receiver.answers = [(200, {}, content)]

    assert statuses(receiver, 1) == [expected]


@pytest.mark.parametrize("status", [301, 400, 401, 404, 413, 429, 500, 502, 503])
def test_other_answers_are_unavailable(receiver: Receiver, status: int) -> None:
    receiver.answers = [(status, {"Location": "/other"}, b"")]

    with pytest.raises(WebhookUnavailable, match=f"127.0.0.1: answered {status}") as caught:
        statuses(receiver, 1)

    assert caught.value.retry_after is None
    assert len(receiver.requests) == 1


def test_retry_after_is_kept(receiver: Receiver) -> None:
    receiver.answers = [(429, {"Retry-After": "120"}, b"")]

    with pytest.raises(WebhookUnavailable) as caught:
        statuses(receiver, 1)

    assert caught.value.retry_after == 120.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("²", None),
    ],
)
def test_seconds_of_retry_after(value: str, seconds: float | None) -> None:
    assert seconds_of(value, now=10.0) == seconds


@pytest.mark.parametrize(
    "told",
    [
        pytest.param("drop", id="connection dropped"),
        pytest.param((504, {}, b""), id="gateway timeout"),
        pytest.param((200, {"Content-Length": "100"}, b'{"outcomes"'), id="answer cut off"),
    ],
)
def test_answer_lost_after_the_body_is_uncertain(receiver: Receiver, told: Any) -> None:
    receiver.answers = [told]

    assert statuses(receiver, 3) == [Status.UNCERTAIN] * 3
    assert len(receiver.requests) == 1


def test_outcomes_before_the_failure_stand(receiver: Receiver) -> None:
    receiver.answers = [None, (503, {}, b"")]
    found = []

    outcomes = from_url(f"webhook:{receiver.url}?batch=2").send(messages(5))
    found += [next(outcomes), next(outcomes)]
    with pytest.raises(TransportUnavailable):
        next(outcomes)

    assert [each.status for each in found] == [Status.SENT, Status.SENT]


@contextmanager
def listening(serve: Any) -> Iterator[int]:
    """A port whose first connection is handed to `serve`."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            connection, _ = server.accept()
            with connection:
                serve(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        yield server.getsockname()[1]
        thread.join(30)


def test_connection_that_breaks_before_the_body_was_written_is_unavailable() -> None:
    def hang_up(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.recv(10)

    with (
        listening(hang_up) as port,
        pytest.raises(TransportUnavailable, match=r"127\.0\.0\.1: (Connection reset by peer|the connection broke off)"),
    ):
        list(from_url(f"webhook:http://127.0.0.1:{port}/").send(messages(50, size=1_000_000)))


def test_answer_that_never_comes_is_uncertain_after_the_timeout() -> None:
    finished = threading.Event()

    def say_nothing(connection: socket.socket) -> None:
        connection.recv(100_000)
        finished.wait(30)

    with listening(say_nothing) as port:
        outcomes = list(from_url(f"webhook:http://127.0.0.1:{port}/?timeout=200ms").send(messages(2)))
        finished.set()

    assert [each.status for each in outcomes] == [Status.UNCERTAIN] * 2


def test_answer_that_drips_is_uncertain_after_the_timeout() -> None:
    finished = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.recv(100_000)
        content = answer({"id": "m0", "status": "sent"})[2]
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(content) + 5000) + content)
        for _ in range(50):
            if finished.wait(0.02):
                break
            connection.send(b" " * 100)

    with listening(drip) as port:
        outcomes = list(from_url(f"webhook:http://127.0.0.1:{port}/?timeout=300ms").send(messages(1)))
        finished.set()

    assert [each.status for each in outcomes] == [Status.UNCERTAIN]


def test_nobody_listening_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    transport = from_url(f"webhook:http://ann:hunter2@127.0.0.1:{port}/token-in-path")

    with pytest.raises(TransportUnavailable, match=r"127\.0\.0\.1: Connection refused") as caught:
        list(transport.send(messages(1)))

    assert "hunter2" not in str(caught.value)
    assert "token-in-path" not in str(caught.value)


def test_check_is_signed_and_empty(receiver: Receiver) -> None:
    WebhookTransport(WebhookSettings(receiver.url, secret=SECRET)).check()

    ((headers, body),) = receiver.requests
    assert json.loads(body) == {"messages": []}
    assert headers["X-Mailer-Signature"].startswith("sha256=")


def test_environment_is_not_consulted(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    assert statuses(receiver, 1) == [Status.SENT]


def test_url_with_a_query_of_its_own_goes_into_parentheses(receiver: Receiver) -> None:
    transport = from_url(f"webhook:({receiver.url}?room=7)?timeout=5s")

    assert [each.status for each in transport.send(messages(1))] == [Status.SENT]


def test_settings_do_not_show_secrets() -> None:
    shown = repr(WebhookSettings("https://ann:hunter2@host/x", secret=b"hunter2hunter2hunter2"))

    assert "hunter2" not in shown


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("webhook:", "needs an https URL"),
        ("webhook:ftp://host/", "needs an https URL"),
        ("webhook:https:///path", "needs an https URL"),
        ("webhook:http://example.org/", "http is for this machine only"),
        ("webhook:http://127.0.0.1.example.org/", "http is for this machine only"),
        ("webhook:https://host:port/", "not valid"),
        ("webhook:https://[::1/", "not valid"),
        ("webhook:(https://a/ https://b/)", "needs one URL"),
        ("webhook:https://host/?batch=0", "a whole number"),
        ("webhook:https://host/?secret_file=/no/such/file", "No such file"),
        ("webhook:https://host/?ca_file=/no/such/file", "is not a file"),
    ],
)
def test_url_is_refused(url: str, problem: str) -> None:
    with pytest.raises(TransportConfigError, match=problem):
        from_url(url)


def test_short_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2")

    with pytest.raises(TransportConfigError, match="fewer than 16 bytes") as caught:
        from_url(f"webhook:https://host/?secret_file={tmp_path}/secret")

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost/", "http://127.1.2.3:8/", "http://[::1]/", "https://example.org/"])
def test_url_is_taken(url: str) -> None:
    from_url(f"webhook:{url}")


def test_body_knows_when_all_of_it_was_handed_over() -> None:
    body = Body(b"0123456789")

    assert (body.read(4), body.handed_over) == (b"0123", False)
    assert (body.read(6), body.handed_over) == (b"456789", True)
    assert (body.read(6), len(body)) == (b"", 10)
