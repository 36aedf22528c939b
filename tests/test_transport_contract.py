"""What holds for every transport. To put another one to it, add a factory to FACTORIES."""

from __future__ import annotations

import io
import itertools
import json
import mailbox
import re
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.dkim_keys import ed25519_pem, write_key
from tests.smtp_servers import FakeServer, running
from tests.webhook_receiver import running_receiver
from transports import About, Message, Outcome, Status, Transport, TransportConfigError, TransportUnavailable, from_url
from transports.memory import MemoryStore, named_store


@dataclass(frozen=True)
class Case:
    """A transport's URL, what arrived through it (contents with CRLF, in any order), and how to break and mend it."""

    url: str
    arrived: Callable[[], list[bytes]]
    break_it: Callable[[], None]
    mend_it: Callable[[], None]
    look_ahead: int = 1  # how many messages may be drawn before the first of them has its outcome
    refuse: Callable[[About], Message | None] = lambda _about: (
        None
    )  # the message that is refused about it, if it can be


REFUSED = {
    About.ADDRESS: ("RCPT", b"550 5.1.1 no such user\r\n"),
    About.MAILBOX: ("RCPT", b"552 5.2.2 mailbox full\r\n"),
    About.MESSAGE: ("RCPT", b"550 5.6.0 not like this\r\n"),
    About.SENDER: ("MAIL", b"550 5.7.1 not you\r\n"),
    About.RATE: ("RCPT", b"550 5.4.5 Daily user sending quota exceeded\r\n"),
    About.TRANSPORT: ("MAIL", b"530 5.7.0 Authentication required\r\n"),
}
Factory = Callable[[pytest.FixtureRequest, ExitStack], Case]


def memory_case(_request: pytest.FixtureRequest, _stack: ExitStack) -> Case:
    name = uuid.uuid4().hex
    store = named_store(name)
    arrived, break_it = lambda: contents(store.messages), lambda: store.fail_after(0)
    return Case(f"memory:{name}", arrived, break_it, store.recover, refuse=lambda about: memory_refusal(store, about))


def memory_refusal(store: MemoryStore, about: About) -> Message:
    store.answer(None, Status.REFUSED, about=about)
    return make_message("refused")


def console_case(request: pytest.FixtureRequest, stack: ExitStack) -> Case:
    capture = request.getfixturevalue("capfdbinary")
    output = bytearray()
    patch = stack.enter_context(pytest.MonkeyPatch.context())

    def arrived() -> list[bytes]:
        output.extend(capture.readouterr().out)
        return split_contents(bytes(output))

    def break_it() -> None:
        closed = io.TextIOWrapper(io.BytesIO())
        closed.close()
        patch.setattr(sys, "stdout", closed)

    return Case("console:?format=raw", arrived, break_it, patch.undo)


def file_case(form: str) -> Factory:
    def build(request: pytest.FixtureRequest, _stack: ExitStack) -> Case:
        folder = request.getfixturevalue("tmp_path")
        path, away = folder / "out", folder / "away"

        def arrived() -> list[bytes]:
            return read_folder(path if path.exists() else away, form)

        def break_it() -> None:
            path.rename(away)

        def mend_it() -> None:
            away.rename(path)

        def refuse(about: About) -> Message | None:
            return replace(make_message("refused"), id="../up") if about is About.MESSAGE else None

        return Case(f"file:{path}?format={form}", arrived, break_it, mend_it, look_ahead=64, refuse=refuse)

    return build


def group_case(scheme: str) -> Factory:
    def build(_request: pytest.FixtureRequest, _stack: ExitStack) -> Case:
        names = [uuid.uuid4().hex for _ in range(3)]
        stores = [named_store(name) for name in names]
        stores[0].fail_after(1)

        def break_it() -> None:
            for store in stores:
                store.fail_after(0)

        def mend_it() -> None:
            for store in stores:
                store.recover()

        return Case(
            f"{scheme}:(memory:{names[0]} {scheme}:(memory:{names[1]} memory:{names[2]}))?cooldown=1h",
            lambda: contents(message for store in stores for message in store.messages),
            break_it,
            mend_it,
            refuse=lambda about: memory_refusal(stores[0], about),
        )

    return build


def signed_case(factory: Factory) -> Factory:
    """Another case behind `dkim:`; what arrived, without the signature that each message must have."""

    def build(request: pytest.FixtureRequest, stack: ExitStack) -> Case:
        inner = factory(request, stack)
        key = write_key(request.getfixturevalue("tmp_path") / "key.pem", ed25519_pem())
        url = f"dkim:({inner.url})?key_file={key}&selector=s1&domain=example.org"
        return replace(inner, url=url, arrived=lambda: [without_signature(each) for each in inner.arrived()])

    return build


def without_signature(content: bytes) -> bytes:
    found = re.match(rb"DKIM-Signature: .*\r\n(?:[ \t].*\r\n)*", content)
    assert found
    return content[found.end() :]


def webhook_case(_request: pytest.FixtureRequest, stack: ExitStack) -> Case:
    receiver = stack.enter_context(running_receiver())

    def set_down(down: bool) -> None:
        receiver.down = down

    def refuse(about: About) -> Message:
        outcome = {"id": "m-refused", "status": "refused", "reply": f"about {about}", "about": about}
        receiver.answers = [(200, {}, json.dumps({"outcomes": [outcome]}).encode())]
        return make_message("refused")

    return Case(
        f"webhook:{receiver.url}?batch=3",
        lambda: receiver.contents,
        lambda: set_down(True),
        lambda: set_down(False),
        look_ahead=3,
        refuse=refuse,
    )


def smtp_case(options: str, *extensions: str) -> Factory:
    def build(_request: pytest.FixtureRequest, stack: ExitStack) -> Case:
        server = stack.enter_context(running(FakeServer(extensions=("8BITMIME", *extensions))))

        def set_down(down: bool) -> None:
            server.down = down

        def refuse(about: About) -> Message:
            verb, reply = REFUSED[about]
            server.script[verb] = [reply]
            return make_message("refused")

        return Case(
            server.url(options),
            lambda: [mail.content for mail in server.mails],
            lambda: set_down(True),
            lambda: set_down(False),
            look_ahead=2 if "PIPELINING" in extensions else 1,
            refuse=refuse,
        )

    return build


FACTORIES: dict[str, Factory] = {
    "console": console_case,
    "dkim-failover": signed_case(group_case("failover")),
    "dkim-memory": signed_case(memory_case),
    "dkim-smtp": signed_case(smtp_case("", "PIPELINING")),
    "failover": group_case("failover"),
    "file-eml": file_case("eml"),
    "file-maildir": file_case("maildir"),
    "file-mbox": file_case("mbox"),
    "memory": memory_case,
    "roundrobin": group_case("roundrobin"),
    "smtp-chunked": smtp_case("bdat=yes", "PIPELINING", "CHUNKING"),
    "smtp-lockstep": smtp_case(""),
    "smtp-pipelined": smtp_case("", "PIPELINING"),
    "webhook": webhook_case,
}

NEVER_REFUSED = {name: set(About) - {About.MESSAGE} for name in FACTORIES if name.startswith("file-")}
NEVER_REFUSED["console"] = set(About)
REFUSALS = [(name, about) for name in FACTORIES for about in About if about not in NEVER_REFUSED.get(name, ())]


def contents(messages: Iterable[Message]) -> list[bytes]:
    return [message.content for message in messages]


def split_contents(data: bytes) -> list[bytes]:
    return [piece for piece in re.split(rb"(?=^Message-ID: )", data, flags=re.MULTILINE) if piece]


def read_folder(path: Path, form: str) -> list[bytes]:
    if form == "eml":
        return [each.read_bytes() for each in path.glob("*.eml")]
    if form == "maildir":
        return [each.read_bytes().replace(b"\n", b"\r\n") for each in (path / "new").iterdir()]
    return read_mbox(path / "mbox")


def read_mbox(path: Path) -> list[bytes]:
    box = mailbox.mbox(path, create=False)
    try:
        stored = [box.get_bytes(key) for key in box.keys()]  # noqa: SIM118 - iterating a mailbox parses the messages
    finally:
        box.close()
    return [re.sub(rb"^>(>*From )", rb"\1", each, flags=re.MULTILINE).replace(b"\n", b"\r\n") for each in stored]


def make_message(number: int | str, body: bytes = b"Hello\r\n") -> Message:
    fields = (f"Message-ID: <{number}@example.org>", "From: list@example.org", f"Subject: number {number}", "", "")
    head = "\r\n".join(fields).encode()
    return Message(f"m-{number}", "list@example.org", f"r{number}@example.org", head + body)


def make_messages(count: int, prefix: str = "") -> list[Message]:
    return [make_message(f"{prefix}{number}") for number in range(count)]


@pytest.fixture(params=sorted(FACTORIES))
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    with ExitStack() as stack:
        yield FACTORIES[request.param](request, stack)


@pytest.fixture
def transport(case: Case) -> Iterator[Transport]:
    transport = from_url(case.url)
    yield transport
    transport.close()


def test_send_gives_one_outcome_each_in_order(case: Case, transport: Transport) -> None:
    messages = make_messages(7)

    outcomes = list(transport.send(iter(messages)))

    assert [(each.id, each.status) for each in outcomes] == [(message.id, Status.SENT) for message in messages]
    assert all(each.reply for each in outcomes)
    assert sorted(case.arrived()) == sorted(contents(messages))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b".\r\n..\r\n.x\r\n\r\n.\r\n", id="dots"),
        pytest.param(b"From here\r\n>From there\r\n\r\nFrom x\r\n", id="From lines"),
        pytest.param("Grüße, 世界\r\n".encode(), id="eight bit"),
        pytest.param(b"x" * 998 + b"\r\n" + b"y" * 998 + b"\r\n", id="longest lines"),
        pytest.param(b"\r\n\r\n\r\n", id="blank lines"),
        pytest.param(b"0123456789abcdef" * 4 + b"\r\n" + b"large\r\n" * 20_000, id="140 KB"),
    ],
)
def test_content_arrives_exactly(case: Case, transport: Transport, body: bytes) -> None:
    message = make_message("exact", body)

    (outcome,) = transport.send([message])

    assert outcome.status is Status.SENT
    assert case.arrived() == [message.content]


def test_messages_are_drawn_lazily(case: Case, transport: Transport) -> None:
    drawn = itertools.count()
    total = 0

    def endless() -> Iterator[Message]:
        nonlocal total
        for number in drawn:
            total = number + 1
            yield make_message(number)

    outcomes = transport.send(endless())
    for seen in range(case.look_ahead + 2):
        next(outcomes)
        assert total <= seen + case.look_ahead
    outcomes.close()  # type: ignore[attr-defined]


def test_nothing_is_drawn_before_the_first_outcome_is_asked_for(transport: Transport) -> None:
    source = iter(make_messages(1))

    transport.send(source)

    assert next(source).id == "m-0"


@pytest.mark.parametrize(("case", "about"), REFUSALS, indirect=["case"])
def test_refusal_says_whom_it_is_about(case: Case, transport: Transport, about: About) -> None:
    """As the outcome's `about`, or, of the rate and the transport, as that of the error that ends the sending."""
    refused = case.refuse(about)
    assert refused is not None
    outcomes: list[Outcome] = []
    problem = None

    try:
        outcomes.extend(transport.send([refused]))
    except TransportUnavailable as error:
        problem = error.about

    assert [each.about for each in outcomes if each.status is not Status.SENT] == [about] * len(outcomes)
    assert outcomes or problem is about
    assert problem in (None, about)
    assert not case.arrived()
    assert [each.status for each in transport.send([make_message("after")])] == [Status.SENT]


def test_closed_early_stays_usable(case: Case, transport: Transport) -> None:
    outcomes = transport.send(make_messages(2, "early"))
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]

    assert [each.status for each in transport.send([make_message("late")])] == [Status.SENT]
    assert make_message("late").content in case.arrived()


@pytest.mark.parametrize("error", [RuntimeError("mine"), OSError("mine"), TransportUnavailable("mine")], ids=repr)
def test_error_of_the_message_iterator_propagates(case: Case, transport: Transport, error: Exception) -> None:
    def failing() -> Iterator[Message]:
        yield make_message("before")
        raise error

    with pytest.raises(type(error)) as caught:
        list(transport.send(failing()))

    assert caught.value is error
    assert [each.status for each in transport.send([make_message("after")])] == [Status.SENT]
    assert make_message("after").content in case.arrived()


def test_closed_transport_can_be_used_again(case: Case, transport: Transport) -> None:
    for number in range(3):
        assert [each.status for each in transport.send([make_message(number)])] == [Status.SENT]
        transport.close()

    transport.close()
    assert len(case.arrived()) == 3


def test_several_threads_send_at_once(case: Case, transport: Transport) -> None:
    batches = [make_messages(10, f"t{number}-") for number in range(4)]
    results: dict[int, list[Status]] = {}
    start = threading.Barrier(len(batches))

    def send(number: int) -> None:
        start.wait(10)
        results[number] = [outcome.status for outcome in transport.send(batches[number])]

    threads = [threading.Thread(target=send, args=(number,)) for number in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert results == {number: [Status.SENT] * 10 for number in range(4)}
    assert sorted(case.arrived()) == sorted(message.content for batch in batches for message in batch)


def test_check_passes_and_sends_nothing(case: Case, transport: Transport) -> None:
    transport.check()

    assert case.arrived() == []


def test_check_raises_while_unavailable(case: Case, transport: Transport) -> None:
    case.break_it()
    with pytest.raises(TransportUnavailable):
        transport.check()

    case.mend_it()
    transport.check()


def test_unavailable_in_the_middle_leaves_earlier_outcomes_standing(case: Case, transport: Transport) -> None:
    messages = make_messages(200)
    outcomes = []

    running = transport.send(messages)
    outcomes.append(next(running))
    case.break_it()
    with pytest.raises(TransportUnavailable, match=r"\S"):
        outcomes.extend(running)

    assert 1 <= len(outcomes) <= case.look_ahead
    assert sorted(case.arrived()) == sorted(contents(messages[: len(outcomes)]))


def test_unavailable_at_first_then_mended(case: Case, transport: Transport) -> None:
    messages = make_messages(5)
    case.break_it()
    with pytest.raises(TransportUnavailable):
        list(transport.send(messages))
    case.mend_it()

    assert [each.status for each in transport.send(messages)] == [Status.SENT] * 5
    assert sorted(case.arrived()) == sorted(contents(messages))


def test_empty_input_sends_nothing(case: Case, transport: Transport) -> None:
    assert list(transport.send([])) == []
    assert case.arrived() == []


def test_unknown_option_is_refused_with_the_known_ones(case: Case) -> None:
    url = f"{case.url}&nonsense=1" if "?" in case.url.rpartition(")")[2] else f"{case.url}?nonsense=1"

    with pytest.raises(TransportConfigError, match=r"unknown option 'nonsense'; known options: [a-z]"):
        from_url(url)
